"""The same supervision trained flat and as trees, side by side in one run.

python -m early_experience.benchmark tree --config=configs/quickstart.py

Both layouts go through the real stages and the real train step. Flat is flat at
its best: an episode's actions and observations are one sequence, sequences are
packed into rows without padding waste, and attention skips what is masked.
"""

import dataclasses
import pathlib
import tempfile
import time

import jax
from ml_collections import ConfigDict

from early_experience.benchmark import layouts
from early_experience.config import checked
from early_experience.model import config as model_config
from early_experience.model import sharding
from early_experience.runtime import cli
from early_experience.runtime.progress import Progress
from early_experience.tokenizers import saved
from early_experience.training import optimizer, train_step


def main() -> None:
  cli.run(tree, needs_workdir=False)


@checked
def tree(config: ConfigDict, workdir: str | None = None) -> list[dict]:
  """Prints and returns the comparison for the config's and for long episodes.

  Args:
    config: its environment, model and batch are those of the comparison.
    workdir: unused; the data is made in a temporary folder.
  """
  return [_compare(*case) for case in layouts.usual_and_long(config)]


def _compare(label, config, flat_row_tokens, min_steps):
  with tempfile.TemporaryDirectory() as folder:
    data = pathlib.Path(folder)
    config, steps, prepared = layouts.make(
      label, config, flat_row_tokens, min_steps, data
    )
    made = {
      name: _compiled(config, data / name, summary)
      for name, summary in prepared.items()
    }
    seconds = _race(made)
  return _show(label, config, steps, made, seconds)


@dataclasses.dataclass
class _Layout:
  """One layout's batches, its compiled step, and how far it has come."""

  summary: dict
  batches: list
  step: object
  state: object
  mesh: object
  done: int = 0

  def advance(self) -> float:
    """Trains one batch; returns the seconds it took."""
    batch = sharding.put_batch(self.batches[self.done], self.mesh)
    jax.block_until_ready(batch)
    start = time.perf_counter()
    self.state, values = self.step(self.state, batch)
    jax.block_until_ready(values)
    self.done += 1
    return time.perf_counter() - start


def _compiled(config, workdir, summary):
  """One layout at the start of its race."""
  coder = saved.load(workdir / 'prepare')
  batches = layouts.batches(config, workdir, summary)
  cfg = model_config.from_config(config.model, coder.vocab_size)
  stage = config.train.stages[0]
  mesh = sharding.make_mesh(config.mesh)
  tx = optimizer.make_optimizer(stage, cfg, config.train.optimizer_dtype)
  with jax.set_mesh(mesh):
    state = train_step.init_state(jax.random.key(0), cfg, tx, mesh)
    step = train_step.make_train_step(cfg, tx, stage, 1)
    first = sharding.put_batch(batches[0], mesh)
    step = step.lower(state, first).compile()
  return _Layout(summary, batches, step, state, mesh)


def _race(made):
  """Trains each on all its rows, taking turns, so that both share the noise."""
  for layout in made.values():
    with jax.set_mesh(layout.mesh):
      layout.advance()  # caches and pages are warm afterwards
      layout.done = 0
  total = sum(len(layout.batches) for layout in made.values())
  progress = Progress('benchmark tree', total, 'updates')
  seconds = dict.fromkeys(made, 0.0)
  for _ in range(total):
    name = min(made, key=lambda n: made[n].done / len(made[n].batches))
    with jax.set_mesh(made[name].mesh):
      seconds[name] += made[name].advance()
    progress.update()
  progress.close()
  return seconds


def _show(label, config, steps, made, seconds):
  result = layouts.describe(label, config, steps)
  for name in ('flat', 'tree'):
    summary, updates = made[name].summary, len(made[name].batches)
    result[name] = {
      'tokens': summary['packed_tokens'],
      'scored': summary['scored'],
      'batch_tokens': made[name].batches[0]['tokens'].size,
      'seconds': seconds[name],
    }
    print(
      f'  {name}: {summary["packed_tokens"]} tokens in rows of'
      f' {summary["row_tokens"]}, {updates} updates, {seconds[name]:.2f} s'
    )
  flat, as_tree = result['flat'], result['tree']
  result['token_ratio'] = flat['tokens'] / as_tree['tokens']
  result['time_ratio'] = flat['seconds'] / as_tree['seconds']
  print(
    f'  flat / tree: {result["token_ratio"]:.2f} times the tokens,'
    f' {result["time_ratio"]:.2f} times the seconds'
  )
  return result
