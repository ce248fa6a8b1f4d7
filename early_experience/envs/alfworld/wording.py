"""What ALFWorld 0.4.2 says, word for word."""

import re
from collections.abc import Iterable

NOTHING = 'Nothing happens.'
HELP = """Available commands:
  look:                             look around your current location
  inventory:                        check your current inventory
  go to (receptacle):               move to a receptacle
  open (receptacle):                open a receptacle
  close (receptacle):               close a receptacle
  take (object) from (receptacle):  take an object from a receptacle
  move (object) to (receptacle):  place an object in or on a receptacle
  examine (something):              examine a receptacle or an object
  use (object):                     use an object
  heat (object) with (receptacle):  heat an object using a receptacle
  clean (object) with (receptacle): clean an object using a receptacle
  cool (object) with (receptacle):  cool an object using a receptacle
  slice (object) with (object):     slice an object using a sharp object
"""

_COORDINATES = re.compile(r'_bar_.*')


def names(ids: Iterable[str]) -> dict[str, str]:
  """PDDL ids -> names such as `cabinet 2`; the last id in order is 1."""
  found, counts = {}, {}
  for identity in sorted(ids, reverse=True):
    name = _COORDINATES.sub('', identity)
    if name != identity:
      name += 'basin' if 'basin' in identity else ''
      counts[name] = counts.get(name, 0) + 1
      name = f'{name} {counts[name]}'
    found[identity] = name
  return found


def listed(words: Iterable[str]) -> str:
  """`a`, `a, and b`, or `nothing`."""
  words = list(words)
  if not words:
    return 'nothing'
  if len(words) == 1:
    return words[0]
  return ', '.join(words[:-1]) + f', and {words[-1]}'


def opening(receptacles: Iterable[str]) -> str:
  """The first observation of a game, from the names in it."""
  around = listed(f'a {name}' for name in receptacles)
  return (
    'You are in the middle of a room. Looking quickly around you, you see'
    f' {around}.'
  )


def facing(receptacles: Iterable[str], floor: Iterable[str]) -> str:
  """What `look` answers in front of receptacles."""
  beside = listed(f'a {name}' for name in floor)
  return (
    f'You are facing the {listed(receptacles)}. Next to it, you see {beside}.'
  )


def contents(name: str, is_open: bool | None, items: Iterable[str]) -> str:
  """A receptacle and what is in it; `is_open` is None where nothing opens."""
  if is_open is None:
    return f'On the {name}, you see {_things(items)}.'
  if is_open:
    return f'The {name} is open. In it, you see {_things(items)}.'
  return f'The {name} is closed.'


def vessel(name: str, items: Iterable[str]) -> str:
  """An object that could hold others, examined."""
  return f'This is a normal {name}. In it, you see {_things(items)}.'


def thing(
  name: str, *, clean: bool, hot: bool, cool: bool, sliced: bool, lit: bool
) -> str:
  """Any other object, examined."""
  # "cold" alone, "cool" with anything else: the grammar's own words.
  warmth = 'hot' if hot else 'cool' if cool else ''
  words = ' and '.join(filter(None, (warmth, 'clean' if clean else '')))
  if sliced and words:
    return f'This is a {words} sliced {name}.'
  if words:
    return f'This is a {"cold" if words == "cool" else words} {name}.'
  if lit:
    return f'This {name} is on.'
  if sliced:
    return f'This is a sliced {name}.'
  return f"There's nothing special about {name}."


def _things(items):
  return listed(f'a {name}' for name in items)
