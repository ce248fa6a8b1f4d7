"""ALFWorld behind the environment interface."""

import copy
from collections.abc import Generator, Hashable, Sequence
from typing import Self

from early_experience.config import check_choice
from early_experience.envs.alfworld import expert, games, tables
from early_experience.envs.alfworld.engine import Engine
from early_experience.envs.alfworld.rules import Rules
from early_experience.envs.interface import Environment, Task, Turn
from early_experience.runtime.errors import UserError


class AlfWorld(Environment):
  """Household tasks in text: find, clean, heat, cool, light and place objects.

  Official game files are played where they are installed, else games that are
  generated from the tables in the alfworld wheel.
  """

  name = 'alfworld'
  splits = games.SPLITS
  licence = 'MIT'
  needs = ('alfworld',)
  install = 'pip install --no-deps alfworld==0.4.2'
  branching = 'clone'
  expert_probes = True  # is this receptacle where I stand already?
  expert_advises = True

  def __init__(
    self,
    *,
    source: str = 'auto',
    rooms: Sequence[str] = tables.ROOM_KINDS,
    task_types: Sequence[str] = tables.TASK_TYPES,
    max_receptacles: int = 0,
    distractors: int = 10,
    train_games: int = 3553,
    seen_games: int = 140,
    unseen_games: int = 134,
    expert: str = 'search',
  ):
    """Chooses the games.

    Args:
      source: `official` files under $ALFWORLD_DATA, `generated`, or `auto`:
        official where they are.
      rooms: kinds of room, of tables.ROOM_KINDS.
      task_types: of tables.TASK_TYPES; a room kind may allow only some.
      max_receptacles: generated games leave out larger rooms; 0 keeps all.
      distractors: objects of generated games that their task does not need.
      train_games: at most so many games in the split; the defaults are the
        sizes of the official splits.
      seen_games: likewise; training rooms, other placements.
      unseen_games: likewise; rooms that training never shows.
      expert: `search` looks for things as an agent must; `walkthrough` is the
        gold path of the game's file, which knows where all things are.

    Raises:
      UserError: an argument is none of its choices, or nothing can be played.
    """
    key = 'env.kwargs.'
    check_choice(f'{key}source', source, ('auto', 'official', 'generated'))
    check_choice(f'{key}expert', expert, ('search', 'walkthrough'))
    for kind in rooms:
      check_choice(f'{key}rooms', kind, tables.ROOM_KINDS)
    for kind in task_types:
      check_choice(f'{key}task_types', kind, tables.TASK_TYPES)
    counts = {'train': train_games, 'seen': seen_games, 'unseen': unseen_games}
    chosen = {'rooms': tuple(rooms), 'task_types': tuple(task_types)}
    if source == 'auto':
      found = (games.official_root() / 'train').is_dir()
      source = 'official' if found else 'generated'
    if source == 'official':
      self._games = games.Official(counts, **chosen)
    else:
      self._games = games.Generated(
        counts,
        **chosen,
        max_receptacles=max_receptacles,
        distractors=distractors,
      )
    self.source = self._games.source
    self._walks = expert == 'walkthrough'
    if self._walks:
      self.expert_name, self.expert_probes = expert, False
      self.expert_advises = False
    self._task = self._engine = None

  def tasks(self, split: str) -> Sequence[Task]:
    self.check_split(split)
    return self._games.tasks(split)

  def reset(self, task: Task) -> Turn:
    self._task = task
    problem, self.instruction = self._games.read(task)
    self._engine = Engine(Rules(problem, task.id))
    return Turn(self._engine.rules.opening())

  def step(self, action: str) -> Turn:
    observation, valid = self._engine.step(self.canonical(action))
    won = self._engine.won()
    return Turn(observation, won, won, float(won), valid)

  def admissible(self) -> tuple[str, ...]:
    # `help` lists the commands, at great length and the same in every state:
    # the field leaves it out of what an agent is offered.
    return tuple(a for a in self._engine.admissible() if a != 'help')

  def clone(self) -> Self:
    other = copy.copy(self)
    other._engine = self._engine.clone()
    return other

  def fingerprint(self) -> Hashable:
    return self._engine.fingerprint()

  def expert(self, turn: Turn) -> Generator[str, Turn, None]:
    if not self._walks:
      return expert.act(self.instruction, turn)
    return (action for action in self._walkthrough())

  def advise(
    self, opening: Turn, past: Sequence[tuple[str, Turn]]
  ) -> str | None:
    return expert.advise(self.instruction, opening, past)

  def _walkthrough(self):
    path = self._games.data(self._task).get('walkthrough')
    if not path:
      raise UserError(
        f'{self._task.id} has no walkthrough: config.env.name ='
        ' alfworld_official plans one'
      )
    return path
