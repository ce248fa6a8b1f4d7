r"""How fast a train step is on rows of trees, and on as many rows of paths.

python -m early_experience.benchmark step --config=configs/llama3_1_8b.py \
    --rows_file=rows.npz --config.model.layers=4 --config.mesh.fsdp=1

The rows are those that `benchmark attention --file=rows.npz` made; their tokens
are drawn. The utilisation counts all scores of a row, as is customary, and
then only those of the blocks that attention visits.
"""

import time

import jax
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from early_experience import memory
from early_experience.benchmark.attention import counted, flat
from early_experience.config import checked
from early_experience.experience.render import OBJECTIVES
from early_experience.model import attention_check, sharding
from early_experience.runtime import cli
from early_experience.runtime.errors import UserError
from early_experience.training import optimizer, train_step
from early_experience.training.flops import PEAK_FLOPS, model_flops

ROWS_FILE = flags.DEFINE_string('rows_file', None, 'of benchmark attention')
_TURNS = 5


def main() -> None:
  cli.run(lambda config, workdir: run(config, ROWS_FILE.value), False)


@checked
def run(config: ConfigDict, rows_file: str | None) -> list[dict]:
  """Prints and returns seconds and utilisation, of trees and of paths.

  Args:
    config: its model, mesh and batch.
    rows_file: arrays of depth, span and back, [3, rows, tokens], by name.

  Raises:
    UserError: there is no such file.
  """
  if not rows_file:
    raise UserError('--rows_file: make one by benchmark attention --file=FILE')
  with np.load(rows_file, allow_pickle=False) as kept:
    read = np.concatenate(list(kept.values()), axis=1)
  count = config.train.batch_rows
  depth, span, back = (np.resize(x, (count, x.shape[1])) for x in read)
  path_depth, path_span = flat(span)
  layouts = {
    'trees': (depth, span, back),
    'paths': (path_depth, path_span, np.minimum(path_depth, 1)),
  }
  cfg = memory.architecture(config)
  mesh = sharding.make_mesh(config.mesh)
  with jax.set_mesh(mesh):
    cfg = attention_check.proven(cfg)
    found = _timed(config, cfg, mesh, layouts)
  device = jax.devices()[0].device_kind
  peak = PEAK_FLOPS.get(device, 0) * mesh.size
  tokens = span.shape[1]
  for (name, arrays), one in zip(layouts.items(), found, strict=True):
    block = cfg.attention_block or tokens
    visited = counted(arrays[0], arrays[1], block)['blocks']
    one |= {'rows': name, 'visited': visited}
    for key, share in (('flops', 1.0), ('visited_flops', visited)):
      of_step = model_flops(cfg, count, tokens, visited=share)
      one[key] = of_step / one['seconds']
    shares = [
      f'{one[key] / peak:.1%}' if peak else '-'
      for key in ('flops', 'visited_flops')
    ]
    seconds = one['seconds']
    print(
      f'{device}, {name}: {count} rows of {tokens:,} in {seconds:.3f} s ='
      f' {count * tokens / seconds:,.0f} tokens/s; {visited:.1%} of blocks;'
      f' utilisation {shares[0]}, of visited blocks {shares[1]}',
      flush=True,
    )
  return found


def _timed(config, cfg, mesh, layouts):
  """The least seconds of an update, for each layout."""
  stage = config.train.stages[0]
  tx = optimizer.make_optimizer(stage, cfg, config.train.optimizer_dtype)
  state = train_step.init_state(jax.random.key(0), cfg, tx, mesh)
  step = train_step.make_train_step(cfg, tx, stage, config.train.microbatches)
  rng = np.random.default_rng(0)
  found = []
  for depth, span, back in layouts.values():
    batch = {
      'tokens': rng.integers(0, cfg.vocab_size, span.shape, np.int32),
      'weights': np.ones((*span.shape, len(OBJECTIVES)), np.float32),
      'depth': depth,
      'span': span,
      'back': back,
    }
    batch = sharding.put_batch(batch, mesh)
    best = float('inf')
    for turn in range(_TURNS + 1):
      start = time.perf_counter()
      state, values = step(state, batch)
      jax.block_until_ready(values)
      if turn:
        best = min(best, time.perf_counter() - start)
    found.append({'seconds': best})
  return found


if __name__ == '__main__':
  main()
