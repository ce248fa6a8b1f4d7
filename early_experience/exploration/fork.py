"""The operating system as a snapshot: a forked child acts and tells.

For environments whose whole state is in this process, but in no form that
Python can copy. The child shares the parent's open files and sockets: an
environment that has any must not be forked.
"""

import contextlib
import functools
import os
import pickle
import signal
import time
from collections.abc import Callable
from typing import Any

from early_experience.envs.guard import Misbehaves
from early_experience.envs.interface import Environment
from early_experience.runtime.process import readable
from early_experience.work.units import Failure, reason_of

SECONDS = 60.0  # that an action may take


def peek(
  env: Environment,
  action: str,
  act: Callable[[Environment, str], Any],
  seconds: float = SECONDS,
) -> Any:
  """What an action would lead to; the environment stays as it is.

  Args:
    env: is forked.
    action: for `act`.
    act: is called in the child with both; what it returns can be pickled.
    seconds: that it may take.

  Raises:
    Misbehaves: the child hung or crashed, or the environment raised there.
  """
  ours, theirs = os.pipe()
  child = os.fork()
  if not child:
    _act(functools.partial(act, env, action), theirs)  # never returns
  os.close(theirs)
  try:
    told = _read(ours, seconds)
  finally:
    os.close(ours)
    with contextlib.suppress(ProcessLookupError):
      os.kill(child, signal.SIGKILL)  # it has nothing more to do
    _, status = os.waitpid(child, 0)
  try:
    answer = pickle.loads(told)
  except Exception:  # nothing, or not all of it
    code = os.waitstatus_to_exitcode(status)
    raise Misbehaves(
      'crash', f'{action!r} ended the forked process: exit code {code}'
    ) from None
  if isinstance(answer, Failure):
    raise Misbehaves(answer.reason, answer.error)
  return answer


def _act(act, pipe):
  """In the child: acts, tells and ends without a trace."""
  try:
    told = pickle.dumps(act())
  except BaseException as error:
    told = pickle.dumps(
      Failure(reason_of(error), f'{type(error).__name__}: {error}')
    )
  try:
    with open(pipe, 'wb') as file:
      file.write(told)
  finally:
    os._exit(0)


def _read(pipe, seconds):
  """All that comes until the other end closes."""
  parts, end = [], time.monotonic() + seconds
  while True:
    left = end - time.monotonic()
    if left <= 0 or not readable(pipe, left):
      raise Misbehaves('hang', f'no answer of a fork in {seconds:g} s')
    part = os.read(pipe, 1 << 16)
    if not part:
      return b''.join(parts)
    parts.append(part)
