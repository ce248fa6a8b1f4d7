"""A PDDL game by ALFWorld's rules: what is possible, and what it does.

The rules are those of the domain and the grammar in the wheel of alfworld
0.4.2; the official engine is the oracle that `lockstep` compares this one
with. A state is an immutable value, so that a clone is a reference.
"""

import collections
from typing import NamedTuple

from early_experience.envs.alfworld import pddl, wording
from early_experience.runtime.errors import UserError

_APPLIANCES = (
  # verb, what the object must be, type of the receptacle that does it
  ('clean', 'cleanable', 'sinkbasintype'),
  ('heat', 'heatable', 'microwavetype'),
  ('cool', 'coolable', 'fridgetype'),
)
_CHANGES = {  # verb -> the mark that it makes and the one that it takes away
  'clean': ('isclean', None),
  'heat': ('ishot', 'iscool'),
  'cool': ('iscool', 'ishot'),
}
_KNIVES = ('knifetype', 'butterknifetype')
_MARKS = ('isclean', 'ishot', 'iscool', 'istoggled', 'issliced')
_FLUENTS = frozenset(_MARKS) | {
  'atlocation',
  'objectatlocation',
  'opened',
  'inreceptacle',
  'holds',
  'holdsany',
}


class State(NamedTuple):
  """All that actions change. Ids are those of the PDDL problem.

  Attributes:
    location: where the agent is.
    held: the object in its hand.
    inside: receptacle -> objects in it, sorted.
    opened: receptacles.
    at: (object, location) pairs.
    taken: (object, receptacle) pairs of objects that were taken out.
    marks: `isclean` and so on -> objects.
  """

  location: str
  held: str | None
  inside: dict[str, tuple[str, ...]]
  opened: frozenset[str]
  at: frozenset[tuple[str, str]]
  taken: frozenset[tuple[str, str]]
  marks: dict[str, frozenset[str]]


class Rules:
  """One game: what never changes in it, and what actions do."""

  def __init__(self, problem: str, where: str = 'game'):
    """Reads a game.

    Args:
      problem: text of the PDDL problem.
      where: names the game in errors.

    Raises:
      UserError: the text is not an ALFWorld problem.
    """
    parsed = pddl.parse(problem, where)
    self._facts = facts = parsed.facts
    self.names = wording.names(
      {i for atoms in facts.values() for atom in atoms for i in atom}
    )
    try:
      self._location = dict(facts['receptacleatlocation'])
      self._receptacle_type = dict(facts['receptacletype'])
      self._object_type = dict(facts['objecttype'])
      start = facts['atlocation'][0][1]
    except (KeyError, IndexError, ValueError) as error:
      raise UserError(f'{where}: not an ALFWorld problem: {error}') from None
    self._receptacles = sorted(self._location)
    self._can_contain = set(facts.get('cancontain', ()))
    self._that_are = collections.defaultdict(frozenset)
    for predicate, atoms in facts.items():
      self._that_are[predicate] = frozenset(atom[0] for atom in atoms)
    self.places = {start: ()}
    for receptacle in self._receptacles:
      location = self._location[receptacle]
      self.places[location] = (*self.places.get(location, ()), receptacle)
    self._always = {
      location: self._always_possible(location) for location in self.places
    }
    self._goal = pddl.ground(parsed, _FLUENTS, where)
    self.start = self._start(start)

  def _start(self, location):
    inside = {}
    for item, receptacle in sorted(self._facts.get('inreceptacle', ())):
      inside[receptacle] = (*inside.get(receptacle, ()), item)
    held = self._facts.get('holds')
    return State(
      location=location,
      held=held[0][1] if held else None,
      inside=inside,
      opened=self._that_are['opened'],
      at=frozenset(self._facts.get('objectatlocation', ())),
      taken=frozenset(),
      marks={mark: self._that_are[mark] for mark in _MARKS},
    )

  def _always_possible(self, location):
    actions = {w: (w,) for w in ('look', 'inventory', 'help')}
    for receptacle in self._receptacles:
      # A move to where the agent stands changes nothing: no such operator.
      if self._location[receptacle] != location:
        actions[f'go to {self.names[receptacle]}'] = ('go', receptacle)
    for receptacle in self.places[location]:
      actions[f'examine {self.names[receptacle]}'] = ('see', receptacle)
    return actions

  def actions(self, state: State) -> dict[str, tuple[str, ...]]:
    """Every possible command, with the verb and the ids that it stands for."""
    names, held, are = self.names, state.held, self._that_are
    actions = self._always[state.location].copy()
    for receptacle in self.places[state.location]:
      name = names[receptacle]
      reachable = True
      if receptacle in are['openable']:
        reachable = receptacle in state.opened
        verb = 'close' if reachable else 'open'
        actions[f'{verb} {name}'] = (verb, receptacle)
      for item in state.inside.get(receptacle, ()):
        if not held and reachable and item in are['pickupable']:
          command = f'take {names[item]} from {name}'
          actions[command] = ('take', item, receptacle)
        if item in are['toggleable']:
          actions[f'use {names[item]}'] = ('use', item)
      if held:
        kind = self._receptacle_type[receptacle]
        if reachable and (kind, self._object_type[held]) in self._can_contain:
          command = f'move {names[held]} to {name}'
          actions[command] = ('move', held, receptacle)
        for verb, needs, appliance in _APPLIANCES:
          if kind == appliance and held in are[needs]:
            command = f'{verb} {names[held]} with {name}'
            actions[command] = (verb, held, receptacle)
    if held:
      # The domain means objects in reach too, but a comma in the typed list
      # of that precondition makes a type without objects: see docs/LOG.md.
      actions[f'examine {names[held]}'] = ('examine', held)
      if self._object_type[held] in _KNIVES:
        for item, location in state.at:
          if location == state.location and item in are['sliceable']:
            command = f'slice {names[item]} with {names[held]}'
            actions[command] = ('slice', item, held)
    return actions

  def apply(self, state: State, action: tuple[str, ...]) -> tuple[State, str]:
    """Executes one of `actions(state)`; returns the new state and its text."""
    verb, *ids = action
    names = [self.names[i] for i in ids]
    match verb:
      case 'go':
        state = state._replace(location=self._location[ids[0]])
        return state, f'You arrive at {names[0]}. {self._seen(state, ids[0])}'
      case 'open':
        state = state._replace(opened=state.opened | {ids[0]})
        return state, f'You open the {names[0]}. {self._seen(state, ids[0])}'
      case 'close':
        state = state._replace(opened=state.opened - {ids[0]})
        return state, f'You close the {names[0]}.'
      case 'see':
        return state, self._seen(state, ids[0])
      case 'take':
        item, receptacle = ids
        rest = tuple(i for i in state.inside[receptacle] if i != item)
        state = state._replace(
          held=item,
          inside={**state.inside, receptacle: rest},
          at=state.at - {(item, state.location)},
          taken=state.taken | {(item, receptacle)},
        )
        return state, f'You pick up the {names[0]} from the {names[1]}.'
      case 'move':
        item, receptacle = ids
        items = sorted({*state.inside.get(receptacle, ()), item})
        state = state._replace(
          held=None,
          inside={**state.inside, receptacle: tuple(items)},
          at=state.at | {(item, state.location)},
          taken=state.taken - {(item, receptacle)},
        )
        return state, f'You move the {names[0]} to the {names[1]}.'
      case 'clean' | 'heat' | 'cool':
        state = _marked(state, ids[0], *_CHANGES[verb])
        return state, f'You {verb} the {names[0]} using the {names[1]}.'
      case 'use':
        # The effect marks the lamp as toggled for good, so that the grammar
        # never has it turned off.
        state = _marked(state, ids[0], 'istoggled')
        return state, f'You turn on the {names[0]}.'
      case 'slice':
        state = _marked(state, ids[0], 'issliced')
        return state, f'You sliced the {names[0]} with the {names[1]}.'
      case 'examine':
        return state, self._examined(state, ids[0])
      case 'inventory':
        if state.held:
          return state, f'You are carrying: a {self.names[state.held]}.'
        return state, 'You are not carrying anything.'
      case 'look':
        return state, self._look(state)
    return state, wording.HELP

  def opening(self) -> str:
    """The first observation."""
    if self.places[self.start.location]:
      return self._look(self.start)
    return wording.opening(self._named(self._receptacles))

  def _look(self, state):
    here = self.places[state.location]
    if not here:
      # Away from all receptacles the grammar looks for some at this very
      # location, and finds none; only the opening lists the room.
      return wording.opening(())
    # "Next to it" it finds what was taken from one receptacle of this place
    # and put into another.
    beside = [
      item
      for item, receptacle in sorted(state.taken)
      if receptacle in here and (item, state.location) in state.at
    ]
    return wording.facing(self._named(here), self._named(beside))

  def won(self, state: State) -> bool:
    """Whether the goal holds."""
    return pddl.satisfied(self._goal, lambda atom: _true(state, atom))

  def _seen(self, state, receptacle):
    return wording.contents(
      self.names[receptacle],
      receptacle in state.opened
      if receptacle in self._that_are['openable']
      else None,
      self._named(state.inside.get(receptacle, ())),
    )

  def _examined(self, state, item):
    if item in self._that_are['isreceptacleobject']:
      nested = self._facts.get('inreceptacleobject', ())
      inner = [i for i, outer in nested if outer == item]
      return wording.vessel(self.names[item], self._named(inner))
    marks = {mark for mark, items in state.marks.items() if item in items}
    return wording.thing(
      self.names[item],
      clean='isclean' in marks,
      hot='ishot' in marks,
      cool='iscool' in marks,
      sliced='issliced' in marks,
      lit='istoggled' in marks and item in self._that_are['toggleable'],
    )

  def _named(self, ids):
    return [self.names[i] for i in ids]


def _marked(state, item, mark, removes=None):
  marks = {**state.marks, mark: state.marks[mark] | {item}}
  if removes:
    marks[removes] = marks[removes] - {item}
  return state._replace(marks=marks)


def _true(state, atom):
  predicate, *ids = atom
  match predicate:
    case 'inreceptacle':
      return ids[0] in state.inside.get(ids[1], ())
    case 'holds':
      return state.held == ids[1]
    case 'holdsany':
      return state.held is not None
    case 'atlocation':
      return state.location == ids[1]
    case 'objectatlocation':
      return tuple(ids) in state.at
    case 'opened':
      return ids[0] in state.opened
  return ids[0] in state.marks[predicate]
