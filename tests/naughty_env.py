"""The toy environment, with tasks in which something goes wrong."""

import ctypes
import dataclasses
import os
import pathlib
import signal
import sys
import threading
import time
import urllib.error

from tests.toy_env import ToyEnv


class NaughtyEnv(ToyEnv):
  """Misbehaves at the first step of the tasks that `faults` names.

  Args:
    faults: task id -> what goes wrong; see `_go_wrong`.
    once: a folder, where each fault leaves a mark and never happens again.
    branching: of this instance.
    fault: goes wrong wherever an environment is made,
    at: or `tasks`, where it is called.
  """

  def __init__(
    self,
    faults=None,
    once='',
    branching='clone',
    tasks=8,
    fault='',
    at='__init__',
  ):
    super().__init__(tasks=tasks)
    self._faults, self._once = dict(faults or {}), once
    self.branching, self._fault, self._at = branching, fault, at
    if fault and at == '__init__':
      self._go_wrong(fault, None)

  def tasks(self, split):
    if self._fault and self._at == 'tasks':
      self._go_wrong(self._fault, None)
    return super().tasks(split)

  def reset(self, task):
    self._task = task
    return super().reset(task)

  def step(self, action):
    fault = self._faults.get(self._task.id)
    turn = super().step(action)
    if fault is None:
      return turn
    if self._once:
      mark = pathlib.Path(self._once, self._task.id)
      if mark.exists():
        return turn
      mark.touch()
    return self._go_wrong(fault, turn)

  def _go_wrong(self, fault, turn):
    if fault == 'hang':
      time.sleep(600)
    if fault == 'dawdle':
      time.sleep(1.5)
      return turn
    if fault == 'kill later':  # while others are served, or nobody is
      threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGKILL)).start()
      return turn
    if fault == 'kill':
      os.kill(os.getpid(), signal.SIGKILL)
    if fault == 'crash':
      ctypes.string_at(0)
    if fault == 'vanish':
      os._exit(0)
    if fault == 'offline':
      raise urllib.error.URLError(OSError('no route'))  # is its `reason`
    if fault == 'exit':
      sys.exit(3)
    if fault == 'mutter':
      raise RuntimeError('half a \ud83d word')
    if fault == 'raise':
      raise RuntimeError('the cupboard fell over')
    if fault == 'reject':
      return dataclasses.replace(turn, valid=False)
    if fault == 'number':
      return dataclasses.replace(turn, done=0)
    if fault == 'nan':
      return dataclasses.replace(turn, score=float('nan'))
    said = {
      'drift': 'Who are you?',
      'long': 'spam ' * 2_000_000,
      'surrogate': 'half a \ud83d face',
      'bytes': b'spam',
    }
    return dataclasses.replace(turn, observation=said[fault])
