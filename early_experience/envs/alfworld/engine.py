"""Plays a PDDL game by ALFWorld's rules, in the wording of its version 0.4.2.

The rules are those of the domain and the grammar in the alfworld wheel; the
official engine is the oracle that `lockstep` compares this one with. A state
is an immutable value, so that a clone is a copy of references.
"""

import re
from typing import NamedTuple, Self

from early_experience.envs.alfworld import pddl
from early_experience.errors import UserError

NOTHING = 'Nothing happens.'
_NAME_MARKS = re.compile(r'_bar_.*')
_APPLIANCES = (
  # verb, what the object must be, type of the receptacle that does it
  ('clean', 'cleanable', 'sinkbasintype'),
  ('heat', 'heatable', 'microwavetype'),
  ('cool', 'coolable', 'fridgetype'),
)
_KNIVES = ('knifetype', 'butterknifetype')
_FLUENTS = frozenset(
  {
    'atlocation',
    'objectatlocation',
    'opened',
    'inreceptacle',
    'holds',
    'holdsany',
    'isclean',
    'ishot',
    'iscool',
    'istoggled',
    'issliced',
  }
)
_HELP = """Available commands:
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
    self.names = _names(facts)
    try:
      self._location = dict(facts['receptacleatlocation'])
      self._receptacle_type = dict(facts['receptacletype'])
      self._object_type = dict(facts['objecttype'])
      start = facts['atlocation'][0][1]
    except (KeyError, IndexError, ValueError) as error:
      raise UserError(f'{where}: not an ALFWorld problem: {error}') from None
    self._receptacles = sorted(self._location)
    self._can_contain = set(facts.get('cancontain', ()))
    for name in (
      'openable pickupable toggleable cleanable heatable coolable sliceable'
      ' isreceptacleobject'
    ).split():
      setattr(self, f'_{name}', self._unary(name))
    self._here = {start: ()}
    for receptacle in self._receptacles:
      location = self._location[receptacle]
      self._here[location] = (*self._here.get(location, ()), receptacle)
    self._always = {
      location: self._always_possible(location) for location in self._here
    }
    self._goal = pddl.ground(parsed, _FLUENTS, where)
    self.start = self._start(start)

  def _unary(self, predicate):
    return frozenset(a[0] for a in self._facts.get(predicate, ()))

  def _start(self, location):
    inside = {}
    for item, receptacle in sorted(self._facts.get('inreceptacle', ())):
      inside[receptacle] = (*inside.get(receptacle, ()), item)
    held = self._facts.get('holds')
    return State(
      location=location,
      held=held[0][1] if held else None,
      inside=inside,
      opened=self._unary('opened'),
      at=frozenset(self._facts.get('objectatlocation', ())),
      taken=frozenset(),
      marks={
        mark: self._unary(mark)
        for mark in ('isclean', 'ishot', 'iscool', 'istoggled', 'issliced')
      },
    )

  def _always_possible(self, location):
    actions = {w: (w,) for w in ('look', 'inventory', 'help')}
    for receptacle in self._receptacles:
      # A move to where the agent stands changes nothing: no such operator.
      if self._location[receptacle] != location:
        actions[f'go to {self.names[receptacle]}'] = ('go', receptacle)
    for receptacle in self._here[location]:
      actions[f'examine {self.names[receptacle]}'] = ('see', receptacle)
    return actions

  def actions(self, state: State) -> dict[str, tuple[str, ...]]:
    """Every possible command, with the verb and the ids that it stands for."""
    names, held = self.names, state.held
    actions = self._always[state.location].copy()
    for receptacle in self._here[state.location]:
      name = names[receptacle]
      reachable = True
      if receptacle in self._openable:
        reachable = receptacle in state.opened
        verb = 'close' if reachable else 'open'
        actions[f'{verb} {name}'] = (verb, receptacle)
      for item in state.inside.get(receptacle, ()):
        if not held and reachable and item in self._pickupable:
          command = f'take {names[item]} from {name}'
          actions[command] = ('take', item, receptacle)
        if item in self._toggleable:
          actions[f'use {names[item]}'] = ('use', item)
      if held:
        kind = self._receptacle_type[receptacle]
        if reachable and (kind, self._object_type[held]) in self._can_contain:
          command = f'move {names[held]} to {name}'
          actions[command] = ('move', held, receptacle)
        for verb, needs, appliance in _APPLIANCES:
          if kind == appliance and held in getattr(self, f'_{needs}'):
            command = f'{verb} {names[held]} with {name}'
            actions[command] = (verb, held, receptacle)
    if held:
      # The domain means objects in reach too, but a comma in the typed list
      # of that precondition makes a type without objects: see docs/LOG.md.
      actions[f'examine {names[held]}'] = ('examine', held)
      if self._object_type[held] in _KNIVES:
        for item, location in state.at:
          if location == state.location and item in self._sliceable:
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
      case 'clean':
        state = _marked(state, ids[0], 'isclean')
        return state, f'You clean the {names[0]} using the {names[1]}.'
      case 'heat':
        state = _marked(state, ids[0], 'ishot', removes='iscool')
        return state, f'You heat the {names[0]} using the {names[1]}.'
      case 'cool':
        state = _marked(state, ids[0], 'iscool', removes='ishot')
        return state, f'You cool the {names[0]} using the {names[1]}.'
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
        return state, self.look(state)
    return state, _HELP

  def look(self, state: State) -> str:
    """What `look` answers; also the first observation of a game."""
    here = self._here[state.location]
    if not here:
      around = _listed(f'a {self.names[r]}' for r in self._receptacles)
      return (
        'You are in the middle of a room. Looking quickly around you, you'
        f' see {around}.'
      )
    # "On the floor" the grammar finds what was taken from one receptacle of
    # this place and put into another.
    floor = _listed(
      f'a {self.names[item]}'
      for item, receptacle in sorted(state.taken)
      if receptacle in here and (item, state.location) in state.at
    )
    facing = _listed(self.names[r] for r in here)
    return f'You are facing the {facing}. Next to it, you see {floor}.'

  def won(self, state: State) -> bool:
    """Whether the goal holds."""
    return pddl.satisfied(self._goal, lambda atom: _true(state, atom))

  def _seen(self, state, receptacle):
    name = self.names[receptacle]
    contents = _listed(
      f'a {self.names[item]}' for item in state.inside.get(receptacle, ())
    )
    if receptacle not in self._openable:
      return f'On the {name}, you see {contents}.'
    if receptacle not in state.opened:
      return f'The {name} is closed.'
    return f'The {name} is open. In it, you see {contents}.'

  def _examined(self, state, item):
    name = self.names[item]
    if item in self._isreceptacleobject:
      nested = self._facts.get('inreceptacleobject', ())
      contents = _listed(
        f'a {self.names[inner]}' for inner, outer in nested if outer == item
      )
      return f'This is a normal {name}. In it, you see {contents}.'
    clean, hot, cool, toggled, sliced = (
      item in state.marks[mark]
      for mark in ('isclean', 'ishot', 'iscool', 'istoggled', 'issliced')
    )
    # "cold" alone, "cool" with anything else: the grammar's own words.
    warmth = 'hot' if hot else 'cool' if cool else ''
    words = ' and '.join(filter(None, (warmth, 'clean' if clean else '')))
    if sliced and words:
      return f'This is a {words} sliced {name}.'
    if words:
      return f'This is a {"cold" if words == "cool" else words} {name}.'
    if toggled and item in self._toggleable:
      return f'This {name} is on.'
    if sliced:
      return f'This is a sliced {name}.'
    return f"There's nothing special about {name}."


class Engine:
  """A game being played.

  Attributes:
    rules: the game, shared by all clones.
    state: where it stands.
  """

  __slots__ = ('rules', 'state', '_actions')

  def __init__(self, rules: Rules, state: State | None = None):
    self.rules = rules
    self.state = rules.start if state is None else state
    self._actions = None

  def clone(self) -> Self:
    """An independent copy in the same state."""
    other = type(self)(self.rules, self.state)
    other._actions = self._actions
    return other

  def admissible(self) -> tuple[str, ...]:
    """All commands possible now, sorted."""
    return tuple(sorted(self._possible()))

  def step(self, command: str) -> tuple[str, bool]:
    """Executes a command; returns its text and whether it was possible."""
    action = self._possible().get(command)
    if action is None:
      return NOTHING, False
    state, text = self.rules.apply(self.state, action)
    if state is not self.state:
      self.state, self._actions = state, None
    return text, True

  def won(self) -> bool:
    return self.rules.won(self.state)

  def _possible(self):
    if self._actions is None:
      self._actions = self.rules.actions(self.state)
    return self._actions


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


def _names(facts):
  """Ids -> names such as `cabinet 2`: the highest number comes first."""
  ids = {i for atoms in facts.values() for atom in atoms for i in atom}
  names, counts = {}, {}
  for identity in sorted(ids, reverse=True):
    name = _NAME_MARKS.sub('', identity)
    if name != identity:
      if 'basin' in identity:
        name += 'basin'
      counts[name] = counts.get(name, 0) + 1
      names[identity] = f'{name} {counts[name]}'
    else:
      names[identity] = identity
  return names


def _listed(words):
  words = list(words)
  if not words:
    return 'nothing'
  if len(words) == 1:
    return words[0]
  return ', '.join(words[:-1]) + f', and {words[-1]}'
