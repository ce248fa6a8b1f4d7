"""Environments by name, one line each, or by `module.path:Class`."""

import difflib
import importlib
import importlib.util
import inspect
import os

from ml_collections import ConfigDict

from early_experience.config import check_choice
from early_experience.envs.interface import Environment
from early_experience.runtime import files, paths, stage
from early_experience.runtime.errors import UserError

# name -> module:class. The modules import what an environment needs only when
# it is made, so that all of them can be listed.
ENVIRONMENTS = {
  'alfworld': 'early_experience.envs.alfworld.environment:AlfWorld',
  'alfworld_official': (
    'early_experience.envs.alfworld.official:AlfWorldOfficial'
  ),
  'bfcl': 'early_experience.envs.bfcl.environment:Bfcl',
  'gym': 'early_experience.envs.gym:Gym',
  'miniwob': 'early_experience.envs.miniwob.environment:MiniWob',
  'openenv': 'early_experience.envs.openenv.environment:OpenEnv',
  'scienceworld': 'early_experience.envs.scienceworld:ScienceWorld',
  'searchqa': 'early_experience.envs.searchqa.environment:SearchQA',
  'tau2': 'early_experience.envs.tau2.environment:Tau2',
  'textcraft': 'early_experience.envs.textcraft.environment:TextCraft',
  'textworld_express': (
    'early_experience.envs.textworld_express:TextWorldExpress'
  ),
  'travelplanner': (
    'early_experience.envs.travelplanner.environment:TravelPlanner'
  ),
  'webarena': 'early_experience.envs.webarena:WebArena',
  'webshop': 'early_experience.envs.webshop.environment:WebShop',
}


def kind_of(name: str) -> type[Environment]:
  """The class of an environment, whether or not what it needs is there.

  Args:
    name: one of `ENVIRONMENTS`, or `module.path:Class`, an `Environment` that
      can be imported from the working folder or from where packages are.

  Raises:
    UserError: there is no such environment; the message names those there are.
  """
  if ':' in name:
    kind = imported('config.env.name', name)
    if not (isinstance(kind, type) and issubclass(kind, Environment)):
      raise UserError(f'config.env.name: {name} is no subclass of Environment')
    return kind
  name = check_choice('env.name', name, tuple(ENVIRONMENTS))
  return imported('config.env.name', ENVIRONMENTS[name])


def imported(key: str, path: str) -> object:
  """What `module.path:name` names.

  Args:
    key: the setting that has it, for the error.
    path: of a module that can be imported, and what to take from it.

  Raises:
    UserError: the module cannot be imported, or has nothing of that name.
  """
  place, _, name = path.partition(':')
  try:
    module = importlib.import_module(place)
  except ModuleNotFoundError as error:
    hint = ' here or on PYTHONPATH' if place.startswith(error.name) else ''
    found = f'there is no module {error.name}{hint}'
  except Exception as error:  # whatever a user's own file may do
    found = f'importing it: {type(error).__name__}: {error}'
  else:
    if hasattr(module, name):
      return getattr(module, name)
    found = f'module {place} has no {name!r}'
  raise UserError(f'{key}={path}: {found}')


def missing(kind: type[Environment]) -> list[str]:
  """The modules that an environment needs and that cannot be found."""
  return [name for name in kind.needs if importlib.util.find_spec(name) is None]


def settings(env: ConfigDict) -> dict:
  """`config.env` as a stage keeps it: data are known by what they hold."""
  # One that was made elsewhere and given has a name of its own.
  named = env.name in ENVIRONMENTS or ':' in env.name
  known = kind_of(env.name).paths if named else ()
  kwargs = env.kwargs.to_dict()
  kwargs |= {key: _place(kwargs[key]) for key in known if key in kwargs}
  return {**env.to_dict(), 'kwargs': kwargs}


def _place(value):
  where = os.path.expanduser(value) if isinstance(value, str) else ''
  if os.path.exists(where):
    return stage.place(value, files.content(where))
  return value


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
  kwargs = env.kwargs.to_dict()
  for key in kwargs:
    if key not in known:
      near = difflib.get_close_matches(key, known, n=1)
      hint = f'did you mean {near[0]}? ' if near else ''
      raise UserError(
        f'config.env.kwargs.{key} is no argument of {name};'
        f' {hint}there are: {", ".join(known)}'
      )
    if key in kind.paths and isinstance(kwargs[key], str):
      kwargs[key] = paths.given(kwargs[key], f'config.env.kwargs.{key}')
  try:
    return kind(**kwargs)
  except ImportError as error:  # only part of it is there, or a namesake
    if not kind.install:
      raise
    raise UserError(
      f'environment {name}: {error}; run: {kind.install}'
    ) from error
