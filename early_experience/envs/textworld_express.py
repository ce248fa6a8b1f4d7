"""TextWorld Express: eight small text games, generated from seeds."""

import importlib.metadata
import json
from collections.abc import Generator, Hashable, Mapping, Sequence

from early_experience.config import check_choice
from early_experience.envs.interface import Environment, Task, Turn
from early_experience.envs.jvm import Jvm
from early_experience.runtime.errors import UserError

GAMES = (
  'arithmetic',
  'coin',
  'cookingworld',
  'mapreader',
  'peckingorder',
  'simonsays',
  'sorting',
  'twc',
)
# Games of a size that a small model can play.
SMALL = {
  'coin': {'numLocations': 5, 'includeDoors': 0, 'limitInventorySize': 0},
  'cookingworld': {
    'numLocations': 3,
    'numIngredients': 2,
    'numDistractorItems': 5,
    'includeDoors': 0,
    'limitInventorySize': 0,
  },
  'mapreader': {'numLocations': 8, 'maxDistanceApart': 2},
  'twc': {'numLocations': 1, 'numItemsToPutAway': 2},
}
# The package's own sizes, all but this one.
LARGE = {'simonsays': {'gameLength': 10}}
# Those that come in one size.
_FIXED = ('arithmetic', 'peckingorder', 'sorting')

_FOLDS = {'train': 0, 'dev': 10000, 'test': 20000, 'large': 20000}
_SEEDS = 1000
# The gold agents that walk at random, with dice of their own; see `_gold`.
_WALKERS = {'coin': 'CoinGoldAgent', 'twc': 'TWCGoldAgent'}
_WALKS = 50  # that the package tries too before it gives up
_LOOK = 'look around'
# They tell of a game and change nothing in it, where they are listed.
_TELLING = (_LOOK, 'inventory')


class TextWorldExpress(Environment):
  """Cooking, tidying, finding, map reading, sorting and other small games.

  Two splits are out of domain: `test`, whose games of tidying (`twc`) and
  cooking are about objects that training never shows, and `large`, which has
  games of the test seeds with more rooms, objects and steps.
  """

  name = 'textworld_express'
  splits = ('train', 'dev', 'test', 'large')
  licence = 'Apache-2.0'
  needs = ('textworld_express',)
  install = "pip install 'early_experience[textworld-express]'"
  branching = 'replay'
  expert_name = 'gold'

  def __init__(
    self,
    *,
    games: Sequence[str] = GAMES,
    params: Mapping[str, Mapping[str, int]] | None = None,
    large_params: Mapping[str, Mapping[str, int]] | None = None,
    heap_mb: int = 512,
  ):
    """Chooses the games.

    Args:
      games: of `GAMES`.
      params: game -> the package's parameters of its size; `SMALL` for those
        that are not named.
      large_params: likewise in the split `large`; there the package's own
        sizes.
      heap_mb: memory of the virtual machine that all environments of a process
        share, MiB.

    Raises:
      UserError: there is no such game or parameter, a value is out of its
        range, or there is no Java.
    """
    key = 'env.kwargs.'
    for name in games:
      check_choice(f'{key}games', name, GAMES)
    if type(heap_mb) is not int or heap_mb < 1:
      raise UserError(f'config.{key}heap_mb is {heap_mb!r}, not 1 or more')
    self._games = tuple(dict.fromkeys(games))
    self._jvm = _machine(heap_mb)
    self._servers = {}
    for large, given in ((False, params), (True, large_params)):
      sizes = dict(LARGE if large else SMALL) | dict(given or {})
      where = f'config.{key}{"large_params" if large else "params"}'
      for name in sizes:
        check_choice(where.removeprefix('config.'), name, GAMES)
      for name in self._games:
        self._servers[name, large] = _load(
          self._jvm, name, dict(sizes.get(name, {})), where
        )
    version = importlib.metadata.version('textworld_express')
    self.source = f'textworld-express {version}'
    self._task, self._executed, self._admissible = None, (), ()
    self._me = object()

  def tasks(self, split: str) -> Sequence[Task]:
    """By turns of every game."""
    self.check_split(split)
    games = [
      game for game in self._games if split != 'large' or game not in _FIXED
    ]
    prefix = 'large-' if split == 'large' else ''
    return [
      Task(f'{prefix}{game}-{_FOLDS[split] + seed}', split, game)
      for seed in range(_SEEDS)
      for game in games
    ]

  def reset(self, task: Task) -> Turn:
    self._task, self._executed = task, ()
    self._jvm.holder = self._me
    answer = self._server().generateNewGameJSON(*self._seed(), False)
    self.instruction = self._server().getTaskDescription()
    return self._turn(json.loads(answer), valid=True)

  def step(self, action: str) -> Turn:
    if self._jvm.holder is not self._me and self._task.type == 'sorting':
      self._resume()
    action = self.canonical(action)
    valid = action in self._admissible
    if valid and action not in _TELLING:
      self._executed += (action,)
    # What is not listed goes unsaid, for with a control character at its end
    # the game would do what is listed. Its answer to '' is the same.
    said = action if valid else ''
    return self._turn(json.loads(self._server().stepJSON(said)), valid)

  def admissible(self) -> tuple[str, ...]:
    return self._admissible

  def fingerprint(self) -> Hashable:
    """All that changed the game, which is all that it depends on."""
    return self._task.id, self._executed

  def expert(self, turn: Turn) -> Generator[str, Turn, None]:
    """The game's own agent, less what it does in vain."""
    gold = self._gold()
    self.reset(self._task)  # the agent moved what sorting games share
    if gold[:1] == [_LOOK]:  # `reset` did
      gold = gold[1:]
    for action in gold:
      if action in self._admissible:
        yield action

  def close(self) -> None:
    """Leaves the virtual machine, which ends when all have left it."""
    self._servers, self._jvm = {}, None

  def _turn(self, answer, valid):
    # In sorted order: the games shuffle theirs, with dice that nothing else
    # depends on.
    self._admissible = tuple(sorted(answer['validActions']))
    score = min(max(float(answer['score']), 0.0), 1.0)
    success = answer['tasksuccess']
    return Turn(
      answer['observation'],
      done=success or answer['taskfailure'] or score == 1,
      success=success,
      score=score,
      valid=valid,
    )

  def _resume(self):
    """Takes the objects back that sorting games of a virtual machine share."""
    executed = self._executed
    self.reset(self._task)
    for action in executed:
      self.step(action)

  def _server(self):
    return self._servers[self._task.type, self._task.split == 'large']

  def _seed(self):
    fold = 'test' if self._task.split == 'large' else self._task.split
    return int(self._task.id.rsplit('-', 1)[1]), fold

  def _gold(self):
    generator = self._server().gameGenerator()
    agent = _WALKERS.get(self._task.type)
    if agent is None:
      return list(generator.mkGameWithGoldPath(*self._seed())._2())
    # The package gives them dice that no seed can set; these can be.
    packages = self._jvm.view
    for walk in range(_WALKS):
      game = generator.mkGame(*self._seed())
      walker = getattr(packages.textworldexpress.goldagent, agent)(game)
      found = walker.mkGoldPath(packages.scala.util.Random(walk))
      if found._1():
        return list(found._2())
    return []


def _machine(heap_mb):
  from textworld_express.constants import JAR_PATH

  return Jvm.shared(JAR_PATH, heap_mb)


def _load(machine, game, size, where):
  """A server of one game in one size."""
  for name, value in size.items():
    if type(value) is not int:
      raise UserError(f'{where}.{game}.{name} is {value!r}, not a number')
  server = machine.view.textworldexpress.runtime.PythonInterface()
  text = ','.join(f'{name}={value}' for name, value in size.items())
  if error := server.load(game, text):
    raise UserError(f'{where}.{game}: {" ".join(error.split())}')
  return server
