"""Panels: the tasks that policies are asked, and what became of each.

Which tasks they are follows from their ids and types alone, so a panel is the
same for every policy, in every process and on every machine. What is asked
stays in the count: a task that failed for the environment's fault was set
aside, and is not solved.
"""

import collections
import dataclasses
import hashlib
import itertools
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from early_experience.envs.interface import Task
from early_experience.evaluation import statistics
from early_experience.runtime import files
from early_experience.runtime.errors import UserError
from early_experience.work import set_aside

FILE, STEM = 'panel.json', 'rollouts'
ALL = 'all'
PANELS = (ALL, 'dev', 'test')
_AFTER_RL = '_rl'

Asked = dict[str, dict[str, str]]  # {split: {task id: its type}}


def choose(tasks: Sequence[Task], count: int, panel: str = ALL) -> list[Task]:
  """A fixed choice of tasks, their types in turn so that all are alike.

  Args:
    tasks: of one split.
    count: how many; 0 is all.
    panel: one of `PANELS`; `dev` and `test` are two halves without a common
      task, and which one a task is in depends on its id alone.

  Raises:
    UserError: two tasks have one id.
  """
  ids = collections.Counter(task.id for task in tasks)
  if twice := sorted(name for name, times in ids.items() if times > 1):
    raise UserError(
      f'split {tasks[0].split!r} has {ids[twice[0]]} tasks of id'
      f' {twice[0]!r}: an id names one task'
    )
  kinds = collections.defaultdict(list)
  for task in sorted(tasks, key=lambda t: _hash(t.id)):
    if panel in (ALL, _half(task.id)):
      kinds[task.type].append(task)
  turns = sorted(
    (place, kind, task)
    for kind, some in kinds.items()
    for place, task in enumerate(some)
  )
  return [task for _, _, task in turns][: count or None]


def after_rl(policy: str) -> str:
  """What a policy is called where `rl` has gone on from it."""
  return policy + _AFTER_RL


def folder_name(
  policy: str, panel: str, samples: int = 1, look_ahead: bool = False
) -> str:
  """Of an evaluation, below `evaluate/`: each panel and way has its own."""
  way = 'look' if look_ahead else 'vote'
  name = policy if samples == 1 else f'{policy}-{way}{samples}'
  return name if panel == ALL else f'{name}-{panel}'


def keep(folder: pathlib.Path, tasks: Mapping[str, Sequence[Task]]) -> Asked:
  """Writes the panel of an evaluation that begins; proves it where it goes on.

  Args:
    folder: of the evaluation.
    tasks: by split.

  Raises:
    UserError: it was begun with other tasks.
  """
  asked = {s: {t.id: t.type for t in some} for s, some in tasks.items()}
  path = folder / FILE
  whole, old = path.exists(), read(folder)
  for split in sorted(asked.keys() | old.keys()):
    was, now = old.get(split, {}).keys(), asked.get(split, {}).keys()
    gone, new = was - now, (now - was if whole else set())
    if gone or new:
      raise UserError(
        f'{folder} was begun with other tasks: of split {split!r},'
        f' {len(gone)} are gone and {len(new)} are new, as'
        f' {min(gone | new)!r}; use another --workdir, or delete that folder'
      )
  if not whole:
    files.write_json(path, asked)
  return asked


def read(folder) -> Asked:
  """The tasks that an evaluation asked."""
  path = pathlib.Path(folder) / FILE
  # Older versions wrote none: those that were played or set aside by now.
  return files.read_json(path) if path.exists() else _tried(folder)


def digest(asked: Iterable[str]) -> str:
  """A short text that is the same for the same task ids, in any order."""
  return _hash('\n'.join(sorted(asked))).hex()[:8]


def summarise(found: Sequence[dict], asked: Mapping[str, str]) -> dict:
  """What one split amounts to, with 95% intervals.

  Rates of success are over all tasks that were asked; `flawless` are those that
  were solved without a rejected action. Steps and invalid actions are those of
  the episodes that were played; `repeat_rate` is the share of the rejected ones
  that the policy said again at once, of those behind which it had a turn.

  Args:
    found: records of the episodes.
    asked: type of each task; those without a record were set aside.
  """
  kinds = collections.defaultdict(list)
  for task_id, kind in asked.items():
    kinds[kind].append(task_id)
  solved = {record['task_id']: record['success'] for record in found}
  valid = [step['valid'] for record in found for step in record['steps']]
  flawless = sum(
    record['success'] and all(step['valid'] for step in record['steps'])
    for record in found
  )
  again = [
    after['action'] == step['action']
    for record in found
    for step, after in itertools.pairwise(record['steps'])
    if not step['valid']
  ]
  steps = statistics.mean_interval([len(r['steps']) for r in found])
  ends = collections.Counter(record['end'] for record in found)
  return {
    'tasks': len(asked),
    'panel': digest(asked),
    'success': _rate(solved, asked),
    'steps': {'mean': steps.rate, 'low': steps.low, 'high': steps.high},
    'flawless': flawless / max(len(asked), 1),
    'invalid_rate': valid.count(False) / max(len(valid), 1),
    'repeat_rate': again.count(True) / max(len(again), 1),
    'out_of_context': ends['out_of_context'],
    'no_action': ends['no_action'],
    'by_type': {
      kind: _rate(solved, some) for kind, some in sorted(kinds.items())
    },
  }


def recounted(folder, summary: dict) -> dict:
  """A finished evaluation's summary as this version counts.

  Older ones left out of their rates what was set aside, and the outcomes that
  were too long for the policy, and did not count what was said again; the files
  beside them have it all.
  """
  splits = summary['splits']
  if any('repeat_rate' not in one for one in splits.values()):
    asked, found = read(folder), collections.defaultdict(list)
    for _, record in files.read_jsonl(folder, STEM):
      found[record['split']].append(record)
    splits = {
      split: summarise(found[split], asked.get(split, {})) for split in splits
    }
  world = summary.get('world_model')
  if world and 'too_long' not in world['exact_match']:
    match, too_long = world['exact_match'], world.get('too_long', 0)
    n = match['n'] + too_long
    rate = dataclasses.asdict(statistics.wilson(match['count'], n))
    match = {'count': match['count'], 'n': n, 'too_long': too_long, **rate}
    world = {**world, 'exact_match': match}
  return {**summary, 'splits': splits, 'world_model': world}


def told(rate: dict) -> str:
  """A rate of success as text, with what was set aside beside it."""
  aside = f', {rate["set_aside"]} set aside' if rate['set_aside'] else ''
  return (
    f'{rate["count"]}/{rate["n"]} = {rate["rate"]:.1%}'
    f' [{rate["low"]:.1%}, {rate["high"]:.1%}]{aside}'
  )


def _rate(solved, asked):
  count = sum(solved.get(task_id, False) for task_id in asked)
  aside = sum(task_id not in solved for task_id in asked)
  interval = dataclasses.asdict(statistics.wilson(count, len(asked)))
  return {'count': count, 'n': len(asked), 'set_aside': aside, **interval}


def _tried(folder):
  """Tasks that were played or set aside; of these the type is not known."""
  tried = collections.defaultdict(dict)
  for name in sorted(set_aside.ids(folder)):
    split, task_id = name.split('/', 1)
    tried[split][task_id] = 'unknown'
  for path in files.jsonl_shards(folder, STEM):
    for _, record in files.read_objects(path, cut=True):
      tried[record['split']][record['task_id']] = record['task_type']
  return dict(tried)


def _half(task_id):
  return PANELS[1 + _hash(f'panel/{task_id}')[0] % 2]


def _hash(text):
  return hashlib.sha256(text.encode()).digest()
