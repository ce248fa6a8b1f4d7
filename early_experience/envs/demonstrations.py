"""A user's own demonstrations, played as an expert. One JSON object a line:

  {"task": "17", "actions": ["look", "take key"], "thoughts": ["Dark.", null]}

`thoughts` may be absent. A task has one demonstration. A line of a task that
the environment does not have is left unplayed: a file may serve several
settings. Where a task has no line, its error says how many such there are.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Collection, Generator

from early_experience.envs.guard import Misbehaves
from early_experience.envs.interface import Turn
from early_experience.runtime import json_text
from early_experience.runtime.errors import UserError


@dataclasses.dataclass(frozen=True)
class Demonstration:
  """What somebody did in a task.

  Attributes:
    where: file and line.
    actions: in order.
    thoughts: one for each action; None where there is none.
    fault: why it cannot be played; '' where it can.
  """

  where: str
  actions: tuple[str, ...] = ()
  thoughts: tuple[str | None, ...] = ()
  fault: str = ''


class Demonstrations:
  """All demonstrations of a file, by task.

  Args:
    path: of a JSONL file.
    key: the setting that names it, for errors.
    tasks: ids of those that the environment has.

  Raises:
    UserError: there is no such file.
  """

  def __init__(self, path: str, key: str, tasks: Collection[str]):
    self._path, self._tasks = pathlib.Path(path), tasks
    if not self._path.is_file():
      raise UserError(f'{key}: there is no file {path}')
    self._by_task = None  # read when the first is asked for

  def play(
    self, task_id: str, turn: Turn, unsaid: Callable[[], str] = str
  ) -> Generator[str | tuple[str, str], Turn, None]:
    """An expert, as `Environment.expert` has it.

    Args:
      task_id: of the running task.
      turn: what `reset` returned.
      unsaid: what an episode's end left unsaid, for the error.

    Raises:
      Misbehaves: there is no demonstration, it is malformed, or the episode did
        not end with it in success.
    """
    found = self._find(task_id)
    if found.fault:
      raise Misbehaves(
        'demonstration malformed', f'{found.where}: {found.fault}'
      )
    for number, action in enumerate(found.actions):
      if turn.done:
        break  # what follows was done in vain
      thought = found.thoughts[number]
      turn = yield action if thought is None else (action, thought)
    if not turn.done:
      raise Misbehaves(
        'demonstration ends early',
        f'{found.where}: the episode goes on after its last action',
      )
    if not turn.success:
      raise Misbehaves(
        'demonstration fails',
        f'{found.where}: ends in {turn.observation!r}{unsaid()}',
      )

  def _find(self, task_id):
    if self._by_task is None:
      self._by_task, self._lost = _read(self._path)
    if task_id in self._by_task:
      return self._by_task[task_id]
    said = f'{self._path} has none'
    if self._lost:
      said += f' (lines without a task: {len(self._lost)}, as {self._lost[0]})'
    others = [task for task in self._by_task if task not in self._tasks]
    if others:
      where = self._by_task[others[0]].where.removeprefix(f'{self._path} ')
      said += (
        f' (lines of tasks that are not in the config: {len(others)}, as'
        f' {where}: {others[0][:80]!r})'
      )
    raise _Absent('no demonstration', said)


class _Absent(Misbehaves):
  """Others have one."""

  alone = True


def _read(path):
  """Demonstrations by task, and what is wrong with lines that have no task."""
  by_task, lost = {}, []
  for number, line in enumerate(path.read_bytes().splitlines(), start=1):
    where = f'{path} line {number}'
    try:
      value = json_text.parse(line)
    except ValueError as error:
      lost.append(f'line {number}: not JSON in UTF-8: {error}')
      continue
    task = value.get('task') if isinstance(value, dict) else None
    if type(task) not in (str, int):
      lost.append(f'line {number}: no object with a "task"')
    elif str(task) in by_task:
      first = by_task[str(task)].where
      fault = f'{where} has another one of this task'
      by_task[str(task)] = Demonstration(first, fault=fault)
    else:
      by_task[str(task)] = _demonstration(where, value)
  return by_task, lost


def _demonstration(where, value):
  actions = value.get('actions')
  if not _texts(actions, str) or not actions:
    return Demonstration(where, fault='"actions" is no list of texts')
  thoughts = value.get('thoughts', [None] * len(actions))
  if not _texts(thoughts, str | None) or len(thoughts) != len(actions):
    fault = '"thoughts" is no list of texts or nulls, one for each action'
    return Demonstration(where, fault=fault)
  if unknown := value.keys() - {'task', 'actions', 'thoughts'}:
    return Demonstration(where, fault=f'unknown keys: {sorted(unknown)}')
  return Demonstration(where, tuple(actions), tuple(thoughts))


def _texts(value, kind):
  return isinstance(value, list) and all(isinstance(v, kind) for v in value)
