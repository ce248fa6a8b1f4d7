"""Environments that know a task by its name in a group.

Here, for the processes of environments, which do without JAX.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

from ml_collections import ConfigDict

from early_experience.envs import own
from early_experience.envs.interface import Environment, Task, Turn
from early_experience.work import hosts, local


def of_group(tasks: Sequence[Task], size: int) -> list[Task]:
  """Each task `size` times, each time with a name of its own."""
  return [
    dataclasses.replace(task, id=f'{task.id}#{i}')
    for task in tasks
    for i in range(size)
  ]


def named(task_id: str) -> tuple[str, int]:
  """The name of the task itself, and which of its group it is."""
  task, _, number = task_id.rpartition('#')
  return task, int(number)


class Members:
  """An environment of groups; all else than `reset` passes through."""

  def __init__(self, env: Environment):
    self._env = env

  def reset(self, task: Task) -> Turn:
    """Starts one of a group."""
    return self._env.reset(dataclasses.replace(task, id=named(task.id)[0]))

  def __getattr__(self, name):
    return getattr(self._env, name)


def seats(config: ConfigDict) -> hosts.Hosts:
  """As `envs.apart.seats`, of environments that know groups."""
  make = functools.partial(_make, config.env.to_json())
  seconds = config.cluster.unit_timeout_seconds
  return hosts.Hosts(make, local.count(config.cluster), seconds)


def here(make: Callable[[], Environment]) -> hosts.Here:
  """Likewise in this process."""
  return hosts.Here(lambda: Members(make()))


def _make(settings):
  return Members(own.make(settings))
