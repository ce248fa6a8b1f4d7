"""The runs of a config file's `sweep()`, and the stages that they can share."""

import dataclasses
import difflib
import itertools
from collections.abc import Callable, Iterable, Sequence

from ml_collections import ConfigDict

from early_experience.config import reads, settled
from early_experience.runtime import config_file
from early_experience.runtime import stage as stage_lib
from early_experience.runtime.errors import UserError, words
from early_experience.sweeps.overrides import Overrides, name_of, parts

RECIPE = 'recipe'

# Before training, in order. What leaves alone the settings of one and of those
# before it leaves its outputs alone.
SHAREABLE = ('collect', 'explore', 'summarise', 'reflect', 'prepare')
# Of a run; summarise is one where --stages names it.
STAGES = (
  *(name for name in SHAREABLE if name != 'summarise'),
  'train',
  'evaluate',
)


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
  with config_file.opened('--config', config) as (defined, path, recipe):
    return _expand(defined, path, recipe)


def shareable(runs: Sequence[Run]) -> list[str]:
  """The stages that come out the same in every run."""
  return list(
    itertools.takewhile(lambda one: not _differing(runs, one), SHAREABLE)
  )


def check_shared(runs: Sequence[Run], shared: Sequence[str]) -> None:
  """Checks that stages can be shared; runs may differ in their seed alone.

  Raises:
    UserError: a stage is none of them, or an override changes it.
  """
  for stage in shared:
    if stage not in SHAREABLE:
      raise UserError(
        f'--shared={stage}: only {", ".join(SHAREABLE)} can be shared'
      )
  last = max((list(SHAREABLE).index(stage) for stage in shared), default=-1)
  for stage in list(SHAREABLE)[: last + 1]:
    if changed := [key for key in _differing(runs, stage) if key != 'seed']:
      raise UserError(
        f'--shared={",".join(shared)}: the runs differ in {changed[0]}, which'
        f' {stage} reads; leave it out'
      )


def _expand(defined, path, recipe):
  if not {'sweep', 'get_config'} <= defined.keys():
    raise UserError(f'--config={path} has no sweep() beside its get_config()')
  found = defined['sweep']()
  found = list(found) if isinstance(found, Iterable) else ()
  if not found or not all(map(_is_overrides, found)):
    raise UserError(
      f'sweep() of {path} returns no list of overrides: build it with'
      ' sweeps.product, zipped and chain'
    )
  runs, numbers = [], {}
  for number, overrides in enumerate(found):
    run = _run(path, recipe, overrides, defined['get_config'])
    # Some file systems do not tell capitals apart.
    other = numbers.setdefault(run.name.lower(), number)
    if other != number:
      raise UserError(
        f'sweep() of {path}: overrides {other} and {number} are both named'
        f' {run.name!r}: {found[other]} and {overrides}'
      )
    runs.append(run)
  return runs


def _is_overrides(found):
  return isinstance(found, dict) and all(isinstance(k, str) for k in found)


def _run(path, recipe, overrides, get_config: Callable[..., ConfigDict]):
  settings = dict(overrides)
  if RECIPE in settings:
    recipe = [*filter(None, [settings.pop(RECIPE)])]
  config, arguments = get_config(*recipe), []
  for key, value in settings.items():
    _check_key(path, key, value, config)
    *parents, last = parts(key)
    holder = _get(config, parents)
    if value is None and not _is_new(holder, last):  # no flag can say so
      if holder[last] is None:
        continue
      raise UserError(
        f'sweep() of {path}: {key} = None: only a config file can set that'
      )
    arguments.append(f'--config.{key}={_shown(holder, last, value)}')
    try:
      if isinstance(value, dict) and last in holder:
        holder[last].update(value)
      else:
        holder[last] = value
    except (KeyError, TypeError, ValueError) as error:
      raise UserError(
        f'sweep() of {path}: {key} = {value!r}: {words(error)}'
      ) from None
  config.lock()
  try:
    settled(config)
  except UserError as error:
    raise UserError(f'sweep() of {path}: {overrides}: {error}') from None
  source = ':'.join([path, *recipe])
  name = name_of(overrides)
  return Run(name, overrides, (f'--config={source}', *arguments), config)


def _check_key(path, key, value, config):
  *parents, last = parts(key)
  holder, found = _get(config, parents), _get(config, parts(key))
  if isinstance(found, ConfigDict):
    is_there = isinstance(value, dict)
  elif isinstance(holder, ConfigDict):
    is_there = last in holder or not holder.is_locked
  else:
    is_there = found is not None
  if is_there:
    return
  keys = list(_flat(config.to_dict()))
  close = difflib.get_close_matches(key, keys, 1)
  raise UserError(
    f'sweep() of {path} names {key!r}, which is no key of the config'
    + (f'; did you mean {close[0]!r}?' if close else '')
  )


def _shown(holder, key, value):
  """A value as the command line takes it."""
  return repr(value) if _is_new(holder, key) else value


def _is_new(holder, key):
  return isinstance(holder, ConfigDict) and key not in holder


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


def _differing(runs, stage):
  """What a stage reads that runs differ in."""
  first, *others = (reads(stage, run.config) for run in runs)
  found = (stage_lib.differences(first, one, {}) for one in others)
  return list(dict.fromkeys(key for each in found for key, *_ in each))
