"""Seats on a Ray cluster: environments that are kept there between calls."""

import math
import pickle
import time
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from early_experience.work import hosts, ray, units
from early_experience.work.units import Failure


class RayHosts(hosts.Hosts):
  """As `Hosts`; its processes are Ray actors, one for each CPU of the cluster.

  Where an actor ends, it cannot be told which of the seats that it was asked to
  serve is to blame: all of them are.

  Args:
    make: makes what is kept; can be pickled, and is found there.
    cluster: `config.cluster`.
    most: seats that are wanted.

  Raises:
    UserError: Ray is not installed, or there is no cluster at the address.
  """

  def __init__(self, make: Callable[[], Any], cluster: ConfigDict, most: int):
    self._cluster, self._most = cluster, most
    self._ray, self._ours = ray.connected(cluster, most)
    cpus = int(self._ray.cluster_resources().get('CPU', 0))
    super().__init__(
      make, max(1, min(cpus, most)), cluster.unit_timeout_seconds
    )

  def close(self) -> None:
    super().close()
    if self._ours:
      self._ray.shutdown()

  def _start(self):
    if not self._ray.is_initialized():  # since it was closed
      _, self._ours = ray.connected(self._cluster, self._most)
    # No CPU is held while nothing is asked: a cluster may shrink.
    actor = self._ray.remote(
      num_cpus=0, max_restarts=0, scheduling_strategy='SPREAD'
    )(_Actor)
    return _RayHost(self._ray, actor.remote(self._make, self._seconds))

  def _wait(self, busy, seconds):
    self._ray.wait([host.ref for host in busy], timeout=seconds)


class _RayHost:
  """An actor and what is known of it; attributes as `_Host` has them."""

  def __init__(self, ray, actor):
    self._ray, self._actor = ray, actor
    self.process = self  # that is terminated
    self.busy, self.called, self.alive = (), math.inf, True
    self._seats, self._ended = set(), None

  def send(self, calls):
    self.busy, self.called = tuple(calls), time.monotonic()
    self._seats.update(calls)
    self.ref = self._actor.serve.remote(calls)

  def answers(self):
    """By seat; None while there are none."""
    if not self._ray.wait([self.ref], timeout=0)[0]:
      return None
    seats, self.busy = self.busy, ()
    try:
      found = self._ray.get(self.ref)
    except self._ray.exceptions.RayError as error:
      # It died, its node went, memory ran out.
      self.bury()
      crash = Failure('crash', units.in_a_line(error))
      lost = dict.fromkeys(self._seats, hosts.LOST)
      return lost | dict.fromkeys(seats, crash)
    return {
      seat: units.attempt(pickle.loads, answer)
      if isinstance(answer, bytes)
      else answer
      for seat, answer in zip(seats, found, strict=True)
    }

  def terminate(self):
    self._ended = self._actor.close.remote()

  def bury(self):
    self.busy, self.alive = (), False
    if self._ended is not None:
      self._ray.wait([self._ended], timeout=hosts.END_SECONDS)
    self._ray.kill(self._actor)


class _Actor:
  """What keeps some seats, in a process of the cluster."""

  def __init__(self, make, seconds):
    self._keeper, self._seconds = hosts.Keeper(make), seconds
    self._spent = {}

  def serve(self, calls):
    return [self._answer(seat, call) for seat, call in calls.items()]

  def close(self):
    self._keeper.close()

  def _answer(self, seat, call):
    if call.first:
      self._spent[seat] = 0.0
    start = time.monotonic()
    called = hosts.pickling(call)
    left = max(self._seconds - self._spent[seat], 1e-3)
    answer = ray.in_time(lambda c: self._keeper(seat, c), called, left)
    self._spent[seat] += time.monotonic() - start
    if self._spent[seat] > self._seconds:
      self._keeper.close(seat)
      return hosts.hang(self._seconds)
    return answer
