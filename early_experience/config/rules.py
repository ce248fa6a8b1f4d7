"""What a setting may be, said where it is defined.

`definitions` hold a `Setting` wherever more is asked than a value's type:

  config.held_out = number(0.02, '[0, 1)')
  config.layout = choice('tree', 'flat')  # the first is the default

`values` takes the defaults out of them, `check` holds a config to them.
"""

import dataclasses
from collections.abc import Callable

from ml_collections import ConfigDict

from early_experience.runtime import paths
from early_experience.runtime.errors import UserError

# Returns what the setting of a name (its place, for errors) is to be.
Rule = Callable[[str, object], object]


@dataclasses.dataclass(frozen=True)
class Setting:
  """A default, and what else the setting may be."""

  value: object
  rule: Rule


def number(value: int | float, within: str) -> Setting:
  """A number; whole where the default is one.

  Args:
    value: the default.
    within: its range, as `[0, 1)`, `(0, inf]` or `{-1} or [1, inf)`. An end in
      a round bracket is not in it, and nan is in none.
  """
  return Setting(value, _within(type(value), within))


def numbers(value: tuple, within: str, kind: type = float) -> Setting:
  """A number, or a tuple or list of them; see `number`."""
  one = _within(kind, within)

  def rule(name, found):
    for each in found if isinstance(found, tuple | list) else [found]:
      one(name, each)
    return found

  return Setting(value, rule)


def choice(value: str, *others: str) -> Setting:
  """One of a few words, the first of which is the default."""
  return Setting(value, among((value, *others)))


def choices(value: tuple[str, ...], words: tuple[str, ...]) -> Setting:
  """A tuple or list of words, each one of a few."""
  one = among(words)

  def rule(name, found):
    if not isinstance(found, tuple | list):
      raise UserError(f'{name} is {found!r}, not a list')
    for each in found:
      if isinstance(each, str) and ',' in each:  # as a flag gives it
        several = tuple(each.split(','))
        raise UserError(f'{name} is {each!r}: several are given as "{several}"')
      one(name, each)
    return found

  return Setting(value, rule)


def folder(value: str) -> Setting:
  """The name of a folder, which leads nowhere else."""

  def rule(name, found):
    if found in ('', '.', '..') or '/' in found:
      raise UserError(f'{name} is {found!r}, not the name of a folder')
    return found

  return Setting(value, rule)


def path(value: str = '', hub: bool = False) -> Setting:
  """A file or folder; see `runtime.paths`."""
  return Setting(value, lambda name, found: paths.given(found, name, hub))


def entries(
  value: dict | list,
  of: Setting | ConfigDict | None = None,
  key: Setting | None = None,
):
  """A list, or a dictionary that takes new keys.

  Args:
    value: the default.
    of: what every entry is; None: anything.
    key: what every key is; None: any text.
  """

  def rule(name, found):
    if of is None:
      return found
    if isinstance(found, list | tuple):
      return [_check(f'{name}[{i}]', of, one) for i, one in enumerate(found)]
    for own, one in found.items():
      if key:
        _check(f'a key of {name}', key, own)
      found[own] = _check(f'{name}.{own}', of, one)
    return found

  return Setting(value, rule)


def values(definitions: ConfigDict) -> ConfigDict:
  """The defaults alone. What is no fixed group of keys is left unlocked."""
  config, free = ConfigDict(), []
  for key, one in definitions.items(preserve_field_references=True):
    if isinstance(one, ConfigDict):
      config[key] = values(one)
    else:
      value = one.value if isinstance(one, Setting) else one
      config[key] = ConfigDict(value) if isinstance(value, dict) else value
      free += [key] if isinstance(value, dict) else []
  config.lock()
  for key in free:
    config[key].unlock()
  return config


def check(
  definitions: ConfigDict, config: ConfigDict, name: str = 'config'
) -> None:
  """Holds each setting to what it may be, and expands paths in place.

  Args:
    definitions: as above.
    config: what they define, or part of it.
    name: of it, for errors.

  Raises:
    UserError: the first that may not be; it names the key, value and range.
  """
  _check(name, definitions, config)


def _check(name, defined, found):
  if isinstance(defined, Setting):
    return defined.rule(name, found)
  if not isinstance(defined, ConfigDict):
    return found  # of the right type, for a ConfigDict sees to that
  if not isinstance(found, ConfigDict | dict):
    raise UserError(f'{name} is {found!r}, not a dictionary')
  if isinstance(found, dict):  # in a list, of a config that was JSON
    found = ConfigDict(found)
  for key, old in found.items():
    if key not in defined:
      raise UserError(
        f'{name}.{key} is no setting; there are: {", ".join(defined)}'
      )
    new = _check(f'{name}.{key}', defined[key], old)
    if new is not old:
      found[key] = new
  return found


def _within(kind, text):
  word = 'whole number' if kind is int else 'number'

  def rule(name, found):
    is_number = isinstance(found, int if kind is int else int | float)
    if not is_number or isinstance(found, bool) or not _is_in(found, text):
      raise UserError(f'{name} is {found!r}, not a {word} in {text}')
    return found

  return rule


def _is_in(number, text):
  for part in text.split(' or '):
    first, last = part[0], part[-1]
    ends = [float(end) for end in part[1:-1].split(',')]
    low, high = ends[0], ends[-1]
    above = low < number if first == '(' else low <= number
    if above and (number < high if last == ')' else number <= high):
      return True
  return False


def among(words: tuple[str, ...]) -> Rule:
  """One of a few words."""

  def rule(name, found):
    if found not in words:
      raise UserError(f'{name} is {found!r}, not one of: {", ".join(words)}')
    return found

  return rule
