"""How much host memory it takes to read a Hugging Face checkpoint.

python -m early_experience.benchmark weights

Writes random checkpoints of the shape of Llama-3.2-1B, reads each in a process
of its own and prints, of that process, the bytes of the shards it kept, those
it read, and how far its resident memory rose at most. The claim is a rise of
at most the shards kept and the largest tensor.
"""

import argparse
import json
import math
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np

from early_experience.runtime import commands, paths
from early_experience.runtime.errors import UserError

_LAYERS = 16
_CONFIG = {
  'model_type': 'llama',
  'vocab_size': 128256,
  'hidden_size': 2048,
  'intermediate_size': 8192,
  'num_attention_heads': 32,
  'num_key_value_heads': 8,
  'head_dim': 64,
  'tie_word_embeddings': True,
}
_FILE_BYTES = 1_000_000_000


@commands.one_line
def main() -> None:
  parser = commands.parser('benchmark weights', __doc__)
  parser.add_argument(
    '--folder',
    type=paths.flag('--folder'),
    help='for the checkpoints; default: a temporary one',
  )
  parser.add_argument('--layers', type=int, default=_LAYERS)
  parser.add_argument('--measure', help=argparse.SUPPRESS)
  arguments = parser.parse_args(sys.argv[1:])
  if arguments.measure:
    print(json.dumps(_measure(**json.loads(arguments.measure))))
    return
  with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
    run(pathlib.Path(folder), arguments.layers)


def run(folder: pathlib.Path, layers: int) -> None:
  """Prints all figures.

  Args:
    folder: for the checkpoints, 8 GB at 16 layers.
    layers: of the model.
  """
  for stored in ('bfloat16', 'float32'):
    made = folder / stored
    parameters = generate(made, layers, stored)
    print(f'{parameters:,} parameters, stored in {stored}', flush=True)
    for kept in ('bfloat16', 'float32'):
      if stored in ('bfloat16', kept):
        report(made, kept, processes=1, devices=1)
    report(made, stored, processes=1, devices=4)
    report(made, stored, processes=2, devices=2)
    for path in made.iterdir():
      path.unlink()


def generate(folder: pathlib.Path, layers: int, dtype: str) -> int:
  """Writes a checkpoint of random values; returns its number of parameters.

  A tensor at a time is in memory.
  """
  from early_experience.convert import config_of
  from early_experience.hf import architecture, names, write
  from early_experience.model import table
  from early_experience.runtime import files

  folder.mkdir()
  content = _CONFIG | {'num_hidden_layers': layers}
  files.write_json(folder / architecture.CONFIG, content)
  cfg = config_of(folder, 'float32')
  values = (_random(tensor.shape, dtype) for tensor in names.tensors(cfg))
  write.write_files(names.tensors(cfg), values, folder, dtype, _FILE_BYTES)
  return table.count(cfg)


def _random(shape, dtype):
  """Any bits that are a small number of the dtype."""
  rng = np.random.default_rng(0)
  return rng.standard_normal(shape, np.float32).astype(dtype)


def report(
  folder: pathlib.Path, kept: str, processes: int, devices: int
) -> None:
  """Reads a checkpoint and prints what each process needed.

  Args:
    folder: of the checkpoint.
    kept: dtype of the parameters.
    processes: that share the model.
    devices: of each; the tensor axis has two of all.
  """
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = free.getsockname()[1]
  flag = f'--xla_force_host_platform_device_count={devices}'
  started = []
  for process in range(processes):
    what = {
      'folder': str(folder),
      'kept': kept,
      'processes': processes,
      'process': process,
      'port': port,
    }
    command = [sys.executable, '-m', 'early_experience.benchmark', 'weights']
    started.append(
      subprocess.Popen(
        [*command, f'--measure={json.dumps(what)}'],
        env=os.environ | {'XLA_FLAGS': flag, 'JAX_PLATFORMS': 'cpu'},
        stdout=subprocess.PIPE,
        encoding='utf-8',
      )
    )
  for process, popen in enumerate(started):
    output, _ = popen.communicate()
    if popen.returncode:
      raise UserError(f'reading {folder} failed')
    got = json.loads(output.splitlines()[-1])
    most = got['kept'] + got['largest']
    print(
      f'  kept in {kept}, process {process} of {processes}, {devices} devices:'
      f' shards {_mb(got["kept"])}, read {_mb(got["read"])}, largest tensor'
      f' {_mb(got["largest"])}; peak rose by {_mb(got["rise"])} ='
      f' {got["rise"] / most:.2f} of shards + tensor; {got["seconds"]:.1f} s',
      flush=True,
    )


def _measure(folder, kept, processes, process, port):
  """In a process of its own: the figures of one read."""
  import jax

  from early_experience import config as config_lib
  from early_experience.convert import config_of
  from early_experience.hf import names, read
  from early_experience.model import sharding

  if processes > 1:
    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    jax.distributed.initialize(f'localhost:{port}', processes, process)
  cfg = config_of(folder, kept)
  settings = config_lib.default().mesh
  if jax.device_count() > 1:
    settings.tensor = 2
  mesh = sharding.make_mesh(settings)
  with jax.set_mesh(mesh):
    jax.jit(lambda: jax.numpy.zeros(8))().block_until_ready()
  before, read_before = _status('VmRSS'), _bytes_read()
  pathlib.Path('/proc/self/clear_refs').write_bytes(b'5')  # peak = now
  start = time.perf_counter()
  params = read.read_params(folder, cfg, mesh)
  shards = [
    shard.data.nbytes
    for x in jax.tree.leaves(params)
    for shard in x.addressable_shards
  ]
  largest = max(math.prod(tensor.shape) for tensor in names.tensors(cfg))
  return {
    'kept': sum(shards),
    'largest': largest * np.dtype(kept).itemsize,
    'read': _bytes_read() - read_before,
    'rise': _status('VmHWM') - before,
    'seconds': time.perf_counter() - start,
  }


def _status(key):
  """Bytes, from Linux's own account of this process."""
  text = pathlib.Path('/proc/self/status').read_text(encoding='utf-8')
  return int(re.search(rf'{key}:\s+(\d+) kB', text)[1]) * 1024


def _bytes_read():
  text = pathlib.Path('/proc/self/io').read_text(encoding='utf-8')
  return int(re.search(r'rchar: (\d+)', text)[1])


def _mb(count):
  return f'{count / 1e6:,.0f} MB'


if __name__ == '__main__':
  main()
