"""JSON that somebody else wrote, with one kind of error whatever is wrong."""

import json
import re
import sys

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
