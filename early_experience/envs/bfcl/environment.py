"""BFCL multi-turn behind the environment interface."""

import copy
import importlib.metadata
import random
from collections.abc import Generator, Sequence
from typing import Self

from early_experience.envs.bfcl import calls, episode
from early_experience.envs.interface import Environment, Task, Turn
from early_experience.runtime.errors import UserError

# Ends the agent's turn, as any text that is no call does.
FINISH = calls.Call('finish_turn', (), {})
SIZE = 200  # tasks of each category
CATEGORIES = {'train': 'base', 'seen': 'base'}  # else the split's own name


class Bfcl(Environment):
  """A user's requests, one after another, to be served by function calls.

  An action is one call or a list of calls with literal arguments. Any other
  text is a reply to the user, who answers with the next request. Success is
  what the official checker finds: after each turn the state of all simulators
  is that of the gold calls, and what those returned was seen. A call that
  cannot be read is answered with an error, so that there is something to learn
  from it; the official harness takes it for a reply to the user.

  `seen` holds the base tasks that training leaves out. The three other splits
  are out of domain: the same scenes with files and records to get lost in
  (`long_context`), with a function that appears later (`miss_func`) and with a
  detail that the user gives later (`miss_param`). Each has the counterparts of
  the tasks in `seen`, so that no scene is trained on.
  """

  name = 'bfcl'
  splits = ('train', 'seen', 'long_context', 'miss_func', 'miss_param')
  licence = 'Apache-2.0'
  needs = ('bfcl_eval', 'mpmath')
  install = (
    "pip install 'early_experience[bfcl]' &&"
    ' pip install --no-deps bfcl-eval==2026.3.23'
  )
  branching = 'clone'
  expert_name = 'gold'

  def __init__(self, *, train_tasks: int = 125, seed: int = 0):
    """Chooses which base tasks are for training.

    Args:
      train_tasks: so many of the 200; there is no official split. 125 leaves
        75, whose multiples the paper's results are (arXiv 2510.08558, B.3).
      seed: of their choice.

    Raises:
      UserError: an argument is out of range.
    """
    if not 0 <= train_tasks <= SIZE:
      raise UserError(
        f'env.kwargs.train_tasks is {train_tasks}, not within 0..{SIZE}'
      )
    order = random.Random(f'bfcl/{seed}').sample(range(SIZE), SIZE)
    self._numbers = {
      split: sorted(order[train_tasks:]) for split in self.splits
    }
    self._numbers['train'] = sorted(order[:train_tasks])
    self.source = f'bfcl-eval {importlib.metadata.version("bfcl-eval")}'
    self._episode = None

  def tasks(self, split: str) -> Sequence[Task]:
    self.check_split(split)
    entries = episode.entries(CATEGORIES.get(split, split))
    chosen = [entries[number] for number in self._numbers[split]]
    return [
      Task(entry['id'], split, '+'.join(sorted(entry['involved_classes'])))
      for entry in chosen
    ]

  def reset(self, task: Task) -> Turn:
    category, number = task.id.removeprefix('multi_turn_').rsplit('_', 1)
    self._episode = episode.Episode(episode.entries(category)[int(number)])
    self.instruction = (
      f'{self._episode.instruction().strip()}\n\nWhen a turn needs no (more)'
      f' calls, answer {FINISH} or in words.'
    )
    return Turn(self._episode.request())

  def step(self, action: str) -> Turn:
    talk, valid = self._episode, True
    try:
      found = calls.read(action)
    except ValueError as error:
      observation, valid = talk.refuse(str(error)), False
    else:
      if found and found != [FINISH]:
        observation, valid = talk.call(found)
      else:
        talk.end_turn()
        observation = '' if talk.done else talk.request()
    success = talk.done and talk.success
    return Turn(observation, talk.done, success, float(success), valid)

  def clone(self) -> Self:
    other = copy.copy(self)
    other._episode = self._episode.clone()
    return other

  def expert(self, turn: Turn) -> Generator[str, Turn, None]:
    yield from (  # of a generator: others cannot be sent the answers
      action
      for actions in self._episode.gold_actions()
      for action in (*actions, str(FINISH))
    )

  def canonical(self, action: str) -> str:
    try:
      found = calls.read(action)
    except ValueError:
      return action.strip()  # with other white space it may be readable
    if found and found != [FINISH]:
      parameters = episode.parameters()
      return calls.write([calls.bind(call, parameters) for call in found])
    return str(FINISH) if action.strip() else ''
