"""Where games come from: official files under $ALFWORLD_DATA, or generated."""

import os
import pathlib
import re
from collections.abc import Sequence

from early_experience.envs.alfworld import generate, tables
from early_experience.envs.interface import Task
from early_experience.runtime import files
from early_experience.runtime.errors import UserError

SPLITS = generate.SPLITS
_FOLDERS = {'train': 'train', 'seen': 'valid_seen', 'unseen': 'valid_unseen'}
_TASK = re.compile(r'"Your task is to: ([^"]*)"')


class Generated:
  """ALFWorld's rooms and rules with sampled placements.

  Args as in generate.specs; `counts` has the number of games by split.
  """

  source = 'ALFWorld rules, generated placements'

  def __init__(self, counts: dict[str, int], **settings):
    tables.load()  # a missing wheel is found here, not in the middle of a run
    self._counts = counts
    self._settings = settings

  def tasks(self, split: str) -> list[Task]:
    specs = generate.specs(split, self._counts[split], **self._settings)
    return [Task(spec.id, split, spec.task_type) for spec in specs]

  def read(self, task: Task) -> tuple[str, str]:
    """The PDDL problem and the instruction."""
    game = generate.build(generate.Spec.from_id(task.id))
    return game.problem, game.instruction

  def data(self, task: Task) -> dict:
    """What the official engine reads."""
    return generate.data(generate.build(generate.Spec.from_id(task.id)))


class Official:
  """The games of the ALFWorld release, as far as they are on this disk."""

  source = 'ALFWorld official games'

  def __init__(
    self,
    counts: dict[str, int],
    *,
    rooms: Sequence[str],
    task_types: Sequence[str],
  ):
    self._root = official_root()
    self._counts = counts
    self._rooms = rooms
    self._task_types = task_types

  def tasks(self, split: str) -> list[Task]:
    """The games that the official loader plays: solvable, six task types.

    Raises:
      UserError: the split has no such game; the message names the folder.
    """
    folder = self._root / _FOLDERS[split]
    found = []
    for path in sorted(folder.glob('**/game.tw-pddl')):
      if len(found) == self._counts[split]:
        break
      name = path.parent.relative_to(folder)
      task_type, *_, room = name.parts[0].split('-')
      wanted = task_type in self._task_types and 'Sliced' not in name.parts[0]
      if wanted and _kind(room) in self._rooms and _data(path)['solvable']:
        found.append(Task('__'.join(name.parts), split, task_type))
    if not found:
      raise UserError(
        f'no official ALFWorld games in {folder}; run alfworld-download, or'
        " set --config.env.kwargs.source='generated'"
      )
    return found

  def read(self, task: Task) -> tuple[str, str]:
    """The PDDL problem and the instruction."""
    path = self._path(task)
    data = _data(path)
    match = _TASK.search(data['grammar'])
    if not match:
      raise UserError(f'{path}: the grammar names no task')
    return data['pddl_problem'], match[1]

  def data(self, task: Task) -> dict:
    """What the official engine reads."""
    return _data(self._path(task))

  def _path(self, task):
    folder = self._root / _FOLDERS[task.split]
    return folder.joinpath(*task.id.split('__'), 'game.tw-pddl')


def official_root() -> pathlib.Path:
  """The folder of official games, whether or not it is there."""
  data = os.environ.get('ALFWORLD_DATA') or '~/.cache/alfworld'
  return pathlib.Path(data).expanduser() / 'json_2.1.1'


def _data(path):
  """One `game.tw-pddl`, checked for what we read of it."""
  data = files.read_json(path)
  for key, kind in (('pddl_problem', str), ('grammar', str)):
    if not isinstance(data.get(key), kind):
      raise UserError(f'{path}: {key} is missing')
  return {'solvable': False, **data}


def _kind(room):
  """`308` -> bedroom."""
  number = int(room) if room.isdigit() else 0
  return tables.ROOM_KINDS[max(0, min(number // 100, 4) - 1)]
