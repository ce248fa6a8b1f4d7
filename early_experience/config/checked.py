"""Whatever has a config checks it once, before it begins."""

import copy
import functools
import inspect
from collections.abc import Callable

from ml_collections import ConfigDict

from early_experience.config.default import define
from early_experience.config.rules import check
from early_experience.runtime import paths


def settled(config: ConfigDict) -> ConfigDict:
  """A copy in which paths are expanded.

  Raises:
    UserError: a setting is none, or is not what it may be.
  """
  config = copy.deepcopy(config)
  check(define(), config)
  return config


def checked(function: Callable) -> Callable:
  """Settles the `config` and the `workdir` that a function is called with."""
  signature = inspect.signature(function)

  @functools.wraps(function)
  def run(*args, **kwargs):
    given = signature.bind(*args, **kwargs)
    given.arguments['config'] = settled(given.arguments['config'])
    if workdir := given.arguments.get('workdir'):
      given.arguments['workdir'] = paths.given(workdir, '--workdir')
    return function(*given.args, **given.kwargs)

  return run
