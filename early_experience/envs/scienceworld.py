"""ScienceWorld: experiments of primary school, in its own simulator."""

import importlib.metadata
import random
from collections.abc import Generator, Hashable, Sequence

from early_experience.config import check_choice
from early_experience.envs.interface import Environment, Task, Turn
from early_experience.envs.jvm import Jvm
from early_experience.runtime.errors import UserError

UNSEEN_TYPES = 'unseen_types'

# The only answer that leaves the world as it was: nothing ran, no time passed.
_NOT_UNDERSTOOD = 'No known action matches that input.'
# What follows a question that was not answered by one of its numbers. Time
# passes.
_CANCELLED = 'Unknown action.'
_TEXTS = 100  # in an answer of the virtual machine; they are short
# The tasks that are about circuits cannot do without this one.
_NO_ELECTRICITY = 'noElectricalAction'
_SIMPLIFICATIONS = (
  'easy',
  'teleportAction',
  'openDoors',
  'openContainers',
  'selfWateringFlowerPots',
  _NO_ELECTRICITY,
)


class ScienceWorld(Environment):
  """Experiments of primary school in a house of ten rooms: 30 kinds of task.

  `test` is out of domain: its variations have other substances, organisms and
  places than those of `train`. With `unseen_types`, a split of that name has
  whole kinds of task that no other split shows.
  """

  name = 'scienceworld'
  splits = ('train', 'dev', 'test')
  licence = 'Apache-2.0'
  needs = ('scienceworld',)
  install = "pip install 'early_experience[scienceworld]'"
  branching = 'replay'
  expert_name = 'gold'

  def __init__(
    self,
    *,
    simplifications: Sequence[str] = ('easy',),
    task_types: Sequence[str] = (),
    unseen_types: Sequence[str] = (),
    max_admissible: int = 0,
    heap_mb: int = 1024,
  ):
    """Chooses the tasks.

    Args:
      simplifications: of `teleportAction`, `openDoors`, `openContainers`,
        `selfWateringFlowerPots` and `noElectricalAction`; or `easy`: those
        that the simulator thinks fit for a task.
      task_types: the simulator's names of kinds of task; () = all 30.
      unseen_types: those of them that only the split `unseen_types` has.
      max_admissible: list at most so many actions of a state, drawn uniformly
        from its hundreds or thousands; 0 = all.
      heap_mb: memory of the virtual machine that all environments of a process
        share, MiB.

    Raises:
      UserError: an argument is none of its choices, or there is no Java.
    """
    key = 'env.kwargs.'
    for name in simplifications:
      check_choice(f'{key}simplifications', name, _SIMPLIFICATIONS)
    for name, value in (
      ('max_admissible', max_admissible),
      ('heap_mb', heap_mb),
    ):
      if type(value) is not int or value < 0:
        raise UserError(f'config.{key}{name} is {value!r}, not 0 or more')
    self._simulator = _Simulator.shared(heap_mb)
    known = self._simulator.task_types
    for name in task_types:
      check_choice(f'{key}task_types', name, known)
    self._types = tuple(dict.fromkeys(task_types)) or known
    for name in unseen_types:
      check_choice(f'{key}unseen_types', name, self._types)
    self._unseen = tuple(unseen_types)
    if self._unseen:
      self.splits = (*ScienceWorld.splits, UNSEEN_TYPES)
    for name in self._types:
      if _NO_ELECTRICITY in simplifications and _is_electrical(name):
        raise UserError(
          f'config.{key}simplifications: nobody can do {name} without'
          f' electrical actions; leave it out of {key}task_types'
        )
    self._simplifications = ','.join(simplifications)
    self._max_admissible = max_admissible
    version = importlib.metadata.version('scienceworld')
    self.source = f'scienceworld {version} ({self._simplifications or "full"})'
    self._world, self._task, self._executed = None, None, ()

  def tasks(self, split: str) -> Sequence[Task]:
    """By turns of every kind, so that the first few show all kinds."""
    self.check_split(split)
    held_out = split == UNSEEN_TYPES
    by_turns = [
      (turn, kind, variation)
      for kind in self._types
      if (kind in self._unseen) == held_out
      for turn, variation in enumerate(
        self._simulator.variations(kind, 'test' if held_out else split)
      )
    ]
    return [
      Task(f'{kind}-{variation}', split, kind)
      for _, kind, variation in sorted(by_turns)
    ]

  def reset(self, task: Task) -> Turn:
    self._task = task
    if self._world is None:
      self._world = _World(self._simulator)
    self._world.load(*self._name(), self._simplifications)
    self.instruction = self._world.server.getTaskDescription()
    self._executed = ()
    return self._turn(self._world.step('look around'))

  def step(self, action: str) -> Turn:
    action = self.canonical(action)
    turn = self._turn(self._world.step(action))
    if turn.observation != _NOT_UNDERSTOOD:
      self._executed += (action,)
    return turn

  def admissible(self) -> tuple[str, ...]:
    """The simulator's list; its parser does not understand all of it."""
    listed = self._world.admissible()
    if not 0 < self._max_admissible < len(listed):
      return listed
    rng = random.Random(f'{self._task.id}/{len(self._executed)}')
    return tuple(sorted(rng.sample(listed, self._max_admissible)))

  def fingerprint(self) -> Hashable:
    """All that was executed, which is all that a world depends on."""
    return self._task.id, self._executed

  def expert(self, turn: Turn) -> Generator[str, Turn, None]:
    """The simulator's own solution of the task, found in seconds."""
    gold = self._world.gold(*self._name(), self._simplifications)
    self.reset(self._task)
    for action in gold:  # noqa: UP028 (a list takes no answers)
      yield action

  def close(self) -> None:
    """Leaves the virtual machine, which ends when all have left it."""
    self._world = self._simulator = None

  def _name(self):
    kind, variation = self._task.id.rsplit('-', 1)
    return kind, int(variation)

  def _turn(self, observation):
    # As the official wrapper: a task that has failed scores below 0 and ends.
    score, completed = self._world.score()
    return Turn(
      observation,
      done=completed or score < 0,
      success=score >= 1,
      score=max(0.0, score),
      valid=not observation.startswith((_NOT_UNDERSTOOD, _CANCELLED)),
    )


class _World:
  """One episode's world. Several may take turns in a virtual machine."""

  def __init__(self, simulator):
    self._simulator = simulator
    self.server = (
      simulator.view.scienceworld.runtime.pythonapi.PythonInterface()
    )
    self.statics = None  # while another world has the machine

  def load(self, kind, variation, simplifications, gold=False):
    self._simulator.enter(self)
    error = self.server.load(kind, variation, simplifications, gold)
    if error:
      raise RuntimeError(error)

  def gold(self, kind, variation, simplifications):
    self._simulator.forget_paths()
    self.load(kind, variation, simplifications, gold=True)
    return list(self.server.getGoldActionSequence())

  def step(self, action):
    self._simulator.enter(self)
    return self.server.step(action)

  def score(self):
    return self.server.getScore(), self.server.getCompleted()

  def admissible(self):
    self._simulator.enter(self)
    # It throws dice to find names, and the world's next events must not depend
    # on whether somebody looked.
    statics = self._simulator.read()
    listed = self._simulator.texts(
      self.server.getValidActionObjectCombinations()
    )
    self._simulator.write(statics)
    return listed


class _Simulator(Jvm):
  """The simulator, and the state that its worlds have in common.

  Attributes:
    task_types: names of the kinds of task.
  """

  def __init__(self, heap_mb):
    from scienceworld.constants import JAR_PATH

    super().__init__(JAR_PATH, heap_mb)
    packages = self.view
    self._ids = packages.util.UniqueIdentifier
    self._simplifier = (
      packages.main.scala.scienceworld.runtime.SimplifierProcessor
    )
    self._paths = _singleton(packages.scienceworld.goldagent, 'PathFinder')
    self._dice = _singleton(packages.scala.util, 'Random').self()
    self._seed = packages.java.lang.Class.forName(
      'java.util.Random'
    ).getDeclaredField('seed')
    self._seed.setAccessible(True)
    self._catalogue = packages.scienceworld.runtime.pythonapi.PythonInterface()
    self.task_types = tuple(self._catalogue.getTaskNames())

  def variations(self, kind, split):
    """The official variations of a kind of task in a split."""
    getattr(self._catalogue, 'taskStr_$eq')(kind)
    return list(getattr(self._catalogue, f'getVariations{split.title()}')())

  def texts(self, java_list):
    """The texts of one of its lists, many in each answer.

    To ask for one after the other takes longer than the simulator takes to
    find them, and TCP holds back for 40 ms what is over 8 KiB of an answer.
    """
    size, join = len(java_list), self.view.java.lang.String.join
    return tuple(
      text
      for start in range(0, size, _TEXTS)
      for text in join(
        '\n', java_list.subList(start, min(start + _TEXTS, size))
      ).split('\n')
    )

  def enter(self, world):
    """Gives a world the shared state as it left it."""
    if world is self.holder:
      return
    if self.holder is not None:
      self.holder.statics = self.read()
    if world.statics is not None:
      self.write(world.statics)
    self.holder = world

  def read(self):
    return (
      self._seed.get(self._dice),
      self._ids.count(),
      self._simplifier.getSimplificationsUsed(),
    )

  def write(self, statics):
    seed, count, simplifications = statics
    # setSeed scrambles what it is given; this undoes it beforehand.
    self._dice.setSeed(seed ^ 0x5DEECE66D)
    getattr(self._ids, 'count_$eq')(count)
    if simplifications != self._simplifier.getSimplificationsUsed():
      self._simplifier.parseSimplificationStr(simplifications.replace(' ', ''))

  def forget_paths(self):
    """Solutions would depend on the tasks that were solved before."""
    self._paths.precomputedExhaustivePaths().clear()


def _singleton(package, name):
  return getattr(getattr(package, f'{name}$'), 'MODULE$')


def _is_electrical(kind):
  return 'power-component' in kind or 'conductivity' in kind
