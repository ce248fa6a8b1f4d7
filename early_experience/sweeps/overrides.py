"""The language of sweeps: which overrides each run has.

A config file says it, beside its `get_config()`:

  def sweep():
    return sweeps.product(
      {'recipe': ['imitation', 'joint']},
      sweeps.zipped({'budget.lr_peak': [1e-3, 3e-3], 'seed': [0, 1]}),
    )

Keys are those of the config; `recipe` is the argument of `get_config`.
"""

import hashlib
import itertools
import re
from collections.abc import Sequence

from early_experience.runtime.errors import UserError

Overrides = dict[str, object]  # of one run: {key: value}
Choices = dict[str, Sequence]  # {key: its values}

LONGEST_NAME = 100  # characters


def product(*parts: Choices | list[Overrides]) -> list[Overrides]:
  """Every choice of one part with every choice of the others.

  Args:
    *parts: {key: its values}, or what `product`, `zipped` or `chain` returned.
      The last varies fastest.

  Raises:
    UserError: values are no list, or two parts name one key.
  """
  parts = [_crossed(part) for part in parts]
  return [_merged(chosen) for chosen in itertools.product(*parts)]


def zipped(*parts: Choices | list[Overrides]) -> list[Overrides]:
  """The first choices of all parts together, then the second, and so on.

  Raises:
    UserError: as `product`, or the parts are not equally long.
  """
  columns = []
  for part in parts:
    if isinstance(part, dict):
      columns += [_values(key, values) for key, values in part.items()]
    else:
      columns.append(part)
  if len({len(column) for column in columns}) > 1:
    raise UserError(
      f'zipped() has parts of unequal lengths: {[len(c) for c in columns]}'
    )
  return [_merged(chosen) for chosen in zip(*columns, strict=True)]


def chain(*parts: Choices | list[Overrides]) -> list[Overrides]:
  """The runs of one part after those of another."""
  return [one for part in parts for one in _crossed(part)]


def name_of(overrides: Overrides) -> str:
  """A readable name that any file system takes.

  It depends on these overrides alone. Where characters were replaced or the
  name was cut, a hash of all of it stands at its end.
  """
  whole = ','.join(
    f'{".".join(map(str, parts(key)))}={value}'
    for key, value in overrides.items()
  )
  name = re.sub(r'[^A-Za-z0-9_.,=+-]+', '-', whole)
  if name != whole or len(name) > LONGEST_NAME:
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    name = f'{name[: LONGEST_NAME - 9].strip("-")}-{digest}'
  return name or 'base'


def parts(key):
  """`a[0].b` as ['a', 0, 'b']."""
  return [int(p) if p.isdigit() else p for p in re.findall(r'[^.\[\]]+', key)]


def _crossed(part):
  if not isinstance(part, dict):
    return part
  columns = [_values(key, values) for key, values in part.items()]
  return [_merged(chosen) for chosen in itertools.product(*columns)]


def _values(key, values):
  if not isinstance(values, list | tuple | range):
    raise UserError(
      f'sweep() gives {key!r} the value {values!r}: give a list of values'
    )
  return [{key: value} for value in values]


def _merged(chosen):
  merged = {}
  for one in chosen:
    if twice := merged.keys() & one.keys():
      raise UserError(f'sweep() sets {min(twice)!r} twice in one run')
    merged |= one
  return merged
