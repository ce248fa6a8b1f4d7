#!/bin/sh
# Compiles the model cards of configs/ for TPUs and prints the table of
# docs/AOT.md. One at a time, half a minute to half an hour each on 2 cores.
#   sh launch/aot_cards.sh > table.md
set -eu
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.."
python=.venv/bin/python
[ -x "$python" ] || python=python
code=0
card() {
  name=$1
  shift
  "$python" launch/aot.py --markdown --config="configs/$name.py" "$@" || code=1
}
"$python" -c 'from early_experience.aot import report; print(report.HEADER)'
card smollm2_135m --topology=v5e:1x1
card llama3_2_3b --topology=v5e:2x4
card llama3_1_8b --topology=v6e:2x4
card llama3_1_8b --topology=v5e:4x4
card llama3_1_8b --topology=v5e:16x16
card llama3_1_8b --topology=v6e:4x4 --slices=2
card qwen2_5_7b --topology=v6e:2x4
card qwen3_4b --topology=v6e:2x4
card gemma3_4b --topology=v6e:2x2
card llama3_3_70b_lora --topology=v5p:2x2x2
exit "$code"
