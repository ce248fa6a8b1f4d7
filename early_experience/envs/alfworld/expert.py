"""An expert that sees what an agent sees: the instruction and observations.

It reads the errand from the instruction, looks for the objects where they
usually are, remembers what it saw, and carries things where they belong. It
knows ALFWorld's tables (what fits where, what opens), but not the game.
"""

import dataclasses
import functools
import re
from collections.abc import Generator, Sequence

from early_experience.envs.alfworld import tables
from early_experience.envs.alfworld.memory import Memory, kind_of
from early_experience.envs.alfworld.wording import NOTHING
from early_experience.envs.interface import Turn

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


def advise(
  instruction: str, turn: Turn, past: Sequence[tuple[str, Turn]]
) -> str | None:
  """What to do next where somebody else has acted so far.

  Args:
    instruction: of the task.
    turn: the first one, which lists the receptacles.
    past: each action since, and what it was answered.

  Returns:
    An action; None where the expert is out of ideas.
  """
  errand = understand(instruction)
  if errand is None:
    return None
  agent = _Agent(turn.observation)
  for action, answer in past:
    agent.watch(action, answer.observation)
  return next(agent.run(errand), None)


class _Agent(Memory):
  """Errands as coroutines over what is remembered."""

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
      yield from self._reach(self.place_of(lamp))
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
      if verb not in self.done[item]:
        yield from self._stand(appliance)
        yield from self._do(f'{verb} {item} with {appliance}')
    yield from self._put(item, self._any(errand.target))

  def _bring_two(self, errand):
    yield from self._find(errand.object)
    # One may be in its place already.
    places = [r for r in self.contents if kind_of(r) == errand.target]
    filled = [r for r in places if self.seen(errand.object, [r])]
    target = filled[0] if filled else None
    for _ in range(1 if target else 2):
      item = yield from self._fetch(errand.object, besides=target)
      if not item:
        return
      target = target or self._any(errand.target)
      yield from self._put(item, target)

  def _fetch(self, kind, besides=None):
    """Finds and takes an object that is not in `besides`; None: nowhere."""
    if self.held and kind_of(self.held) != kind:
      yield from self._drop(self.held)
    item = yield from self._find(kind, besides)
    if not item or item == self.held:
      return item
    place = self.place_of(item)
    yield from self._reach(place)
    take = f'take {item} from {place}'
    if (yield from self._do(take)) == NOTHING:
      held = yield from self._check_hand()
      if not held or kind_of(held) == kind:
        return held
      yield from self._drop(held)
      yield from self._reach(place)
      yield from self._do(take)
    return item

  def _check_hand(self):
    """An agent that starts in the middle may hold something already."""
    yield from self._do('inventory')
    return self.held

  def _drop(self, item):
    for place in sorted(self.receptacles, key=lambda r: r != self.at):
      if not _plausible(kind_of(item), kind_of(place)):
        continue
      if (yield from self._put(item, place)) != NOTHING:
        return

  def _find(self, kind, besides=None):
    """Looks around until an object of a kind is in sight; its name."""
    while not (self.held and kind_of(self.held) == kind):
      places = [r for r in self.contents if r != besides]
      seen = self.seen(kind, places)
      if seen:
        return seen[0]
      left = [r for r in self.receptacles if r not in self.contents]
      place = min(left, key=lambda r: self._effort(kind, r), default='')
      if not self.asked and not _plausible(kind, kind_of(place)):
        yield from self._check_hand()
      elif not left:
        return None
      else:
        yield from self._reach(place)
    return self.held

  def _effort(self, kind, receptacle):
    """Sorts receptacles to look into: likely and cheap ones first.

    Neighbours of a kind often share a location, where `go to` is no action;
    so another kind comes before the next of the same.
    """
    place = kind_of(receptacle)
    return (
      receptacle != self.at,  # it is closed
      not _plausible(kind, place),
      place in _openable(),
      place == kind_of(self.at),
    )

  def _reach(self, receptacle):
    """Stands before a receptacle and sees what is in it."""
    yield from self._stand(receptacle)
    if receptacle in self.closed:
      yield from self._do(f'open {receptacle}')
    self.contents.setdefault(receptacle, [])

  def _stand(self, receptacle):
    if self.at == receptacle:
      return
    if receptacle not in self.beside:
      yield from self._do(f'go to {receptacle}')
    if self.at != receptacle:  # another receptacle of this very place
      yield from self._do(f'examine {receptacle}')
      self.at = receptacle

  def _put(self, item, receptacle):
    if not receptacle:
      return NOTHING
    yield from self._reach(receptacle)
    return (yield from self._do(f'move {item} to {receptacle}'))

  def _do(self, action):
    observation = yield action
    self.watch(action, observation)
    return observation

  def _any(self, kind):
    """A receptacle of a kind: this one, one looked into, or the first."""
    return min(
      (r for r in self.receptacles if kind_of(r) == kind),
      key=lambda r: (r != self.at, r not in self.contents),
      default=None,
    )


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
