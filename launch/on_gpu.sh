#!/bin/sh
# What an accelerator says of attention, of train steps and of trees against
# flat rows, in under 8 minutes; run it where there is one, from the checkout:
#   sh launch/on_gpu.sh [ROWS.npz] | tee on_gpu.txt
# ROWS.npz is best made before, where the environments are installed:
#   python -m early_experience.benchmark attention --tokens=8192 --turns=0 \
#       --rows=2 --file=rows.npz
# Without it, rows of ALFWorld's own engine are made here. Each part has its
# time; what fails or takes longer says so, and the others go on.
set -u
. "$(dirname "$0")/help.sh"
cd "$(dirname "$0")/.." || exit
python=${PYTHON:-.venv/bin/python}
[ -x "$python" ] || python=python3
rows=${1:-rows.npz}
export XLA_PYTHON_CLIENT_MEM_FRACTION=0.92
export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-/tmp/jax_cache}"

part() {
  seconds=$1
  shift
  echo "== $*"
  timeout "$seconds" "$@" 2>&1 || echo "== ended with $?"
}

benchmark() {
  seconds=$1
  shift
  part "$seconds" "$python" -m early_experience.benchmark "$@"
}

part 10 nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
part 20 "$python" -c 'import jax; print(jax.__version__, jax.devices())'
[ -f "$rows" ] || benchmark 30 attention --env=alfworld --tokens=8192 \
  --turns=0 --rows=2 --file="$rows"
# Forward and backward, each way, head sizes 128 and 64.
benchmark 90 attention --file="$rows" --tokens=8192 --rows=2
benchmark 60 attention --file="$rows" --tokens=8192 --rows=2 \
  --attention=hopper --block=128
benchmark 40 attention --file="$rows" --tokens=8192 --rows=2 \
  --attention=hopper --block=128 --head_dim=64
# A 1B model whole, and layers of the shape of 8B.
benchmark 70 step --config=configs/llama3_2_3b.py --rows_file="$rows" \
  --config.mesh.fsdp=1 --config.train.batch_rows=4 \
  --config.model.layers=16 --config.model.embed=2048 --config.model.heads=32 \
  --config.model.head_dim=64 --config.model.mlp=8192 \
  --config.model.max_tokens=8192
benchmark 70 step --config=configs/llama3_1_8b.py --rows_file="$rows" \
  --config.mesh.fsdp=1 --config.train.batch_rows=4 \
  --config.model.layers=4 --config.model.max_tokens=8192
# The same supervision as trees and flat.
benchmark 50 tree --config=configs/quickstart.py
"$python" -m early_experience.benchmark --help | grep -q decode &&
  benchmark 30 decode
exit 0
