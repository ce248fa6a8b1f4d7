#!/bin/sh
# Makes .venv beside this repository and installs the project into it.
#
#   sh launch/setup.sh [EXTRA[,EXTRA...]]        e.g. sh launch/setup.sh test
#
# The system's Python stays as it is. Games are generated from tables that the
# alfworld wheel ships; its engine and that engine's dependencies are not needed.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "error: $python is older than 3.11; set PYTHON to a newer one" >&2
  exit 1
}
if ! [ -x .venv/bin/python ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
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
