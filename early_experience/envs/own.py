"""The one environment that a worker process makes and keeps."""

import atexit
import contextlib
import functools
import json
from collections.abc import Iterator

from ml_collections import ConfigDict

from early_experience.envs import registry
from early_experience.envs.guard import Guarded


@contextlib.contextmanager
def environment(settings: str) -> Iterator[Guarded]:
  """This process's environment, guarded; made when it is first asked for.

  One that an exception went through is closed, for nothing is known of its
  state: the next unit gets a new one.

  Args:
    settings: `config.env` as JSON text.
  """
  env = _made(settings)
  try:
    yield env
  except BaseException:
    _made.cache_clear()
    atexit.unregister(_close)  # it would be kept until then
    _close(env)
    raise


def make(settings: str) -> Guarded:
  """Makes an environment, guarded, from `config.env` as JSON text."""
  settings = ConfigDict(json.loads(settings))
  return Guarded(registry.make(settings), settings.max_observation_chars)


@functools.lru_cache(maxsize=1)
def _made(settings):
  env = make(settings)
  atexit.register(_close, env)  # again is no harm
  return env


def _close(env):
  with contextlib.suppress(Exception):  # it may be why we close it
    env.close()
