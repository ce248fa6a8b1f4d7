"""A tiny deterministic environment: find the coin in a box and take it."""

import copy

from early_experience.envs.interface import Environment, Task, Turn


class ToyEnv(Environment):
  """Task i hides its coin in box `i % (boxes + 1) + 1`; the last has none.

  So every `boxes + 1`-th task cannot be solved, and its expert gives up.
  """

  name, source, splits = 'toy', 'boxes', ('train', 'test')

  def __init__(self, boxes: int = 3, tasks: int = 8, clones=True, lists=True):
    self._boxes, self._tasks = range(1, boxes + 1), tasks
    self._clones, self._lists = clones, lists

  def tasks(self, split):
    self.check_split(split)
    types = ('near', 'far')
    return [
      Task(f'{split}-{i}', split, types[i % 2]) for i in range(self._tasks)
    ]

  def reset(self, task):
    self.instruction = 'Take the coin.'
    self._coin = int(task.id.split('-')[1]) % (len(self._boxes) + 1) + 1
    self._open = frozenset()
    return Turn(self._room())

  def step(self, action):
    if action == 'look':
      return Turn(self._room())
    for box in self._boxes:
      holds = box == self._coin
      if action == f'open box {box}':
        self._open |= {box}
        inside = 'there is a coin' if holds else 'it is empty'
        return Turn(f'You open box {box} and {inside}.')
      if action == f'take coin from box {box}' and holds and box in self._open:
        return Turn('You have the coin.', done=True, success=True, score=1.0)
    return Turn('Nothing happens.', valid=False)

  def admissible(self):
    if not self._lists:
      return None
    takes = [f'take coin from box {b}' for b in self._open & {self._coin}]
    return tuple(['look', *(f'open box {b}' for b in self._boxes), *takes])

  def clone(self):
    return copy.copy(self) if self._clones else None

  def expert(self, turn):
    for box in self._boxes:
      turn = yield f'open box {box}'
      if 'coin' in turn.observation:
        yield f'take coin from box {box}'
        return

  def _room(self):
    return f'You see {", ".join(f"box {b}" for b in self._boxes)}.'


class Told(ToyEnv):
  """Says where the coin is: there is something to learn."""

  def reset(self, task):
    turn = super().reset(task)
    self.instruction = f'Take the coin from box {self._coin}.'
    return turn


class Asked(Told):
  """Its expert says what to do in any state, whoever led there."""

  def __init__(self, advises=True, tasks=16):
    super().__init__(tasks=tasks)
    self.expert_advises = advises

  def advise(self, opening, past):
    if self._coin not in self._boxes:
      return None
    if self._coin in self._open:
      return f'take coin from box {self._coin}'
    return f'open box {self._coin}'
