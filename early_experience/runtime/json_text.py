"""JSON that somebody else wrote, with one kind of error whatever is wrong."""

import codecs
import itertools
import json
import re
import sys
from collections.abc import Iterator

from early_experience.runtime.errors import UserError

# Half of a character in JSON, of which Python makes what no file can hold.
_SURROGATE = re.compile(r'\\u[dD][89a-fA-F]')


def parse(data: bytes | str, once: bool = True) -> object:
  """A JSON value that can be kept and written again.

  Args:
    data: text, or UTF-8 with or without a byte order mark.
    once: refuse an object with the same key twice, of which some readers take
      the first and others the last; else the last counts.

  Raises:
    ValueError: it is not JSON in UTF-8, or Python cannot hold it: thousands of
      levels or of digits, or a text with half a character.
  """
  text = data if isinstance(data, str) else data.decode('utf-8-sig')
  try:
    value = json.loads(text, object_pairs_hook=_once if once else None)
    if _SURROGATE.search(text):
      json.dumps(value, ensure_ascii=False).encode()
  except RecursionError:
    raise ValueError('JSON of too many levels') from None
  except UnicodeEncodeError:
    raise ValueError('a text holds half a character') from None
  except ValueError as error:
    if 'int_max_str_digits' not in str(error):
      raise
    most = sys.get_int_max_str_digits()
    raise ValueError(f'an integer of more than {most} digits') from None
  return value


def _once(pairs):
  made = dict(pairs)
  if len(made) < len(pairs):
    names = [name for name, _ in pairs]
    twice = next(name for name in names if names.count(name) > 1)
    raise ValueError(f'the key {twice!r} is there twice')
  return made


def read_file(path) -> Iterator[tuple[str, object]]:
  """Yields (`FILE line N`, value) of JSON lines.

  Of one JSON array in place of lines: (`FILE record N`, value).

  Raises:
    UserError: it is neither, as `parse` has it, or empty.
  """
  with open(path, 'rb') as file:
    if file.read(3) != codecs.BOM_UTF8:
      file.seek(0)
    lines = ((n, line) for n, line in enumerate(file, start=1) if line.strip())
    begins, first = next(lines, (0, b''))
    if not first:
      raise UserError(f'{path} is empty')
    if first.lstrip().startswith(b'['):
      values = _array(b'\n' * (begins - 1) + first + file.read(), path)
      if not values:
        raise UserError(f'{path} is empty')
      for i, value in enumerate(values, start=1):
        yield f'{path} record {i}', value
      return
    for number, line in itertools.chain([(begins, first)], lines):
      try:
        yield f'{path} line {number}', parse(line)
      except ValueError as error:
        raise _not_json(f'{path} line {number}', error, line) from None


def _array(data, path):
  try:
    return parse(data)
  except UnicodeDecodeError as error:
    line = data.count(b'\n', 0, error.start) + 1
    raise _not_json(f'{path} line {line}', error, data) from None
  except json.JSONDecodeError as error:
    where = f'{path} line {error.lineno}'
    raise _not_json(where, error, data.lstrip()) from None
  except ValueError as error:
    raise UserError(f'{path} record {_bad(data.decode())}: {error}') from None


def _bad(text):
  """The number of the first value of an array that `parse` refuses."""
  decoder, number, place = json.JSONDecoder(), 1, text.index('[') + 1
  while True:
    start = re.compile(r'[\s,]*').match(text, place).end()
    try:
      place = decoder.raw_decode(text, start)[1]
      parse(text[start:place])
    except (ValueError, RecursionError):
      return number
    number += 1


def _not_json(where, error, data):
  if isinstance(error, UnicodeDecodeError):
    return UserError(f'{where}: not UTF-8: {error}')
  if not isinstance(error, json.JSONDecodeError):
    return UserError(f'{where}: {error}')
  begins = data[:40].decode(errors='replace')
  return UserError(f'{where}: not JSON: {error.msg}; it begins {begins!r}')


def levels(value: object) -> int:
  """How deep lists and objects lie in each other; 0 for anything else."""
  count, layer = 0, [value]
  while layer := [one for one in layer if isinstance(one, (dict, list))]:
    count += 1
    layer = [
      inner
      for one in layer
      for inner in (one.values() if isinstance(one, dict) else one)
    ]
  return count
