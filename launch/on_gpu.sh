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
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
[ -x "$python" ] || python=python3
rows=${1:-rows.npz}
benchmark="$python -m early_experience.benchmark"
export XLA_PYTHON_CLIENT_MEM_FRACTION=0.92
export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-/tmp/jax_cache}"

part() {
  seconds=$1
  shift
  echo "== $*"
  timeout "$seconds" "$@" 2>&1 || echo "== ended with $?"
}

part 10 nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
part 20 "$python" -c 'import jax; print(jax.__version__, jax.devices())'
[ -f "$rows" ] || part 30 $benchmark attention --env=alfworld --tokens=8192 \
  --turns=0 --rows=2 --file="$rows"
# Forward and backward, each way, head sizes 128 and 64.
part 90 $benchmark attention --file="$rows" --tokens=8192 --rows=2
part 60 $benchmark attention --file="$rows" --tokens=8192 --rows=2 \
  --attention=hopper --block=128
part 40 $benchmark attention --file="$rows" --tokens=8192 --rows=2 \
  --attention=hopper --block=128 --head_dim=64
# A 1B model whole, and layers of the shape of 8B.
part 70 $benchmark step --config=configs/llama3_2_3b.py --rows_file="$rows" \
  --config.mesh.fsdp=1 --config.train.batch_rows=4 \
  --config.model.layers=16 --config.model.embed=2048 --config.model.heads=32 \
  --config.model.head_dim=64 --config.model.mlp=8192 \
  --config.model.max_tokens=8192
part 70 $benchmark step --config=configs/llama3_1_8b.py --rows_file="$rows" \
  --config.mesh.fsdp=1 --config.train.batch_rows=4 \
  --config.model.layers=4 --config.model.max_tokens=8192
# The same supervision as trees and flat.
part 50 $benchmark tree --config=configs/quickstart.py
$benchmark --help | grep -q decode && part 30 $benchmark decode
exit 0
