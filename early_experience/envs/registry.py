"""Environments by name. A new one is one line here."""

import difflib
import importlib
import importlib.util
import inspect

from ml_collections import ConfigDict

from early_experience.config import check_choice
from early_experience.envs.interface import Environment
from early_experience.errors import UserError

# name -> module:class. The modules import what an environment needs only when
# it is made, so that all of them can be listed.
ENVIRONMENTS = {
  'alfworld': 'early_experience.envs.alfworld.environment:AlfWorld',
}


def kind_of(name: str) -> type[Environment]:
  """The class of an environment, whether or not what it needs is there.

  Raises:
    UserError: there is no such environment; the message names those there are.
  """
  name = check_choice('env.name', name, tuple(ENVIRONMENTS))
  module, kind = ENVIRONMENTS[name].split(':')
  return getattr(importlib.import_module(module), kind)


def missing(kind: type[Environment]) -> list[str]:
  """The modules that an environment needs and that cannot be found."""
  return [name for name in kind.needs if importlib.util.find_spec(name) is None]


def make(env: ConfigDict) -> Environment:
  """Builds the environment of `config.env`.

  Args:
    env: `name` and `kwargs`, the arguments of its constructor.

  Raises:
    UserError: there is no such environment or argument, or what it needs is
      not installed; the message names those there are, or the line that
      installs it.
  """
  name, kind = env.name, kind_of(env.name)
  if absent := missing(kind):
    raise UserError(
      f'environment {name} needs {", ".join(absent)}; run: {kind.install}'
    )
  known = list(inspect.signature(kind).parameters)
  kwargs = dict(env.kwargs)
  for key in kwargs:
    if key not in known:
      near = difflib.get_close_matches(key, known, n=1)
      hint = f'did you mean {near[0]}? ' if near else ''
      raise UserError(
        f'config.env.kwargs.{key} is no argument of {name};'
        f' {hint}there are: {", ".join(known)}'
      )
  return kind(**kwargs)
