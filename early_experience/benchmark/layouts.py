"""The same experience as trees and as flat rows, made by the real stages.

Flat is flat at its best: an episode's actions and observations are one
sequence, and sequences are packed into rows without padding waste.
"""

import contextlib
import copy
import io
import itertools
import pathlib
import shutil

import numpy as np
from ml_collections import ConfigDict

from early_experience import recipes
from early_experience.collect import collect
from early_experience.experience import loader, records, rows
from early_experience.explore import explore
from early_experience.prepare import prepare
from early_experience.reflect import reflect
from early_experience.runtime import files
from early_experience.runtime import stage as stage_lib
from early_experience.runtime.errors import UserError

SEARCHED = 100  # expert episodes collected for each long one that is wanted


def usual_and_long(
  config: ConfigDict,
) -> list[tuple[str, ConfigDict, int, int]]:
  """What is compared: the config's own episodes, and long ones.

  Returns:
    Of each: a label, its config, tokens of a flat row, and the steps that an
    episode has at least.
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
  cases = [('episodes of this config', usual, settings.flat_row_tokens, 0)]
  if settings.long_trajectories:
    label = f'episodes of {settings.long_steps} and more steps'
    tokens = settings.long_flat_row_tokens
    cases.append((label, long, tokens, settings.long_steps))
  return cases


def make(
  label: str,
  config: ConfigDict,
  flat_row_tokens: int,
  min_steps: int,
  folder: pathlib.Path,
) -> tuple[ConfigDict, list[int], dict[str, dict]]:
  """Prepares both layouts of the same episodes, in `folder`/`layout`.

  Args:
    label: see `usual_and_long`, as the next three.
    config: of the comparison.
    flat_row_tokens: of a row.
    min_steps: of an episode.
    folder: to write to.

  Returns:
    The config that they were made with, the steps of each episode, and the
    summary of each layout's rows.

  Raises:
    UserError: no episode is long enough, or the layouts do not hold the same
      supervision.
  """
  config = _configure(config)
  steps = _make_data(config, folder, min_steps)
  prepared = {
    'tree': _prepared(config, folder, 'tree', config.prepare.row_tokens),
    'flat': _prepared(config, folder, 'flat', flat_row_tokens),
  }
  _check_same_supervision(label, prepared)
  return config, steps, prepared


def describe(label: str, config: ConfigDict, steps: list[int]) -> dict:
  """Prints what is compared, and returns it."""
  print(
    f'{label}: {len(steps)}, mean {np.mean(steps):.1f} steps,'
    f' K={config.benchmark.k}'
  )
  return {
    'label': label,
    'episodes': len(steps),
    'mean_steps': float(np.mean(steps)),
    'k': config.benchmark.k,
  }


def batches(config: ConfigDict, workdir, summary: dict) -> list[dict]:
  """All rows once, in batches; the last one is filled up with padding.

  Both layouts have the same number of tokens in a batch.

  Args:
    config: of the trees.
    workdir: of this layout.
    summary: of its rows.
  """
  source = loader.open_rows(workdir, 'joint').source
  batch_tokens = config.train.batch_rows * config.prepare.row_tokens
  batch_rows = max(1, batch_tokens // summary['row_tokens'])
  read = [rows.decode(source[i]) for i in range(len(source))]
  padding = {name: np.zeros_like(value) for name, value in read[0].items()}
  padding['span'] += 1
  read += [padding] * (-len(read) % batch_rows)
  return [
    {k: np.stack([r[k] for r in read[i : i + batch_rows]]) for k in padding}
    for i in range(0, len(read), batch_rows)
  ]


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


def _check_same_supervision(label, prepared):
  flat, as_tree = prepared['flat'], prepared['tree']
  if flat['scored'] != as_tree['scored'] or flat['dropped']:
    raise UserError(
      f'{label}: the layouts do not hold the same supervision; raise'
      ' config.benchmark.flat_row_tokens'
    )


def _quietly(stage, config, workdir):
  """Runs a stage without its line on the standard output."""
  with contextlib.redirect_stdout(io.StringIO()):
    return stage(config, str(workdir))
