#!/bin/sh
# Makes .venv beside this repository and installs the project into it.
#
#   sh launch/setup.sh [EXTRA[,EXTRA...]]        e.g. sh launch/setup.sh test
#
# The system's Python stays as it is. Games are generated from tables that the
# alfworld wheel ships; its engine and that engine's dependencies are not needed.
set -eu
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' &&
  command -v uv >/dev/null; then
  uv python install -q 3.12 # beside the system's
  python=$(uv python find 3.12)
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "error: $python is older than 3.11; set PYTHON to a newer one, or install uv" >&2
  exit 1
}
# One whose interpreter is gone, or is too old by now, is made anew.
.venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  2>/dev/null || rm -rf .venv
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  # Debian splits ensurepip from its Python: then its own pip serves the venv.
  "$python" -m venv .venv 2>/dev/null || {
    "$python" -m venv --without-pip .venv
    "$python" -m pip --python .venv/bin/python install -q pip || {
      echo "error: this Python can make no virtual environment; on Debian:" \
        "apt-get install python3-venv" >&2
      exit 1
    }
  }
fi
.venv/bin/python -m pip install -q -e ".${1:+[$1]}"
.venv/bin/python -m pip install -q --no-deps alfworld==0.4.2
