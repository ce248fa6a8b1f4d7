"""What an environment may answer; all else is reported, never recorded."""

import dataclasses
import json
import math

from early_experience.envs.interface import Environment, Task, Turn
from early_experience.work.units import Fault


class Misbehaves(Fault):
  """An environment did what it must not."""


class Guarded:
  """An environment whose answers are checked; all else passes through.

  Args:
    env: to be guarded.
    max_chars: of an observation.
  """

  def __init__(self, env: Environment, max_chars: int):
    self._env, self._max_chars = env, max_chars

  def reset(self, task: Task) -> Turn:
    """Starts a task.

    Raises:
      Misbehaves: the first observation or the instruction is no text that can
        be kept.
    """
    turn = self._check(self._env.reset(task))
    check_text('instruction', self._env.instruction)
    return turn

  def step(self, action: str) -> Turn:
    """Executes an action.

    Raises:
      Misbehaves: the observation is no text that can be kept.
    """
    return self._check(self._env.step(action))

  def admissible(self) -> tuple[str, ...] | None:
    """All actions possible now.

    Raises:
      Misbehaves: one of them is no text that can be kept.
    """
    found = self._env.admissible()
    return None if found is None else check_actions(tuple(found))

  def clone(self) -> 'Guarded | None':
    twin = self._env.clone()
    return None if twin is None else Guarded(twin, self._max_chars)

  def __getattr__(self, name):
    return getattr(self._env, name)

  def _check(self, turn):
    if not isinstance(turn, Turn):
      raise Misbehaves(
        'no turn', f'the answer is {type(turn).__name__}, not a Turn'
      )
    check_text('observation', turn.observation)
    turn = _settled(turn)
    _check_outcome(turn)
    length = len(turn.observation)
    if length > self._max_chars:
      raise Misbehaves(
        'observation too long',
        f'an observation of {length:,} characters is longer than'
        f' config.env.max_observation_chars = {self._max_chars:,}',
      )
    return turn


def _settled(turn):
  """What an environment does not say it has solved, it has not."""
  unsaid = {'success': False, 'score': 0.0}
  unsaid = {k: v for k, v in unsaid.items() if getattr(turn, k) is None}
  return dataclasses.replace(turn, **unsaid) if unsaid else turn


def _check_outcome(turn):
  for name in ('done', 'success', 'valid'):
    value = getattr(turn, name)
    if type(value) is not bool:  # NumPy has one of its own
      kind = type(value).__name__
      raise Misbehaves('no turn', f'`{name}` of a turn is {kind}, not bool')
  number = isinstance(turn.score, float) or type(turn.score) is int
  if not number or not math.isfinite(turn.score):
    raise Misbehaves('no turn', f'the score of a turn is {turn.score!r:.40}')


def check_text(what: str, text: object) -> None:
  """Passes what a file can hold.

  Raises:
    Misbehaves: it is no text, or half of a surrogate pair is in it, which
      UTF-8 cannot write.
  """
  if not isinstance(text, str):
    raise Misbehaves('no text', f'the {what} is {type(text).__name__}')
  try:
    text.encode()
  except UnicodeEncodeError as error:
    raise Misbehaves(
      'invalid UTF-8',
      f'the {what} holds {text[error.start]!r} at character {error.start}',
    ) from None


def check_actions(actions: tuple) -> tuple[str, ...]:
  """Passes actions that are text.

  Raises:
    Misbehaves: one is not.
  """
  try:
    '\n'.join(actions).encode()  # all at once, for most are
  except (TypeError, UnicodeEncodeError):
    for action in actions:
      check_text('admissible action', action)
  return actions


def check_record(record: dict) -> dict:
  """Passes a record that JSON and UTF-8 can hold, to its last list.

  Raises:
    Misbehaves: they cannot.
  """
  try:
    check_text('record', json.dumps(record, ensure_ascii=False))
  except (TypeError, ValueError) as error:
    raise Misbehaves('no text', f'the record is not JSON: {error}') from None
  return record
