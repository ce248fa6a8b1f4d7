"""What the searching expert remembers of an episode, whoever acted in it."""

import collections
import re
from collections.abc import Sequence

from early_experience.envs.alfworld.wording import NOTHING

_CONTENTS = re.compile(
  r'(?:On the ([^,.]+), you see|The ([^,.]+) is open\. In it, you see) ([^.]*)'
)
_CLOSED = re.compile(r'The ([^,.]+) is closed\.')
_NAME = re.compile(r'[a-z]+ \d+')


class Memory:
  """All that actions and their answers have shown.

  Attributes:
    receptacles: by ascending numbers.
    contents: receptacle -> objects, of those looked into.
    closed: receptacles.
    at: the receptacle that was gone to; '' at first.
    beside: names that cannot be gone to from here, for they are here too.
    held: what was seen being taken, or in the hand.
    done: object -> those of clean, heat and cool that hold.
    asked: the hand was looked into.

  Args:
    observation: the first one, which lists the receptacles.
  """

  def __init__(self, observation: str):
    # The room lists them the other way round.
    self.receptacles = _NAME.findall(observation)[::-1]
    self.contents: dict[str, list[str]] = {}
    self.closed, self.beside = set(), set()
    self.at, self.held, self.asked = '', None, False
    self.done = collections.defaultdict(set)

  def watch(self, action: str, observation: str) -> None:
    """Takes in an action and its answer."""
    for match in _CONTENTS.finditer(observation):
      name = match[1] or match[2]
      self.contents[name] = _NAME.findall(match[3])
      self.closed.discard(name)
    for match in _CLOSED.finditer(observation):
      self.closed.add(match[1])
    verb, names = action.split(' ')[0], _NAME.findall(action)
    if observation == NOTHING:
      self.beside |= set(names) if verb == 'go' else set()
    elif verb == 'inventory':
      self.asked = True
      self.held = next(iter(_NAME.findall(observation)), None)
    elif names:
      self._acted(verb, *names)

  def seen(self, kind: str, places: Sequence[str]) -> list[str]:
    """Objects of a kind in some places."""
    return [
      item
      for place in places
      for item in self.contents.get(place, ())
      if kind_of(item) == kind
    ]

  def place_of(self, item: str) -> str:
    """Where an object was seen."""
    return next(r for r, items in self.contents.items() if item in items)

  def _acted(self, verb, name, place=''):
    if verb == 'go':
      self.at, self.beside = name, set()
    elif verb == 'examine' and name in self.receptacles:
      self.at = name
    elif verb == 'close':
      self.closed.add(name)
    elif verb == 'take':
      self.held = name
      if name in self.contents.get(place, ()):
        self.contents[place].remove(name)
    elif verb == 'move':
      self.held = None
      self.contents.setdefault(place, []).append(name)
    elif verb in ('clean', 'heat', 'cool'):
      self.done[name] -= {'heat', 'cool'} if verb != 'clean' else set()
      self.done[name].add(verb)


def kind_of(name: str) -> str:
  """The type of an object or a receptacle, as its name has it."""
  return name.split(' ')[0]
