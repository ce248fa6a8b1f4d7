"""Any text environment with gymnasium's reset and step, as it is.

What a user has: `reset(seed=..., options=...) -> (observation, info)` and
`step(action) -> (observation, reward, terminated, truncated, info)`, where
observations and actions are text. docs/TUTORIAL.md starts from one.
"""

import copy
import pickle
import re
from collections.abc import Generator, Hashable, Mapping, Sequence
from typing import Self

from early_experience.envs.demonstrations import Demonstrations
from early_experience.envs.guard import Misbehaves
from early_experience.envs.interface import Environment, Task, Turn
from early_experience.envs.registry import imported
from early_experience.runtime.errors import UserError

_TASK_KEYS = ('id', 'seed', 'options', 'type')


class Gym(Environment):
  """An environment of one's own; which split is out of domain is up to it."""

  name, splits = 'gym', ('train', 'test')
  licence = "the user's"
  expert_name = 'demonstrations'

  def __init__(
    self,
    *,
    make: str = '',
    kwargs: Mapping | None = None,
    tasks: Mapping[str, Sequence] | None = None,
    demonstrations: str = '',
    success: str = 'success',
    win_reward: float | None = None,
    instruction: str = '',
    admissible: str = '',
    valid: str = '',
    copyable: bool = False,
  ):
    """Makes the environment.

    Args:
      make: `package.module:name` of a class or function that makes it
        (gymnasium need not be installed), or the id of one that gymnasium
        knows.
      kwargs: arguments of that.
      tasks: {split: tasks}; training is on `train`. A task is a seed, or
        {'id': text, 'seed': number, 'options': object, 'type': text}, where
        the id alone is needed. The id of a seed is its number.
      demonstrations: JSONL file of the expert, as demonstrations.py has it.
      success: key of `info` with whether (or how far, from 0 to 1) the task is
        done; read when the episode ends.
      win_reward: in place of it, the sum of rewards that is a success.
      instruction: key of the `info` of `reset` with the task in words; '' =
        the first observation says it.
      admissible: key of `info` with the list of possible actions; '' = they
        are not known.
      valid: key of `info` with whether the last action was one; '' = those not
        in the list were not.
      copyable: whether copy.deepcopy makes an independent copy; `explore` sets
        aside where what a copy did is seen in the original.

    Raises:
      UserError: an argument is wrong, or there is no such environment.
    """
    self._env = _make(make, dict(kwargs or {}))
    self._tasks, self._starts = _tasks(tasks)
    # A config gives them in the order of the alphabet.
    self.splits = tuple(sorted(self._tasks, key=lambda name: name != 'train'))
    self.source = make
    self._demonstrations = None
    if demonstrations:
      key = 'config.env.kwargs.demonstrations'
      self._demonstrations = Demonstrations(demonstrations, key, self._starts)
    self._success, self._win_reward = success, win_reward
    self._instruction, self._admissible = instruction, admissible
    self._valid, self._copyable = valid, copyable
    self.branching = 'clone' if copyable else 'replay'
    self._actions, self._seen = None, None

  def tasks(self, split: str) -> Sequence[Task]:
    if split not in self._tasks:
      raise UserError(
        f'config.env.kwargs.tasks has no split {split!r}; there are:'
        f' {", ".join(self.splits)}'
      )
    return self._tasks[split]

  def reset(self, task: Task) -> Turn:
    self._task, self._total, self._seen = task, 0.0, None
    answer = self._call('reset', **self._starts[task.id])
    observation, info = self._unpack('reset', answer, ('observation', 'info'))
    self.instruction = ''
    if self._instruction:
      self.instruction = str(self._read(info, 'instruction'))
    self._list(info)
    return Turn(observation)

  def step(self, action: str) -> Turn:
    self._prove_alone()
    self._seen = None
    possible = self._actions is None or action in self._actions
    answer = self._call('step', action)
    observation, reward, terminated, truncated, info = self._unpack(
      'step',
      answer,
      ('observation', 'reward', 'terminated', 'truncated', 'info'),
    )
    self._total += float(reward)
    done = bool(terminated or truncated)
    if self._valid:
      possible = bool(self._read(info, 'valid'))
    self._list(info, done)
    score = self._measure(info, done)
    return Turn(observation, done, score == 1, score, possible)

  def admissible(self) -> tuple[str, ...] | None:
    return self._actions

  def clone(self) -> Self | None:
    if not self._copyable:
      return None
    self._prove_alone()
    self._seen = self.fingerprint()
    twin = copy.copy(self)
    twin._seen = None
    try:
      twin._env = copy.deepcopy(self._env)
    except Exception as error:  # whatever a user's own class may hold
      raise UserError(
        f'{self.source} cannot be copied: {_told(error)}; explore with'
        ' --config.env.kwargs.copyable=False'
      ) from None
    return twin

  def fingerprint(self) -> Hashable | None:
    if not self._copyable:
      return None
    try:
      state = pickle.dumps(self._env)
    except Exception:  # it holds what cannot be written down
      return None
    return state, self._total, self._actions

  def _prove_alone(self):
    """Nothing happened here since a copy was made, whatever the copy did."""
    if self._seen is not None and self._seen != self.fingerprint():
      raise Misbehaves(
        'copies not independent',
        f'what a copy of {self.source} did changed the original; explore with'
        ' --config.env.kwargs.copyable=False',
      )

  def close(self) -> None:
    if hasattr(self._env, 'close'):
      self._env.close()

  def expert(
    self, turn: Turn
  ) -> Generator[str | tuple[str, str], Turn, None] | None:
    if self._demonstrations is None:
      return None
    return self._demonstrations.play(self._task.id, turn)

  def canonical(self, action: str) -> str:
    return action.strip()  # what is within may matter: code, columns

  def _call(self, method, *args, **kwargs):
    try:
      return getattr(self._env, method)(*args, **kwargs)
    except UserError:
      raise
    except Exception as error:  # whatever a user's own class may do
      given = ', '.join(map(repr, args))
      raise UserError(
        f'{method}({given}) of {self.source} in task {self._task.id} raised'
        f' {_told(error)}'
      ) from error

  def _unpack(self, method, answer, names):
    if not isinstance(answer, tuple) or len(answer) != len(names):
      raise UserError(
        f'{method} of {self.source} does not return ({", ".join(names)})'
      )
    if not isinstance(answer[0], str):
      raise UserError(
        f'{method} of {self.source} observes {type(answer[0]).__name__}, not'
        ' text; name a function that wraps it in config.env.kwargs.make'
      )
    return answer

  def _read(self, info, setting):
    key = getattr(self, f'_{setting}')
    if key not in info:
      raise UserError(
        f'config.env.kwargs.{setting}={key}: info of {self.source} in task'
        f' {self._task.id} has no such key; there are: {sorted(info)}'
      )
    return info[key]

  def _list(self, info, done=False):
    if not self._admissible or (done and self._admissible not in info):
      return
    found = self._read(info, 'admissible')
    texts = isinstance(found, list | tuple)  # in an order, as a set is not
    if not texts or not all(isinstance(action, str) for action in found):
      raise UserError(
        f'info[{self._admissible!r}] of {self.source} is no list of texts'
      )
    self._actions = tuple(map(self.canonical, found))

  def _measure(self, info, done):
    """How far the task is done, from 0 to 1."""
    if self._win_reward is not None:
      return float(self._total >= self._win_reward)
    if not done:
      return 0.0
    found = self._read(info, 'success')
    try:
      return min(1.0, max(0.0, float(found)))
    except (TypeError, ValueError):
      raise UserError(
        f'info[{self._success!r}] of {self.source} is {found!r}, no number'
      ) from None


def _make(path, kwargs):
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
    raise UserError(f'{key}={path}: {_told(error)}') from error


def _told(error):
  return f'{type(error).__name__}: {" ".join(str(error).split())}'


def _tasks(splits):
  """Tasks by split, and the arguments of `reset` by id."""
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
