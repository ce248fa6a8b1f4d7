"""The same supervision trained flat and as trees, side by side in one run.

python -m early_experience.benchmark tree --config=configs/quickstart.py

Both layouts go through the real stages and the real train step. Flat is flat at
its best: an episode's actions and observations are one sequence, sequences are
packed into rows without padding waste, and attention skips what is masked.
"""

import contextlib
import copy
import dataclasses
import io
import itertools
import pathlib
import shutil
import tempfile
import time

import jax
import numpy as np
from ml_collections import ConfigDict

from early_experience import recipes
from early_experience.collect import collect
from early_experience.config import checked
from early_experience.experience import loader, records, rows
from early_experience.explore import explore
from early_experience.model import config as model_config
from early_experience.model import sharding
from early_experience.prepare import prepare
from early_experience.reflect import reflect
from early_experience.runtime import cli, files
from early_experience.runtime import stage as stage_lib
from early_experience.runtime.errors import UserError
from early_experience.runtime.progress import Progress
from early_experience.tokenizers import saved
from early_experience.training import optimizer, train_step

SEARCHED = 100  # expert episodes collected for each long one that is wanted


def main() -> None:
  cli.run(tree, needs_workdir=False)


@checked
def tree(config: ConfigDict, workdir: str | None = None) -> list[dict]:
  """Prints and returns the comparison for the config's and for long episodes.

  Args:
    config: its environment, model and batch are those of the comparison.
    workdir: unused; the data is made in a temporary folder.
  """
  settings = config.benchmark
  usual, long = copy.deepcopy(config), copy.deepcopy(config)
  long.env.kwargs.update(settings.long_kwargs)
  long.prepare.row_tokens = settings.long_row_tokens
  long.model.max_tokens = max(
    config.model.max_tokens, settings.long_flat_row_tokens
  )
  long.collect.max_steps = 4 * settings.long_steps
  long.benchmark.trajectories = settings.long_trajectories
  long.collect.trajectories = SEARCHED * settings.long_trajectories
  usual.collect.trajectories = settings.trajectories
  return [
    _compare('episodes of this config', usual, settings.flat_row_tokens, 0),
    _compare(
      f'episodes of {settings.long_steps} and more steps',
      long,
      settings.long_flat_row_tokens,
      settings.long_steps,
    ),
  ]


def _compare(label, config, flat_row_tokens, min_steps):
  with tempfile.TemporaryDirectory() as folder:
    data = pathlib.Path(folder)
    config = _configure(config)
    steps = _make_data(config, data, min_steps)
    prepared = {
      'tree': _prepared(config, data, 'tree', config.prepare.row_tokens),
      'flat': _prepared(config, data, 'flat', flat_row_tokens),
    }
    _check_same_supervision(label, prepared)
    layouts = {
      name: _compiled(config, data / name, summary)
      for name, summary in prepared.items()
    }
    seconds = _race(layouts)
  return _show(label, config, steps, layouts, seconds)


def _configure(config):
  config = copy.deepcopy(config)
  with config.unlocked():
    config.explore.k = config.benchmark.k
    config.prepare.rows = recipes.row_sets(('joint',), config.benchmark.k)
    config.prepare.overlong = 'drop'
    config.prepare.held_out = 0.0
  return recipes.select(config, 'joint')


def _make_data(config, folder, min_steps):
  """Collects, keeps the long episodes, explores, reflects; counts steps."""
  found = folder / 'found'
  _quietly(collect, config, found)
  source, target = found / 'collect', folder / 'data' / 'collect'
  target.mkdir(parents=True)
  shutil.copy(source / stage_lib.SETTINGS, target / stage_lib.SETTINGS)
  kept = (t for t in records.read(source) if len(t.steps) >= min_steps)
  steps = []
  with files.JsonlWriter(target, records.STEM) as writer:
    for trajectory in itertools.islice(kept, config.benchmark.trajectories):
      writer.write(records.to_json(trajectory))
      steps.append(len(trajectory.steps))
  if not steps:
    raise UserError(
      f'no expert episode of {min_steps} steps among'
      f' {config.collect.trajectories}; set config.benchmark.long_kwargs to'
      ' larger games'
    )
  summary = {**stage_lib.finished(source), 'trajectories': len(steps)}
  stage_lib.finish(target, summary)
  _quietly(explore, config, folder / 'data')
  _quietly(reflect, config, folder / 'data')
  return steps


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


def _prepared(config, folder, layout, row_tokens):
  """The summary of one layout's rows."""
  config = copy.deepcopy(config)
  config.prepare.layout = layout
  config.prepare.row_tokens = row_tokens
  workdir = folder / layout
  shutil.copytree(folder / 'data', workdir)
  if layout == 'flat':  # the same tokens, so the same tokenizer
    config.prepare.tokenizer = str(folder / 'tree' / 'prepare')
  return _quietly(prepare, config, workdir)['rows']['joint']


def _compiled(config, workdir, summary):
  """One layout at the start of its race."""
  coder = saved.load(workdir / 'prepare')
  source = loader.open_rows(workdir, 'joint').source
  # Both layouts have the same number of tokens in a batch.
  batch_tokens = config.train.batch_rows * config.prepare.row_tokens
  batches = _batches(source, max(1, batch_tokens // summary['row_tokens']))
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


def _batches(source, batch_rows):
  """All rows once, in batches; the last one is filled up with padding."""
  read = [rows.decode(source[i]) for i in range(len(source))]
  padding = {name: np.zeros_like(value) for name, value in read[0].items()}
  padding['span'] += 1
  read += [padding] * (-len(read) % batch_rows)
  return [
    {k: np.stack([r[k] for r in read[i : i + batch_rows]]) for k in padding}
    for i in range(0, len(read), batch_rows)
  ]


def _check_same_supervision(label, prepared):
  flat, as_tree = prepared['flat'], prepared['tree']
  if flat['scored'] != as_tree['scored'] or flat['dropped']:
    raise UserError(
      f'{label}: the layouts do not hold the same supervision; raise'
      ' config.benchmark.flat_row_tokens'
    )


def _race(layouts):
  """Trains each on all its rows, taking turns, so that both share the noise."""
  for layout in layouts.values():
    with jax.set_mesh(layout.mesh):
      layout.advance()  # caches and pages are warm afterwards
      layout.done = 0
  total = sum(len(layout.batches) for layout in layouts.values())
  progress = Progress('benchmark tree', total, 'updates')
  seconds = dict.fromkeys(layouts, 0.0)
  for _ in range(total):
    name = min(layouts, key=lambda n: layouts[n].done / len(layouts[n].batches))
    with jax.set_mesh(layouts[name].mesh):
      seconds[name] += layouts[name].advance()
    progress.update()
  progress.close()
  return seconds


def _show(label, config, steps, layouts, seconds):
  result = {
    'label': label,
    'episodes': len(steps),
    'mean_steps': float(np.mean(steps)),
    'k': config.benchmark.k,
  }
  print(
    f'{label}: {len(steps)}, mean {np.mean(steps):.1f} steps,'
    f' K={config.benchmark.k}'
  )
  for name in ('flat', 'tree'):
    summary, updates = layouts[name].summary, len(layouts[name].batches)
    result[name] = {
      'tokens': summary['packed_tokens'],
      'scored': summary['scored'],
      'batch_tokens': layouts[name].batches[0]['tokens'].size,
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


def _quietly(stage, config, workdir):
  """Runs a stage without its line on the standard output."""
  with contextlib.redirect_stdout(io.StringIO()):
    return stage(config, str(workdir))
