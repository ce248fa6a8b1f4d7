"""An expert that sees what an agent sees: the instruction and observations.

It reads the errand from the instruction, looks for the objects where they
usually are, remembers what it saw, and carries things where they belong. It
knows ALFWorld's tables (what fits where, what opens), but not the game.
"""

import dataclasses
import functools
import re
from collections.abc import Generator

from early_experience.envs.alfworld import tables
from early_experience.envs.alfworld.wording import NOTHING
from early_experience.envs.interface import Turn

_CONTENTS = re.compile(
  r'(?:On the ([^,.]+), you see|The ([^,.]+) is open\. In it, you see) ([^.]*)'
)
_CLOSED = re.compile(r'The ([^,.]+) is closed\.')
_NAME = re.compile(r'[a-z]+ \d+')
_APPLIANCES = {
  'pick_clean_then_place_in_recep': ('clean', 'sinkbasin'),
  'pick_heat_then_place_in_recep': ('heat', 'microwave'),
  'pick_cool_then_place_in_recep': ('cool', 'fridge'),
}

Actions = Generator[str, str, None]  # yields actions, is sent observations


@dataclasses.dataclass(frozen=True)
class Errand:
  """An instruction, understood.

  Attributes:
    task_type: one of tables.TASK_TYPES.
    object: type of the object, as observations call it.
    target: likewise, of the receptacle or lamp.
  """

  task_type: str
  object: str
  target: str


def understand(instruction: str) -> Errand | None:
  """What an instruction asks for; None where it fits no template."""
  for task_type, pattern in _patterns():
    match = pattern.fullmatch(instruction.strip().lower())
    if match:
      return Errand(task_type, *match.group('object', 'target'))
  return None


def act(instruction: str, turn: Turn) -> Generator[str, Turn, None]:
  """Yields actions and is sent their turns, until done or out of ideas.

  Args:
    instruction: of the task.
    turn: the first one, which lists the receptacles.
  """
  errand = understand(instruction)
  if errand is None:
    return
  plan = _Agent(turn.observation).run(errand)
  action = next(plan, None)
  while action is not None:
    turn = yield action
    if turn.done:
      return
    try:
      action = plan.send(turn.observation)
    except StopIteration:
      return


class _Agent:
  """Memory, and errands as coroutines over it."""

  def __init__(self, observation: str):
    # Ascending numbers; the room lists them the other way round.
    self._receptacles = _NAME.findall(observation)[::-1]
    self._contents = {}  # receptacle -> objects, for those looked into
    self._closed = set()
    self._at = ''
    self._held = None  # only what it was found to hold at the start
    self._asked = False

  def run(self, errand: Errand) -> Actions:
    if errand.task_type == 'look_at_obj_in_light':
      plan = self._light(errand)
    elif errand.task_type == 'pick_two_obj_and_place':
      plan = self._bring_two(errand)
    else:
      plan = self._bring(errand)
    return plan

  def _light(self, errand):
    if not (yield from self._fetch(errand.object)):
      return
    lamp = yield from self._find(errand.target)
    if lamp:
      yield from self._reach(self._place_of(lamp))
      yield from self._do(f'use {lamp}')

  def _bring(self, errand):
    item = yield from self._fetch(errand.object)
    if not item:
      return
    if errand.task_type in _APPLIANCES:
      verb, kind = _APPLIANCES[errand.task_type]
      appliance = self._any(kind)
      if not appliance:
        return
      yield from self._stand(appliance)
      yield from self._do(f'{verb} {item} with {appliance}')
    yield from self._put(item, self._any(errand.target))

  def _bring_two(self, errand):
    target, count = None, 2
    item = yield from self._find(errand.object)
    if item and item != self._held:
      place = self._place_of(item)
      if _kind(place) == errand.target:  # one is in its place already
        target, count = place, 1
    for _ in range(count):
      item = yield from self._fetch(errand.object, besides=target)
      if not item:
        return
      target = target or self._any(errand.target)
      yield from self._put(item, target)

  def _fetch(self, kind, besides=None):
    """Finds and takes an object that is not in `besides`; None: nowhere."""
    item = yield from self._find(kind, besides)
    if not item or item == self._held:
      return item
    place = self._place_of(item)
    yield from self._reach(place)
    take = f'take {item} from {place}'
    if (yield from self._do(take)) == NOTHING:
      held = yield from self._check_hand()
      if not held or _kind(held) == kind:
        return held
      yield from self._drop(held)
      yield from self._reach(place)
      yield from self._do(take)
    self._contents[place].remove(item)
    return item

  def _check_hand(self):
    """An agent that starts in the middle may hold something already."""
    self._asked = True
    names = _NAME.findall((yield from self._do('inventory')))
    self._held = names[0] if names else None
    return self._held

  def _drop(self, item):
    for place in sorted(self._receptacles, key=lambda r: r != self._at):
      if not _plausible(_kind(item), _kind(place)):
        continue
      if (yield from self._put(item, place)) != NOTHING:
        return

  def _find(self, kind, besides=None):
    """Looks around until an object of a kind is in sight; its name."""
    while not (self._held and _kind(self._held) == kind):
      places = [r for r in self._contents if r != besides]
      seen = self._seen(kind, places)
      if seen:
        return seen[0]
      left = [r for r in self._receptacles if r not in self._contents]
      place = min(left, key=lambda r: self._effort(kind, r), default='')
      if not self._asked and not _plausible(kind, _kind(place)):
        yield from self._check_hand()
      elif not left:
        return None
      else:
        yield from self._reach(place)
    return self._held

  def _effort(self, kind, receptacle):
    """Sorts receptacles to look into: likely and cheap ones first.

    Neighbours of a kind often share a location, where `go to` is no action;
    so another kind comes before the next of the same.
    """
    place = _kind(receptacle)
    return (
      not _plausible(kind, place),
      place in _openable(),
      place == _kind(self._at),
    )

  def _reach(self, receptacle):
    """Stands before a receptacle and sees what is in it."""
    yield from self._stand(receptacle)
    if receptacle in self._closed:
      yield from self._do(f'open {receptacle}')
    self._contents.setdefault(receptacle, [])

  def _stand(self, receptacle):
    if self._at == receptacle:
      return
    if (yield from self._do(f'go to {receptacle}')) == NOTHING:
      # Another receptacle of this very place.
      yield from self._do(f'examine {receptacle}')
    self._at = receptacle

  def _put(self, item, receptacle):
    if not receptacle:
      return NOTHING
    yield from self._reach(receptacle)
    answer = yield from self._do(f'move {item} to {receptacle}')
    if answer != NOTHING:
      self._held = None
      self._contents[receptacle].append(item)
    return answer

  def _do(self, action):
    observation = yield action
    for match in _CONTENTS.finditer(observation):
      name = match[1] or match[2]
      self._contents[name] = _NAME.findall(match[3])
      self._closed.discard(name)
    for match in _CLOSED.finditer(observation):
      self._closed.add(match[1])
    return observation

  def _seen(self, kind, places):
    return [
      item
      for place in places
      for item in self._contents.get(place, ())
      if _kind(item) == kind
    ]

  def _place_of(self, item):
    return next(r for r, items in self._contents.items() if item in items)

  def _any(self, kind):
    """A receptacle of a kind: this one, one looked into, or the first."""
    return min(
      (r for r in self._receptacles if _kind(r) == kind),
      key=lambda r: (r != self._at, r not in self._contents),
      default=None,
    )


def _kind(name):
  return name.split(' ')[0]


def _plausible(kind, place):
  return kind in _fitting().get(place, ())


@functools.cache
def _openable():
  return frozenset(kind.lower() for kind in tables.load().openable)


@functools.cache
def _fitting():
  """Receptacle type -> object types usually found there, in lower case."""
  known = tables.load()
  lamps = {lamp.lower() for lamp in tables.LAMPS}
  return {
    place.lower(): {kind.lower() for kind in known.holds.get(place, ())}
    | (lamps if place not in known.openable else set())
    for place in known.receptacles
  }


@functools.cache
def _patterns():
  patterns = []
  for task_type, templates in tables.load().sentences.items():
    for template in templates:
      words = template.format(
        obj=r'(?P<object>\w+)',
        recep=r'(?P<target>\w+)',
        toggle=r'(?P<target>\w+)',
      )
      pattern = re.compile(rf'(?:your task is to: )?{words}\.?')
      patterns.append((task_type, pattern))
  return tuple(patterns)
