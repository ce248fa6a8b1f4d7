"""What the runs of a sweep took, and how far they have learnt their actions."""

import collections
import dataclasses
from collections.abc import Sequence

from early_experience.reporting import report_data
from early_experience.runtime import files
from early_experience.runtime.stage import SETTINGS
from early_experience.training import log_lines


def of(runs: Sequence) -> dict:
  """Means over seeds of what training, or `rl`, took and came to.

  Args:
    runs: `studies.Run`s of one setting.

  Returns:
    `updates`, `minutes`, and of training `tokens`, `flops` and, where actions
    were learnt, `nll`, of `rl` `env_steps`; see `studies.rows`.
  """
  found = collections.defaultdict(list)
  for run in runs:
    stage = 'rl' if run.before else 'train'
    lines = report_data.metrics(run.folder, run.before or run.policy, stage)
    if not lines:
      continue
    found['updates'].append(lines[-1]['step'])
    if run.before:
      played = [line.get('environment_steps') or 0 for line in lines]
      found['env_steps'].append(max(played))  # so far, of each line
      parts = ('seconds_sampling', 'seconds_training', 'seconds_panel')
      found['minutes'].append(sum(_sum(lines, key) for key in parts) / 60)
      continue
    if (nll := log_lines.end(lines).get('imitation/nll')) is not None:
      found['nll'].append(nll)
    found['tokens'].append(_tokens(run) * lines[-1]['step'])
    found['flops'].append(_tokens(run) * _flops_by_updates(lines))
    found['minutes'].append(lines[-1]['seconds'] / 60)
  return {key: mean(values) for key, values in found.items()}


def hours(runs: Sequence) -> float:
  """What the trainings took in all, and `rl`; each counts once.

  Args:
    runs: `studies.Run`s, of which several may be of one training.
  """
  minutes = {}
  for run in runs:
    trained = dataclasses.replace(run, policy=run.before, before='')
    for each in (run, trained) if run.before else (run,):
      stage = 'rl' if each.before else 'train'
      place = each.folder / stage / (each.before or each.policy)
      minutes[place.resolve()] = of([each]).get('minutes') or 0
  return sum(minutes.values()) / 60


def _tokens(run):
  """Of an update: all that its rows hold, context and padding too."""
  settings = files.read_json(run.folder / 'train' / run.policy / SETTINGS)
  sizes = {rows['row_tokens'] for rows in settings['rows'].values()}
  return settings['train']['batch_rows'] * max(sizes)


def _flops_by_updates(lines):
  """The operations for a token, times updates, over all lines."""
  steps = [0, *(line['step'] for line in lines)]
  return sum(
    line['flops_per_s'] / line['tokens_per_s'] * (end - begin)
    for line, begin, end in zip(lines, steps, steps[1:], strict=False)
    if line['tokens_per_s']
  )


def _sum(lines, key):
  return sum(line.get(key) or 0 for line in lines)


def mean(values: Sequence[float]) -> float | None:
  """None where there are no values."""
  return sum(values) / len(values) if values else None
