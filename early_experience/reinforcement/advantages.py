"""What each decision of a group is worth beside the others.

The mean of a group is the baseline: A = r - mean(r). Nothing is divided unless
it is asked for, and groups that say nothing are left out before anything is
computed of them.
"""

import collections
import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np
from ml_collections import ConfigDict

from early_experience.runtime.errors import UserError

_LEAST_STD = 1e-4  # TRL's


@dataclasses.dataclass(frozen=True)
class Groups:
  """The groups of an iteration.

  Attributes:
    kept: episodes of a group, each with the advantage of each of its decisions.
    even: groups without any difference: all rewards are alike. Of their
      episodes what was observed may be learnt, so they have no advantages.
    failed: groups of which an episode has no end: what kept it from one says
      nothing of the policy, and without it the others' mean is another.
  """

  kept: list[list[tuple[dict, np.ndarray | None]]]
  even: list[list[tuple[dict, np.ndarray | None]]]
  failed: int


def reward(record: dict, rl: ConfigDict) -> float:
  """Of an episode.

  Raises:
    UserError: it is not a number.
  """
  value = float(record[rl.reward])
  if not math.isfinite(value):
    raise UserError(
      f'the reward of task {record["task_id"]}, episode {record["member"]} is'
      f' {value}: config.rl.reward={rl.reward!r} of its environment'
    )
  return value


def of_groups(records: Iterable[dict], rl: ConfigDict) -> Groups:
  """Groups an iteration's episodes by task, and weighs their decisions.

  Args:
    records: of `Sampler.group_records`, in any order.
    rl: `config.rl`.

  Raises:
    UserError: a reward is not a number.
  """
  tasks = collections.defaultdict(list)
  for record in records:
    tasks[record['task_id']].append(record)
  kept, even, failed = [], [], 0
  for _, group in sorted(tasks.items()):
    group.sort(key=lambda record: record['member'])
    if any('reason' in record for record in group):
      failed += 1
      continue
    found = _advantages(group, rl)
    if any(values.any() for values in found):
      kept.append(list(zip(group, found, strict=True)))
    else:
      even.append([(record, None) for record in group])
  return Groups(kept, even, failed)


def _advantages(group, rl):
  """For each episode an array of its decisions' advantages."""
  rewards = [reward(record, rl) for record in group]
  whole = _centred(rewards, rl.divide_by_std)
  found = [
    np.full(len(record['steps']), value)
    for record, value in zip(group, whole, strict=True)
  ]
  if rl.invalid_penalty:
    for values, valid in zip(found, _valid(group), strict=True):
      values += rl.invalid_penalty * valid
  if rl.step_weight:
    for places, values in _step_groups(group, rewards, rl.step_discount):
      centred = _centred(values, rl.divide_by_std)
      for (member, step), value in zip(places, centred, strict=True):
        found[member][step] += rl.step_weight * value
  return found


def _valid(group):
  """For each episode 1 where a decision was accepted, less the group's mean."""
  every = [np.array([s['valid'] for s in r['steps']], float) for r in group]
  mean = np.concatenate(every).mean()
  return [valid - mean for valid in every]


def _step_groups(group, rewards, discount):
  """Decisions after one observation, and the discounted returns of each.

  GiGPO's anchor states are what was observed, whatever led there.
  """
  states = collections.defaultdict(list)
  for member, record in enumerate(group):
    for i, step in enumerate(record['steps']):
      states[step['observation']].append((member, i))
  for places in states.values():
    yield (
      places,
      [
        rewards[m] * discount ** (len(group[m]['steps']) - 1 - i)
        for m, i in places
      ],
    )


def _centred(values: Sequence[float], divide: bool) -> np.ndarray:
  values = np.array(values, np.float64)
  if (values == values[0]).all():
    return np.zeros(len(values))  # to the bit, whatever the mean rounds to
  centred = values - values.mean()
  return centred / (values.std() + _LEAST_STD) if divide else centred
