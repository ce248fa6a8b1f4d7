"""Generates solvable ALFWorld games: real rooms and rules, sampled placements.

The official games take the placement of objects from the AI2-THOR simulator.
Here it is sampled: every object goes to a receptacle of the room that may hold
it by ALFWorld's own table. A game is a pure function of its task id.
"""

import dataclasses
import functools
import json
import pathlib
import random
import re

from early_experience.envs.alfworld import tables
from early_experience.runtime import files
from early_experience.runtime.errors import UserError

SPLITS = ('train', 'seen', 'unseen')
_FIRST_SEED = {'train': 0, 'seen': 1_000_000, 'unseen': 2_000_000}
_AGENT = 'loc|-99|-99|0|30'  # away from all receptacles
_SURFACES = ('Desk', 'SideTable', 'Dresser', 'CoffeeTable', 'DiningTable')
# The state changes of a task, and the receptacle that makes them: an object
# that ends there would be an odd errand, and the official games have none.
_CHANGES = {
  'pick_clean_then_place_in_recep': ('cleanable', 'SinkBasin'),
  'pick_heat_then_place_in_recep': ('heatable', 'Microwave'),
  'pick_cool_then_place_in_recep': ('coolable', 'Fridge'),
}
_TYPES_IN_DOMAIN = {
  'otype': {'Knife', 'ButterKnife'},
  'rtype': {'SinkBasin', 'Microwave', 'Fridge'},
}
_MARKS = (
  ('-', '_minus_'),
  ('#', '-'),
  ('|', '_bar_'),
  ('+', '_plus_'),
  ('.', '_dot_'),
)
_ID = re.compile(
  r'(?P<task_type>[a-z_]+)-(?P<object>\w+)-(?P<target>\w+)'
  r'-room(?P<room>\d+)-others(?P<distractors>\d+)-seed(?P<seed>\d+)'
)


@dataclasses.dataclass(frozen=True)
class Spec:
  """What a game is made from.

  Attributes:
    task_type: one of tables.TASK_TYPES.
    object: type of the object to handle.
    target: type of the receptacle it goes to, or of the lamp.
    room: number of the floor plan.
    distractors: objects that the task does not need, where the room has room.
    seed: of the placement.
  """

  task_type: str
  object: str
  target: str
  room: int
  distractors: int
  seed: int

  @property
  def id(self) -> str:
    return (
      f'{self.task_type}-{self.object}-{self.target}-room{self.room}'
      f'-others{self.distractors}-seed{self.seed}'
    )

  @classmethod
  def from_id(cls, task_id: str) -> 'Spec':
    """The inverse of `id`.

    Raises:
      UserError: the id does not name a game that can be generated.
    """
    match = _ID.fullmatch(task_id)
    if match:
      values = match.groupdict()
      for key in ('room', 'distractors', 'seed'):
        values[key] = int(values[key])
      spec = cls(**values)
      known = tables.load()
      if spec.room in known.training_rooms + known.test_rooms and (
        spec.target in goals(spec.task_type, spec.room).get(spec.object, ())
      ):
        return spec
    raise UserError(f'{task_id!r} is not the id of a generated ALFWorld game')


@dataclasses.dataclass(frozen=True)
class Game:
  """A game as the official engine reads it.

  Attributes:
    problem: text of the PDDL problem.
    instruction: the goal as a sentence.
    trajectory: what an official `traj_data.json` says of the task.
  """

  problem: str
  instruction: str
  trajectory: dict


@functools.cache
def goals(task_type: str, room: int) -> dict[str, tuple[str, ...]]:
  """Object types that a task can be about in a room, with their targets."""
  known, place = tables.load(), tables.room(room)
  if place.kind not in known.valid_rooms.get(task_type, ()):
    return {}
  if task_type == 'look_at_obj_in_light':
    return {kind: place.lamps for kind in place.objects if place.lamps}
  present = {r.type for r in place.receptacles}
  affordance, appliance = _CHANGES.get(task_type, (None, None))
  if appliance and appliance not in present:
    return {}
  found = {}
  for kind in place.objects:
    if affordance and kind not in known.affordances[affordance]:
      continue
    fits = sorted({r.type for r in place.places(kind)} - {appliance})
    # The object has to start somewhere else than where it should end.
    if len(fits) > 1:
      found[kind] = tuple(fits)
  return found


def specs(
  split: str,
  count: int,
  *,
  rooms: tuple[str, ...],
  task_types: tuple[str, ...],
  max_receptacles: int,
  distractors: int,
) -> list[Spec]:
  """The games of a split; a longer list starts with the shorter one.

  Args:
    split: `train` and `seen` share the training rooms; `unseen` has the
      field's test rooms, 1 to 6 of each kind.
    count: how many.
    rooms: kinds of room, of tables.ROOM_KINDS.
    task_types: of tables.TASK_TYPES, in turn; those that no room allows are
      left out.
    max_receptacles: leaves out larger rooms; 0 keeps all.
    distractors: as in Spec.

  Raises:
    UserError: no room allows any of the task types.
  """
  known = tables.load()
  numbers = known.test_rooms if split == 'unseen' else known.training_rooms
  numbers = [
    n
    for n in numbers
    if tables.room(n).kind in rooms
    and len(tables.room(n).receptacles) <= (max_receptacles or 10**9)
  ]
  possible = {t: [n for n in numbers if goals(t, n)] for t in task_types}
  possible = {t: numbers for t, numbers in possible.items() if numbers}
  if not possible:
    raise UserError(
      f'no ALFWorld games for split {split!r} with rooms={rooms},'
      f' task_types={task_types}, max_receptacles={max_receptacles}'
    )
  chosen = []
  for i in range(count):
    task_type = list(possible)[i % len(possible)]
    rng = random.Random(f'{split}/{i}')
    number = rng.choice(possible[task_type])
    choices = goals(task_type, number)
    kind = rng.choice(list(choices))
    target = rng.choice(choices[kind])
    seed = _FIRST_SEED[split] + i
    chosen.append(Spec(task_type, kind, target, number, distractors, seed))
  return chosen


def build(spec: Spec) -> Game:
  """Makes the game of a spec; the same in every process."""
  known, room = tables.load(), tables.room(spec.room)
  rng = random.Random(spec.id)
  placed = _placements(spec, room, rng)
  goal = {'obj': spec.object, 'recep': spec.target, 'toggle': spec.target}
  sentence = rng.choice(known.sentences[spec.task_type])
  instruction = sentence.format(**{k: v.lower() for k, v in goal.items()})
  problem = _problem(room, placed, spec)
  problem += known.goals[spec.task_type].format(**goal)
  for mark, word in _MARKS:
    problem = problem.replace(mark, word)
  lamp = spec.task_type == 'look_at_obj_in_light'
  return Game(
    problem,
    f'{instruction}.',
    {
      'task_id': spec.id,
      'task_type': spec.task_type,
      'scene': {'scene_num': spec.room},
      'pddl_params': {
        'object_target': spec.object,
        'parent_target': '' if lamp else spec.target,
        'toggle_target': spec.target if lamp else '',
        'mrecep_target': '',
        'object_sliced': False,
      },
      'turk_annotations': {'anns': [{'task_desc': f'{instruction}.'}]},
    },
  )


def data(game: Game) -> dict:
  """What the official engine reads of a game: its `game.tw-pddl`."""
  known = tables.load()
  return {
    'pddl_domain': known.domain,
    'grammar': known.grammar.replace('UNKNOWN GOAL.', game.instruction),
    'pddl_problem': game.problem,
    'solvable': True,
    'walkthrough': None,
  }


def write(folder: str | pathlib.Path, game: Game) -> pathlib.Path:
  """Writes a game for the official engine; returns its `game.tw-pddl`."""
  folder = pathlib.Path(folder)
  files.write_json(folder / 'traj_data.json', game.trajectory)
  files.write_atomic(folder / 'game.tw-pddl', json.dumps(data(game)))
  return folder / 'game.tw-pddl'


def _placements(spec, room, rng):
  """(object type, its id, its receptacle) for all objects of a game."""
  two = spec.task_type == 'pick_two_obj_and_place'
  placed = []

  def place(kind, choices):
    position = '|'.join(f'{rng.uniform(-9, 9):+06.2f}' for _ in range(3))
    placed.append((kind, f'{kind}|{position}', rng.choice(choices)))

  places = room.places(spec.object)
  elsewhere = [r for r in places if r.type != spec.target]
  for i in range(rng.randint(2, 3) if two else rng.randint(1, 3)):
    # At most one of two is where it should be, and none of one.
    may_be_there = i == 0 if two else spec.task_type != 'pick_and_place_simple'
    place(spec.object, places if may_be_there else elsewhere)
  others = [k for k in room.objects if k != spec.object] * 2
  for kind in rng.sample(others, min(spec.distractors, len(others))):
    place(kind, room.places(kind))
  surfaces = [r for r in room.receptacles if r.type in _SURFACES]
  for lamp in room.lamps:
    place(lamp, surfaces or room.receptacles)
  return placed


def _problem(room, placed, spec):
  """The PDDL problem up to its goal, in iTHOR's ids."""
  known = tables.load()
  kinds = {
    'otype': {kind for kind, *_ in placed} | _TYPES_IN_DOMAIN['otype'],
    'rtype': {r.type for r in room.receptacles} | _TYPES_IN_DOMAIN['rtype'],
  }
  lines = ['(define (problem plan_trial)', '(:domain alfred)', '(:objects']
  lines.append('agent1 # agent')
  for group, names in kinds.items():
    lines += [f'{name}Type # {group}' for name in sorted(names)]
  lines += [f'{identity} # object' for _, identity, _ in placed]
  lines += [f'{r.id} # receptacle' for r in room.receptacles]
  locations = {r.location for r in room.receptacles} | {_AGENT}
  lines += [f'{location} # location' for location in sorted(locations)]
  lines += [')', '(:init']
  for r in room.receptacles:
    lines.append(f'(receptacleType {r.id} {r.type}Type)')
    lines.append(f'(receptacleAtLocation {r.id} {r.location})')
    if r.type in known.openable:
      lines.append(f'(openable {r.id})')
  for receptacle in sorted(kinds['rtype']):
    for kind in sorted(kinds['otype'] & known.holds.get(receptacle, set())):
      lines.append(f'(canContain {receptacle}Type {kind}Type)')
  for kind, identity, r in placed:
    lines.append(f'(objectType {identity} {kind}Type)')
    lines.append(f'(inReceptacle {identity} {r.id})')
    lines.append(f'(objectAtLocation {identity} {r.location})')
    if kind in known.movable_receptacles:
      lines.append(f'(isReceptacleObject {identity})')
    if kind not in tables.LAMPS:
      lines.append(f'(pickupable {identity})')
    for affordance, members in sorted(known.affordances.items()):
      if kind in members:
        lines.append(f'({affordance} {identity})')
  return '\n'.join([*lines, f'(atLocation agent1 {_AGENT})', ')'])
