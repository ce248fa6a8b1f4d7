"""The runs of a config file's `sweep()`, and the stages that they can share."""

import dataclasses
import difflib
import itertools
import os
import runpy
from collections.abc import Callable, Sequence

from ml_collections import ConfigDict

from early_experience.runtime.errors import UserError, in_file
from early_experience.sweeps.overrides import Overrides, name_of, parts

RECIPE = 'recipe'

# Settings that the stages before training read, besides those of the stages
# before them: what leaves these alone leaves their outputs alone.
READS = {
  'collect': ('env', 'collect'),
  'explore': ('seed', 'explore', 'prepare.answer_format'),
  'summarise': ('summarise',),
  'reflect': ('seed', 'reflect'),
  'prepare': ('seed', 'prepare', 'init.hf'),
}
# Of a run; summarise is one where --stages names it.
STAGES = (*(name for name in READS if name != 'summarise'), 'train', 'evaluate')


@dataclasses.dataclass(frozen=True)
class Run:
  """One run of a sweep.

  Attributes:
    name: of its folder; follows from its overrides alone.
    overrides: {key: value}.
    flags: what a stage is given on the command line.
    config: as the stages will read it.
  """

  name: str
  overrides: Overrides
  flags: tuple[str, ...]
  config: ConfigDict


def expand(config: str) -> list[Run]:
  """The runs of a config file's `sweep()`, in its order.

  Args:
    config: as of `--config`: path, or path:recipe.

  Raises:
    UserError: there is no `sweep()`, or the file raises; it names an unknown
      key or a value of another type; two runs have the same name.
  """
  path, _, recipe = config.partition(':')
  if not os.path.isfile(path):
    raise UserError(f'--config={path}: no such file')
  try:
    return _expand(path, recipe)
  except UserError:
    raise
  except Exception as error:
    if where := in_file(error, [os.path.abspath(path)]):
      raise UserError(where) from None
    if 'get_config()' in str(error):  # it takes no recipe
      raise UserError(f'--config={path}: {error}') from None
    raise


def shareable(runs: Sequence[Run]) -> list[str]:
  """The stages that come out the same in every run."""
  return list(
    itertools.takewhile(lambda one: not _differing(runs, READS[one]), READS)
  )


def check_shared(runs: Sequence[Run], shared: Sequence[str]) -> None:
  """Checks that stages can be shared; runs may differ in their seed alone.

  Raises:
    UserError: a stage is none of them, or an override changes it.
  """
  for stage in shared:
    if stage not in READS:
      raise UserError(
        f'--shared={stage}: only {", ".join(READS)} can be shared'
      )
  last = max((list(READS).index(stage) for stage in shared), default=-1)
  for stage, keys in list(READS.items())[: last + 1]:
    if changed := _differing(runs, [key for key in keys if key != 'seed']):
      raise UserError(
        f'--shared={",".join(shared)}: the runs differ in {changed[0]}, which'
        f' {stage} reads; leave it out'
      )


def _expand(path, recipe):
  module = runpy.run_path(path)
  if not {'sweep', 'get_config'} <= module.keys():
    raise UserError(f'--config={path} has no sweep() beside its get_config()')
  found = module['sweep']()
  if not found or not all(isinstance(each, dict) for each in found):
    raise UserError(
      f'sweep() of {path} returns no list of overrides: build it with'
      ' sweeps.product, zipped and chain'
    )
  runs, numbers = [], {}
  for number, overrides in enumerate(found):
    run = _run(path, recipe, overrides, module['get_config'])
    # Some file systems do not tell capitals apart.
    other = numbers.setdefault(run.name.lower(), number)
    if other != number:
      raise UserError(
        f'sweep() of {path}: overrides {other} and {number} are both named'
        f' {run.name!r}: {found[other]} and {overrides}'
      )
    runs.append(run)
  return runs


def _run(path, recipe, overrides, get_config: Callable[..., ConfigDict]):
  settings = dict(overrides)
  recipe = settings.pop(RECIPE, recipe)
  config = get_config(*filter(None, [recipe]))
  for key, value in settings.items():
    _check_key(path, key, config)
    *parents, last = parts(key)
    try:
      _get(config, parents)[last] = value
    except (TypeError, ValueError) as error:
      raise UserError(
        f'sweep() of {path}: {key} = {value!r}: {" ".join(str(error).split())}'
      ) from None
  config.lock()
  source = f'{path}:{recipe}' if recipe else path
  arguments = [f'--config.{key}={value}' for key, value in settings.items()]
  name = name_of(overrides)
  return Run(name, overrides, (f'--config={source}', *arguments), config)


def _check_key(path, key, config):
  found = _get(config, parts(key))
  if found is not None and not isinstance(found, ConfigDict):
    return
  keys = list(_flat(config.to_dict()))
  close = difflib.get_close_matches(key, keys, 1)
  raise UserError(
    f'sweep() of {path} names {key!r}, which is no key of the config'
    + (f'; did you mean {close[0]!r}?' if close else '')
  )


def _get(config, parts):
  """The value there; None where there is none."""
  for part in parts:
    try:
      config = config[part]
    except (KeyError, IndexError, TypeError):
      return None
  return config


def _flat(value, prefix=''):
  for key, one in value.items():
    if isinstance(one, dict):
      yield from _flat(one, f'{prefix}{key}.')
    else:
      yield f'{prefix}{key}'


def _differing(runs, keys):
  """Those of the keys, or what is below them, in which runs differ."""
  return [
    key
    for key in keys
    if any(_value(r, key) != _value(runs[0], key) for r in runs[1:])
  ]


def _value(run, key):
  value = _get(run.config, parts(key))
  return value.to_dict() if isinstance(value, ConfigDict) else value
