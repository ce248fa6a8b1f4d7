"""Walks this engine and the official one side by side, comparing every step.

  python -m early_experience.envs.alfworld.lockstep --games=28 --steps=15

It needs the official engine: pip install "early_experience[alfworld]".
"""

import collections
import dataclasses
import itertools
import pathlib
import random
import re
import sys
import tempfile
from collections.abc import Iterator

from early_experience.envs.alfworld import expert, generate, tables
from early_experience.envs.alfworld.engine import Engine
from early_experience.envs.alfworld.official import official_engine
from early_experience.envs.alfworld.rules import Rules
from early_experience.envs.interface import Turn
from early_experience.runtime import commands

_LIST = re.compile(r'(you see|You are facing the) ([^.]*)\.')
_INTRO = '-= Welcome to TextWorld, ALFRED! =-\n\n{}\n\nYour task is to: {}'


@dataclasses.dataclass
class Result:
  """What a comparison counted.

  Attributes:
    games, steps: compared; the first observation of a game is a step too.
    same_order: steps whose observation is equal with its lists as they are.
    verbs: how often each was executed.
    kinds: (task type, room kind) of the games.
    wins: games that ended in success, on both sides.
    mismatches: one line each.
  """

  games: int = 0
  steps: int = 0
  same_order: int = 0
  verbs: collections.Counter = dataclasses.field(
    default_factory=collections.Counter
  )
  kinds: set = dataclasses.field(default_factory=set)
  wins: int = 0
  mismatches: list[str] = dataclasses.field(default_factory=list)


def compare(games: int, steps: int, seed: int = 0) -> Result:
  """Plays generated games on both engines.

  A walk follows the expert for a while, then goes `steps` steps at random,
  rare verbs first, then follows a fresh expert, so that it meets success too.

  Args:
    games: how many; task types and room kinds take turns.
    steps: random steps in each.
    seed: of games and walks.

  Raises:
    UserError: the official engine is not installed.
  """
  result = Result()
  with tempfile.TemporaryDirectory() as folder:
    official = official_engine()
    for spec in itertools.islice(_specs(seed), games):
      game = generate.build(spec)
      path = generate.write(pathlib.Path(folder) / spec.id, game)
      rng = random.Random(f'{seed}/{spec.id}')
      _walk(official, str(path), game, rng, steps, spec.id, result)
      result.games += 1
      result.kinds.add((spec.task_type, tables.room(spec.room).kind))
  return result


def _specs(seed) -> Iterator[generate.Spec]:
  """Games without end, all task types in all rooms that allow them in turn."""
  known = tables.load()
  pairs = [
    (task_type, kind)
    for task_type in tables.TASK_TYPES
    for kind in tables.ROOM_KINDS
    if kind in known.valid_rooms[task_type]
  ]
  for index in itertools.count():
    for task_type, kind in pairs:
      specs = generate.specs(
        generate.SPLITS[index % 3],
        400 * (index + seed + 1),
        rooms=(kind,),
        task_types=(task_type,),
        max_receptacles=0,
        distractors=20,
      )
      # With a knife at hand, the walk meets the slicing rule.
      knives = [s for s in specs if s.object == 'Knife']
      simple = task_type == 'pick_and_place_simple'
      yield (knives if simple and knives else specs)[-1]


def _walk(official, path, game, rng, steps, name, result):
  """Compares one game; stops at its first mismatch."""
  engine = Engine(Rules(game.problem, name))
  official.load(path)
  theirs = official.reset()
  first = engine.rules.opening()
  ours, won = _INTRO.format(first, game.instruction), engine.won()
  choices = _choices(engine, game, first, rng, steps, result)
  action = None
  while True:
    result.steps += 1
    result.same_order += ours == theirs.feedback
    pairs = {
      'observation': (_sorted(ours), _sorted(theirs.feedback)),
      'admissible': (engine.admissible(), _tuple(theirs)),
      'success': (won, bool(theirs['won'])),
    }
    wrong = {k: v for k, v in pairs.items() if v[0] != v[1]}
    for what, (mine, other) in wrong.items():
      result.mismatches.append(
        f'{name} after {action!r}: {what} is {mine!r}, officially {other!r}'
      )
    action = None if wrong or won else next(choices, None)
    if action is None:
      result.wins += won
      return
    ours, valid = engine.step(action)
    won = engine.won()
    theirs, _, _ = official.step(action)
    result.verbs[action.split()[0] if valid else '(not possible)'] += 1


def _choices(engine, game, first, rng, steps, result):
  yield from _expert(engine, game, first, rng.randrange(12))
  yield 'dance'
  yield from _neighbours(engine)
  yield from _knife(engine)
  for _ in range(steps):
    actions = engine.admissible()
    weights = [1 / (1 + result.verbs[a.split()[0]]) for a in actions]
    yield rng.choices(actions, weights)[0]
  yield from _expert(engine, game, first, 60)


def _neighbours(engine):
  """Moves an object to another receptacle of its place: `look` tells."""
  state, names = engine.state, engine.rules.names
  for here in engine.rules.places.values():
    for place in here[:-1]:
      for item in () if state.held else state.inside.get(place, ()):
        yield from _possible(
          engine,
          f'go to {names[place]}',
          f'open {names[place]}',
          f'open {names[here[-1]]}',
          f'take {names[item]} from {names[place]}',
          'look',
          f'move {names[item]} to {names[here[-1]]}',
          'look',
          f'take {names[item]} from {names[here[-1]]}',
          f'move {names[item]} to {names[place]}',
          'look',
        )
        return


def _knife(engine):
  """Takes a knife where there is one, slices something and picks it up."""
  state, names = engine.state, engine.rules.names
  if state.held:
    return
  for place, items in state.inside.items():
    for item in items:
      if 'knife' in names[item]:
        yield from _possible(
          engine,
          f'go to {names[place]}',
          f'open {names[place]}',
          f'take {names[item]} from {names[place]}',
        )
        yield from _slice(engine)
        return


def _slice(engine):
  for go in [a for a in engine.admissible() if a.startswith('go to')]:
    yield go
    for cut in [a for a in engine.admissible() if a.startswith('slice')][:1]:
      food = ' '.join(cut.split()[1:3])
      yield from _possible(
        engine,
        cut,
        *(a for a in engine.admissible() if a.startswith('move')),
        *(f'take {food} from {name}' for name in engine.rules.names.values()),
        f'examine {food}',
      )
      return


def _possible(engine, *actions):
  for action in actions:
    if action in engine.admissible():
      yield action


def _expert(engine, game, first, limit):
  """At most `limit` actions of an expert that starts from the first turn."""
  plan = expert.act(game.instruction, Turn(first))
  action = next(plan, None)
  for _ in range(limit):
    if action is None:
      return
    # The expert is asked on a copy, which then tells it what will happen.
    copy = engine.clone()
    observation, _ = copy.step(action)
    yield action
    try:
      action = plan.send(Turn(observation, done=copy.won()))
    except StopIteration:
      return


def _tuple(theirs):
  return tuple(theirs['admissible_commands'])


def _sorted(text):
  """An observation with its lists in order of name."""

  def ordered(match):
    items = sorted(re.split(r', and |, ', match[2]))
    return f'{match[1]} {", ".join(items)}.'

  return _LIST.sub(ordered, text)


@commands.one_line
def main(argv: list[str]) -> int:
  parser = commands.parser('envs.alfworld.lockstep', __doc__)
  parser.add_argument('--games', type=int, default=28)
  parser.add_argument('--steps', type=int, default=15, help='random, a game')
  parser.add_argument('--seed', type=int, default=0)
  arguments = parser.parse_args(argv)
  result = compare(arguments.games, arguments.steps, arguments.seed)
  for line in result.mismatches:
    print(line)
  verbs = ', '.join(f'{v} {n}' for v, n in sorted(result.verbs.items()))
  print(
    f'{result.games} games ({len({t for t, _ in result.kinds})} task types,'
    f' {len({k for _, k in result.kinds})} room kinds),'
    f' {result.steps} steps, {result.wins} games won,'
    f' {len(result.mismatches)} mismatches in observation, admissible'
    f' actions or success;\n'
    f'observations with lists in the same order: {result.same_order};'
    f' verbs: {verbs}'
  )
  return 1 if result.mismatches else 0


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
