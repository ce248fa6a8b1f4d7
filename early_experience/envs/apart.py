"""An environment in a process of its own, for those who must not fall with it.

Its constructor, its tasks and all else that it does may hang, or end the
process that it is in. Who asks it from here gets an answer or a `UserError`.
"""

import contextlib
import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from ml_collections import ConfigDict

from early_experience.envs import own
from early_experience.envs.interface import Task
from early_experience.runtime.errors import UserError
from early_experience.work import hosts, local
from early_experience.work.units import Failure

_TRIES = 3  # of a question whose process dies


def seats(config: ConfigDict, count: int) -> hosts.Hosts:
  """Processes with environments, which are made when they are called.

  Args:
    config: `env`, and `cluster`, whose `unit_timeout_seconds` holds for each.
    count: of processes.
  """
  make = functools.partial(own.make, config.env.to_json())
  return hosts.Hosts(make, count, config.cluster.unit_timeout_seconds)


def seats_anywhere(config: ConfigDict, most: int) -> hosts.Hosts:
  """Likewise, on the cluster of `config.cluster.address` where it has one.

  Args:
    config: as for `seats`.
    most: environments that are wanted at a time.

  Raises:
    UserError: the cluster cannot be used.
  """
  if not config.cluster.address:
    return seats(config, local.count(config.cluster))
  from early_experience.work import ray_hosts  # an extra

  make = functools.partial(own.make, config.env.to_json())
  return ray_hosts.RayHosts(make, config.cluster, most)


def ask(seats: hosts.Hosts | hosts.Here, name: str, function: Callable) -> Any:
  """What a function of the environment in the first seat returns.

  Args:
    seats: with environments.
    name: of the environment, for the error.
    function: such as `operator.methodcaller`.

  Raises:
    UserError: the environment raised, hung or ended its process.
  """
  for _ in range(_TRIES):
    seats.send({0: hosts.Call(function)})
    answer = seats.receive()[0]
    if not isinstance(answer, Failure):
      return answer
    if answer.reason != 'crash':  # which others may have caused
      break
  if answer.plain:
    raise UserError(answer.error)
  raise UserError(f'environment {name}: {answer.reason}: {answer.error}')


class Apart:
  """An environment that answers for itself, and is not played here.

  Attributes:
    name: as `Environment` has it; so are all others.
    source: likewise.

  Args:
    config: as for `seats`.

  Raises:
    UserError: it failed, now or in a method.
  """

  def __init__(self, config: ConfigDict):
    self._seats, self._called = seats(config, 1), config.env.name
    self.canonical = functools.cache(self.canonical)  # of few, often
    with contextlib.ExitStack() as failed:
      failed.callback(self.close)
      self.name, self.source = self.call(operator.attrgetter('name', 'source'))
      failed.pop_all()

  def call(self, function: Callable) -> Any:
    """What a function of the environment returns."""
    return ask(self._seats, self._called, function)

  def tasks(self, split: str) -> Sequence[Task]:
    return self.call(operator.methodcaller('tasks', split))

  def without(self, instruction: str, action: str) -> str:
    return self.call(operator.methodcaller('without', instruction, action))

  def canonical(self, action: str) -> str:
    return self.call(operator.methodcaller('canonical', action))

  def close(self) -> None:
    self._seats.close()
