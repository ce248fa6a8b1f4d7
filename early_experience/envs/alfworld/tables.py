"""What the alfworld wheel knows of rooms, objects and goals.

The wheel ships ALFWorld's PDDL domain, its grammar, the receptacles of 120
iTHOR rooms and the tables of what fits where. They are read as files, without
importing the package: that would ask for its dependencies and make a folder
in the user's home.
"""

import dataclasses
import functools
import importlib.util
import json
import pathlib
import types

from early_experience.runtime.errors import UserError

VERSION = '0.4.2'
TASK_TYPES = (
  'pick_and_place_simple',
  'look_at_obj_in_light',
  'pick_clean_then_place_in_recep',
  'pick_heat_then_place_in_recep',
  'pick_cool_then_place_in_recep',
  'pick_two_obj_and_place',
)
ROOM_KINDS = ('kitchen', 'livingroom', 'bedroom', 'bathroom')
LAMPS = ('DeskLamp', 'FloorLamp')
# What stands in a room by its object list but has no viewing point in its
# layout, and how many of it a room gets.
_WITHOUT_VIEWPOINT = {
  'CoffeeMachine': 1,
  'GarbageCan': 1,
  'HandTowelHolder': 1,
  'LaundryHamper': 1,
  'StoveBurner': 4,
  'Toaster': 1,
  'Toilet': 1,
  'ToiletPaperHanger': 1,
  'TowelHolder': 1,
}
_BASINS = {'Sink': 'SinkBasin', 'Bathtub': 'BathtubBasin'}


@dataclasses.dataclass(frozen=True)
class Receptacle:
  """A place that holds objects.

  Attributes:
    id: as iTHOR names it, with its coordinates.
    type: e.g. `Cabinet`.
    location: where an agent stands to reach it; several may share one.
  """

  id: str
  type: str
  location: str


@dataclasses.dataclass(frozen=True)
class Room:
  """One iTHOR room.

  Attributes:
    number: of its floor plan.
    kind: one of ROOM_KINDS.
    receptacles: sorted by id.
    objects: types of portable objects that belong there and fit somewhere.
    lamps: types of lamps that belong there.
  """

  number: int
  kind: str
  receptacles: tuple[Receptacle, ...]
  objects: tuple[str, ...]
  lamps: tuple[str, ...]

  def places(self, kind: str) -> tuple[Receptacle, ...]:
    """The receptacles that may hold an object of a type."""
    holds = load().holds
    return tuple(
      r for r in self.receptacles if kind in holds.get(r.type, frozenset())
    )


@dataclasses.dataclass(frozen=True)
class Tables:
  """ALFWorld's rules as its wheel states them.

  Attributes:
    folder: of the wheel's package.
    domain: PDDL of all actions.
    grammar: the official engine's templates and feedback.
    goals: task type -> PDDL of the goal.
    sentences: task type -> templates of the instruction.
    valid_rooms: task type -> kinds of room that it is meant for.
    holds: receptacle type -> object types that it may hold.
    affordances: `cleanable` and so on -> object types.
    portable, movable_receptacles, receptacles, openable: object types.
    training_rooms, test_rooms: numbers of floor plans.
  """

  folder: pathlib.Path
  domain: str
  grammar: str
  goals: dict[str, str]
  sentences: dict[str, tuple[str, ...]]
  valid_rooms: dict[str, frozenset[str]]
  holds: dict[str, frozenset[str]]
  affordances: dict[str, frozenset[str]]
  portable: frozenset[str]
  movable_receptacles: frozenset[str]
  receptacles: frozenset[str]
  openable: frozenset[str]
  training_rooms: tuple[int, ...]
  test_rooms: tuple[int, ...]


@functools.cache
def load() -> Tables:
  """Reads the tables of the installed wheel.

  Raises:
    UserError: the wheel is not installed; the message has the pip command.
  """
  spec = importlib.util.find_spec('alfworld')
  if spec is None or not spec.submodule_search_locations:
    raise UserError(
      'the tables of ALFWorld are not installed; run: pip install --no-deps'
      f' alfworld=={VERSION}'
    )
  folder = pathlib.Path(spec.submodule_search_locations[0])
  constants = _module(folder / 'gen' / 'constants.py')
  library = _module(folder / 'gen' / 'goal_library.py').gdict
  receptacles = frozenset(constants.RECEPTACLES)
  movable = frozenset(constants.MOVABLE_RECEPTACLES)
  return Tables(
    folder=folder,
    domain=(folder / 'data' / 'alfred.pddl').read_text(encoding='utf-8'),
    grammar=(folder / 'data' / 'alfred.twl2').read_text(encoding='utf-8'),
    goals={t: library[t]['pddl'] for t in TASK_TYPES},
    sentences={t: tuple(library[t]['templates']) for t in TASK_TYPES},
    valid_rooms={
      t: frozenset(kind.lower() for kind in constants.GOALS_VALID[t])
      for t in TASK_TYPES
    },
    holds={
      k: frozenset(v) for k, v in constants.VAL_RECEPTACLE_OBJECTS.items()
    },
    affordances={
      k.lower(): frozenset(v) for k, v in constants.VAL_ACTION_OBJECTS.items()
    },
    portable=frozenset(constants.OBJECTS) - receptacles | movable,
    movable_receptacles=movable,
    receptacles=receptacles - movable,
    openable=frozenset(constants.OPENABLE_CLASS_LIST),
    training_rooms=tuple(sorted(constants.TRAIN_SCENE_NUMBERS)),
    test_rooms=tuple(sorted(constants.TEST_SCENE_NUMBERS)),
  )


@functools.cache
def room(number: int) -> Room:
  """The room of a floor plan, e.g. 7 (a kitchen) or 401 (a bathroom)."""
  tables = load()
  layouts = tables.folder / 'gen' / 'layouts'
  views = json.loads(
    (layouts / f'FloorPlan{number}-openable.json').read_text(encoding='utf-8')
  )
  present = set(
    json.loads(
      (layouts / f'FloorPlan{number}-objects.json').read_text(encoding='utf-8')
    )
  )
  receptacles = []
  for thor_id, (x, z, rotation, horizon) in views.items():
    kind = thor_id.split('|')[0]
    kind = _BASINS.get(kind, kind)
    if kind in tables.receptacles:
      location = (
        f'loc|{round(x * 4)}|{round(z * 4)}|{round(rotation / 90) % 4}'
        f'|{round(horizon)}'
      )
      receptacles.append(Receptacle(thor_id, kind, location))
  found = {r.type for r in receptacles}
  for kind, count in _WITHOUT_VIEWPOINT.items():
    if kind in present and kind not in found:
      for i in range(count):
        location = f'loc|{100 + len(receptacles)}|0|0|30'
        thor_id = f'{kind}|+{25 + len(receptacles)}.00|+00.50|+0{i}.00'
        receptacles.append(Receptacle(thor_id, kind, location))
  receptacles.sort(key=lambda r: r.id)
  fits = frozenset().union(
    *(tables.holds.get(r.type, frozenset()) for r in receptacles)
  )
  return Room(
    number=number,
    kind=ROOM_KINDS[max(0, number // 100 - 1)],
    receptacles=tuple(receptacles),
    objects=tuple(sorted(present & tables.portable & fits)),
    lamps=tuple(lamp for lamp in LAMPS if lamp in present),
  )


def _module(path: pathlib.Path) -> types.ModuleType:
  """Runs one of the wheel's tables without importing its package."""
  if not path.is_file():
    raise UserError(
      f'{path} is missing: another version of alfworld? run: pip install'
      f' --no-deps alfworld=={VERSION}'
    )
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module
