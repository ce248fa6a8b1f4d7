"""TravelPlanner behind the environment interface."""

import copy
import json
import re
from collections.abc import Generator, Hashable, Sequence
from typing import Self

from early_experience.envs.interface import Environment, Task, Turn
from early_experience.envs.travelplanner import data as records
from early_experience.envs.travelplanner import (
  fixture,
  plan,
  render,
  rules,
)
from early_experience.runtime.errors import UserError

_KEYS = ('action_type', 'day', 'field', 'value', 'cost')
_FLIGHT = re.compile(r'Flight Number: ([^,]*)')
_WAY = re.compile(r'(self-driving|taxi).*?from (.+?) to ([^,]+)', re.IGNORECASE)


class TravelPlanner(Environment):
  """Plan a trip of 3, 5 or 7 days within its budget and constraints.

  Sole planning: the reference information is given. A plan is filled field by
  field, then completed, as in the paper's own gym (appendix B.7). Success is
  the official final pass: every constraint is kept; the score is the share of
  constraints that are. Splits are the official train and validation. `unseen`,
  the one that is out of domain, has all trips of a length that is held out of
  the other two; it is empty unless `held_out_days` is set.
  """

  name = 'travelplanner'
  splits = ('train', 'validation', 'unseen')
  licence = "the user's data (TravelPlanner: MIT)"
  branching = 'clone'
  expert_name = 'annotated plans'
  paths = ('data',)

  def __init__(self, *, data: str = '', held_out_days: int = 0):
    """Reads the queries.

    Args:
      data: folder with the official {split}.csv (or .jsonl) and
        {split}_ref_info.jsonl, those of `train` at least; or `fixture`, made-up
        trips for tests.
      held_out_days: trips of so many days are all in the split `unseen`.

    Raises:
      UserError: an argument is wrong, or a file is missing or malformed.
    """
    if data == 'fixture':
      self.source, found = fixture.SOURCE, fixture.queries()
    else:
      self.source = f'TravelPlanner, in {data}'
      found = {'train': records.read(data, 'train')}
      if records.exists(data, 'validation'):
        found['validation'] = records.read(data, 'validation')
      else:
        self.splits = ('train', 'unseen')
    lengths = {query.days for own in found.values() for query in own}
    if held_out_days and held_out_days not in lengths:
      raise UserError(
        f'env.kwargs.held_out_days is {held_out_days!r}, not one of:'
        f' {", ".join(map(str, sorted(lengths)))}'
      )
    self._queries = {'unseen': {}}
    for split, own in found.items():
      self._queries[split] = {}
      for query in own:
        held_out = query.days == held_out_days
        self._queries['unseen' if held_out else split][query.id] = query

  def tasks(self, split: str) -> Sequence[Task]:
    self.check_split(split)
    return [
      Task(query.id, split, f'{query.days}-day {query.level}')
      for query in self._queries[split].values()
    ]

  def reset(self, task: Task) -> Turn:
    self._query = self._queries[task.split][task.id]
    self._plan = ()
    self.instruction = f'{self._query.text}\n{render.HOW_TO}'
    known = render.reference(self._query.reference)
    return Turn(f'{known}\n\n{render.progress(self._query, self._plan)}')

  def step(self, action: str) -> Turn:
    value = _parsed(action)
    if value is None:
      return self._refused('it is not one JSON object')
    if self._following() is None:
      if value.get('action_type') != 'COMPLETE_PLAN':
        return self._refused('the plan only waits to be completed')
      return self._complete()
    day, field = self._following()
    for choice in plan.choices(self._query, self._plan):
      offered = choice.described(day)
      # What it costs is not for the planner to say.
      if all(value.get(key) == offered[key] for key in _KEYS[:-1]):
        self._plan = (*self._plan, choice)
        return Turn(render.progress(self._query, self._plan))
    return self._refused(f'it is no choice for {field} of day {day}')

  def _following(self):
    return plan.next_field(self._query, self._plan)

  def _refused(self, why):
    said = render.progress(self._query, self._plan)
    return Turn(f'Invalid action: {why}.\n{said}', valid=False)

  def _complete(self):
    kept = rules.judge(self._query, plan.days(self._query, self._plan)).values()
    return Turn('The plan is complete.', True, all(kept), sum(kept) / len(kept))

  def admissible(self) -> tuple[str, ...]:
    following = self._following()
    if following is None:
      return (plan.COMPLETE,)
    found = plan.choices(self._query, self._plan)
    return tuple(choice.action(following[0]) for choice in found)

  def clone(self) -> Self:
    return copy.copy(self)

  def fingerprint(self) -> Hashable:
    return self._query.id, self._plan

  def canonical(self, action: str) -> str:
    value = _parsed(action)
    if value is None:
      return ' '.join(action.split())
    return plan.write({key: value[key] for key in _KEYS if key in value})

  def expert(self, turn: Turn) -> Generator[str, Turn, None] | None:
    return self._annotated() if self._query.plan else None

  def _annotated(self):
    """The annotated plan, as long as the reference information has it."""
    while following := self._following():
      day, field = following
      found = plan.choices(self._query, self._plan)
      days = self._query.plan
      wanted = days[day - 1].get(field) if day <= len(days) else None
      key = _key(field, wanted or plan.NOTHING)
      fitting = [c for c in found if _key(field, c.value) == key]
      if not fitting:
        return
      yield fitting[0].action(day)
    yield plan.COMPLETE


def _parsed(action):
  try:
    value = json.loads(action)
  except (ValueError, RecursionError):
    return None
  return value if isinstance(value, dict) else None


def _key(field, value):
  """What a value means, however it is written; of attractions the first."""
  if value == plan.NOTHING:
    return value
  if field == 'transportation':
    if flight := _FLIGHT.search(value):
      return flight.group(1)
    if way := _WAY.search(value):
      return (way.group(1).lower(), *map(rules.plain, way.groups()[1:]))
    return value
  name, _, city = value.split(';')[0].rpartition(',')
  return name.strip(), rules.plain(city)
