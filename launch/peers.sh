#!/bin/sh
# Makes the virtual environments of `python -m early_experience.benchmark peers`:
# FOLDER/torch (torch, transformers, TRL) and FOLDER/tunix (Python 3.12).
#
#   sh launch/peers.sh FOLDER
#
# PYTHON and PYTHON312 name the interpreters, where they are not found. Where
# pip's torch is one for GPUs, it takes 5 GB: let pip find a build for CPUs.
set -eu
. "$(dirname "$0")/help.sh"
folder=${1:?FOLDER is missing: sh launch/peers.sh FOLDER}
newer=${PYTHON312:-python3.12}
if ! "$newer" --version >/dev/null 2>&1 && command -v uv >/dev/null; then
  uv python install -q 3.12
  newer=$(uv python find 3.12)
fi
"$newer" --version >/dev/null 2>&1 || {
  echo "error: tunix needs Python 3.12; set PYTHON312 to one, or install uv" >&2
  exit 1
}
make() { # NAME PYTHON PACKAGE...
  made=$folder/$1
  "$2" -m venv "$made"
  shift 2
  "$made/bin/python" -m pip install -q "$@"
}
make torch "${PYTHON:-python3}" torch==2.13.0 transformers==5.24.0 trl==1.16.0
make tunix "$newer" google-tunix==0.1.7
