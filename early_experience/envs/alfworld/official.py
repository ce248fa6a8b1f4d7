"""ALFWorld by its official engine: slow, and what the fast one is held to."""

import os
import re
import tempfile
from collections.abc import Hashable

from early_experience.envs.alfworld.environment import AlfWorld
from early_experience.envs.interface import Task, Turn
from early_experience.runtime.errors import UserError, need_extra

_INTRO = re.compile(r'-= Welcome.*? =-\n\n(.*?)\n\nYour task is to: (.*)', re.S)


def official_engine(**infos):
  """A TextWorld environment that plays ALFWorld's games.

  Args:
    **infos: what else it tells of a state.

  Raises:
    UserError: it is not installed.
  """
  try:
    if 'ALFWORLD_DATA' in os.environ:
      from alfworld.agents.environment import alfred_tw_env
    else:
      # Importing it makes that folder, in the user's home where none is named.
      with tempfile.TemporaryDirectory() as folder:
        os.environ['ALFWORLD_DATA'] = folder
        try:
          from alfworld.agents.environment import alfred_tw_env
        finally:
          del os.environ['ALFWORLD_DATA']
    import textworld
    from textworld.envs import PddlEnv
  except ImportError as error:
    raise need_extra(error.name or 'textworld', 'alfworld') from error
  wanted = textworld.EnvInfos(admissible_commands=True, won=True, **infos)
  return alfred_tw_env.AlfredDemangler(PddlEnv(wanted))


class AlfWorldOfficial(AlfWorld):
  """The games of `AlfWorld`, word for word, in TextWorld's PDDL engine.

  `unseen` is out of domain: rooms that training never shows. A walkthrough
  that a game lacks is made by TextWorld's planner.
  """

  name = 'alfworld_official'
  needs = ('alfworld', 'textworld', 'fast_downward')
  install = "pip install 'early_experience[alfworld]'"
  branching = 'fork'  # its state is in a C++ library of this process

  def reset(self, task: Task) -> Turn:
    if self._engine is None:
      self._engine = official_engine()
    if task != self._task:
      self._engine.load(self._games.data(task))
      self._task = task
    self._state = self._engine.reset()
    intro = _INTRO.fullmatch(self._state.feedback.strip())
    if not intro:
      raise UserError(f'{task.id}: the grammar names no task')
    opening, self.instruction = intro.groups()
    return Turn(opening.strip())

  def step(self, action: str) -> Turn:
    self._state, _, _ = self._engine.step(self.canonical(action))
    won, valid = bool(self._state['won']), bool(self._state['_last_action'])
    return Turn(self._state.feedback, won, won, float(won), valid)

  def admissible(self) -> tuple[str, ...]:
    commands = self._state['admissible_commands']
    return tuple(command for command in commands if command != 'help')

  def clone(self) -> None:
    return None

  def fingerprint(self) -> Hashable:
    # In their order, which observations may list things in.
    return tuple(map(str, self._state['_facts']))

  def _walkthrough(self):
    planner = official_engine(extras=['walkthrough'])  # of the file, if any
    planner.load(self._games.data(self._task))
    return planner.reset()['extra.walkthrough']
