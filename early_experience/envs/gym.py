"""Any text environment with gymnasium's reset and step, as it is.

What a user has: `reset(seed=..., options=...) -> (observation, info)` and
`step(action) -> (observation, reward, terminated, truncated, info)`, where
observations and actions are text. docs/TUTORIAL.md starts from one.
"""

import copy
import math
import pickle
from collections.abc import Generator, Hashable, Mapping, Sequence
from typing import Self

from early_experience.envs import gym_arguments
from early_experience.envs.demonstrations import Demonstrations
from early_experience.envs.guard import Misbehaves
from early_experience.envs.interface import Environment, Task, Turn
from early_experience.runtime.errors import UserError


class Gym(Environment):
  """An environment of one's own; which split is out of domain is up to it."""

  name, splits = 'gym', ('train', 'test')
  licence = "the user's"
  expert_name = 'demonstrations'
  paths = ('demonstrations',)

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
        done; read when the episode ends. Where it is absent then, or None, the
        task is not done.
      win_reward: in place of it, the sum of rewards that is a success.
      instruction: key of the `info` of `reset` with the task in words; '' =
        the first observation says it.
      admissible: key of `info` with the list of possible actions; '' = they
        are not known.
      valid: key of `info` with whether the last action was one; '' = those not
        in the list were not. The end of an episode may do without.
      copyable: whether copy.deepcopy makes an independent copy; `explore` sets
        aside where what a copy did is seen in the original.

    Raises:
      UserError: an argument is wrong, or there is no such environment.
    """
    self._env = gym_arguments.make(make, dict(kwargs or {}))
    self._tasks, self._starts = gym_arguments.tasks_of(tasks)
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
    self._actions, self._seen, self._unsaid = None, None, ''

  def tasks(self, split: str) -> Sequence[Task]:
    if split not in self._tasks:
      raise UserError(
        f'config.env.kwargs.tasks has no split {split!r}; there are:'
        f' {", ".join(self.splits)}'
      )
    return self._tasks[split]

  def reset(self, task: Task) -> Turn:
    self._task, self._total, self._seen = task, 0.0, None
    self._unsaid = ''
    answer = self._call('reset', **self._starts[task.id])
    observation, info = self._unpack('reset', answer, ('observation', 'info'))
    self.instruction = ''
    if self._instruction:
      self.instruction = str(self._read(info, 'instruction'))
    self._list('reset', info)
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
    self._total += self._number('step', reward, 'the reward')
    done = bool(terminated or truncated)
    if self._valid and not (done and info.get(self._valid) is None):
      possible = bool(self._read(info, 'valid'))
    self._list('step', info, done)
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
        f'{self.source} cannot be copied: {gym_arguments.told(error)}; explore'
        ' with --config.env.kwargs.copyable=False'
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
    return self._demonstrations.play(self._task.id, turn, lambda: self._unsaid)

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
        f' {gym_arguments.told(error)}'
      ) from error

  def _unpack(self, method, answer, names):
    """The answer's parts, the first a text and the last a mapping."""
    if not isinstance(answer, tuple) or len(answer) != len(names):
      raise self._fault(method, f'does not return ({", ".join(names)})')
    observation, *others, info = answer
    if not isinstance(observation, str):
      raise self._fault(
        method,
        f'observes {type(observation).__name__}, not text; name a function'
        ' that wraps it in config.env.kwargs.make',
      )
    info = {} if info is None else info
    if not isinstance(info, Mapping):
      raise self._fault(
        method, f'returns an info of {type(info).__name__}, no dict'
      )
    return observation, *others, info

  def _number(self, method, value, what):
    try:
      number = float(value)
    except (TypeError, ValueError):
      number = math.nan
    if not math.isfinite(number):
      said = ' '.join(f'{value!r:.80}'.split())
      raise self._fault(method, f'returns {what} {said}, no finite number')
    return number

  def _fault(self, method, what):
    return UserError(
      f'{method} of {self.source} in task {self._task.id} {what}'
    )

  def _read(self, info, setting):
    key = getattr(self, f'_{setting}')
    if key not in info:
      raise UserError(
        f'config.env.kwargs.{setting}={key}: info of {self.source} in task'
        f' {self._task.id} has no such key; there are: {sorted(map(str, info))}'
      )
    return info[key]

  def _list(self, method, info, done=False):
    if not self._admissible or (done and info.get(self._admissible) is None):
      return
    found = self._read(info, 'admissible')
    texts = isinstance(found, list | tuple)  # in an order, as a set is not
    if not texts or not all(isinstance(action, str) for action in found):
      raise self._fault(
        method, f'returns info[{self._admissible!r}], which is no list of texts'
      )
    self._actions = tuple(map(self.canonical, found))

  def _measure(self, info, done):
    """How far the task is done, from 0 to 1."""
    if self._win_reward is not None:
      return float(self._total >= self._win_reward)
    found = info.get(self._success) if done else None
    if found is None:  # many environments say so of success alone
      if done:
        self._unsaid = (
          f'; its info says nothing of config.env.kwargs.success='
          f'{self._success}; there are: {sorted(map(str, info))}'
        )
      return 0.0
    score = self._number('step', found, f'info[{self._success!r}] =')
    return min(1.0, max(0.0, score))
