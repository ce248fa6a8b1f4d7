"""Environments by name. A new one is one line here."""

import difflib
import importlib
import inspect

from ml_collections import ConfigDict

from early_experience.config import check_choice
from early_experience.envs.interface import Environment
from early_experience.errors import UserError

# name -> module:class, imported only when it is asked for
ENVIRONMENTS = {
  'alfworld': 'early_experience.envs.alfworld.environment:AlfWorld',
}


def make(env: ConfigDict) -> Environment:
  """Builds the environment of `config.env`.

  Args:
    env: `name` and `kwargs`, the arguments of its constructor.

  Raises:
    UserError: there is no such environment or argument; the message names
      those there are.
  """
  name = check_choice('env.name', env.name, tuple(ENVIRONMENTS))
  module, kind = ENVIRONMENTS[name].split(':')
  constructor = getattr(importlib.import_module(module), kind)
  known = list(inspect.signature(constructor).parameters)
  kwargs = dict(env.kwargs)
  for key in kwargs:
    if key not in known:
      near = difflib.get_close_matches(key, known, n=1)
      hint = f'did you mean {near[0]}? ' if near else ''
      raise UserError(
        f'config.env.kwargs.{key} is no argument of {name};'
        f' {hint}there are: {", ".join(known)}'
      )
  return constructor(**kwargs)
