"""The arguments of `Gym`: what it makes, and which tasks there are."""

import re
from collections.abc import Mapping
from typing import Any

from early_experience.envs.interface import Task
from early_experience.envs.registry import imported
from early_experience.runtime.errors import UserError

_TASK_KEYS = ('id', 'seed', 'options', 'type')


def make(path: str, kwargs: dict) -> Any:
  """Makes what `config.env.kwargs.make` names, with these arguments.

  Raises:
    UserError: there is no such class, or it raises.
  """
  key = 'config.env.kwargs.make'
  if not path:
    raise UserError(f'{key} is empty: module.path:Class, or an id of gymnasium')
  if re.fullmatch(r'[\w.]+:\w+', path):
    maker = imported(key, path)
  else:
    try:
      import gymnasium
    except ImportError:
      raise UserError(
        f'{key}={path} is no module.path:Class, and an id of gymnasium needs:'
        ' pip install gymnasium'
      ) from None
    kwargs, maker = {'id': path, **kwargs}, gymnasium.make
  try:
    return maker(**kwargs)
  except UserError:
    raise
  except Exception as error:  # whatever a user's own class may do
    raise UserError(f'{key}={path}: {told(error)}') from error


def told(error: Exception) -> str:
  """An error of a user's own class, in one line."""
  return f'{type(error).__name__}: {" ".join(str(error).split())}'


def tasks_of(splits: Mapping) -> tuple[dict[str, list[Task]], dict[str, dict]]:
  """Tasks by split, and the arguments of `reset` by id.

  Raises:
    UserError: `config.env.kwargs.tasks` is no such mapping; the message has the
      entry.
  """
  key = 'config.env.kwargs.tasks'
  if not isinstance(splits, Mapping) or not splits:
    raise UserError(f"{key} is no {{'train': [seed, ...], 'test': [...]}}")
  tasks, starts = {}, {}
  for split, entries in splits.items():
    tasks[split] = []
    if not isinstance(entries, list | tuple):
      raise UserError(f'{key}.{split} is {entries!r}, no list')
    for entry in entries:
      if type(entry) is int:
        entry = {'id': str(entry), 'seed': entry}
      if not isinstance(entry, Mapping) or set(entry) - {*_TASK_KEYS}:
        raise UserError(
          f'{key}.{split}: {entry!r} is no seed, and no object of:'
          f' {", ".join(_TASK_KEYS)}'
        )
      name, kind = str(entry.get('id', '')), entry.get('type', 'task')
      if not re.fullmatch(r'[\w.-]+', name) or type(kind) is not str:
        raise UserError(
          f'{key}.{split}: {entry!r} needs an id of letters, digits, _ . and -,'
          ' and its type is text'
        )
      if name in starts:
        raise UserError(f'{key}: {name} is there twice, again in {split}')
      starts[name] = {k: entry[k] for k in ('seed', 'options') if k in entry}
      tasks[split].append(Task(name, split, kind))
  return tasks, starts
