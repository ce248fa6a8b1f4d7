"""Units of work over a Ray cluster, by its own scheduler."""

import contextlib
import faulthandler
import signal
import socket
import time
import types
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from early_experience.runtime.errors import UserError, need_extra
from early_experience.work import local, units

_GRACE_SECONDS = 10  # between the end of a unit's time and that of its process
_LOOK_SECONDS = 5.0  # between looks at how large the cluster is


def connected(cluster: ConfigDict, most: int) -> tuple[types.ModuleType, bool]:
  """Ray, connected with a cluster; and whether it was not before.

  Args:
    cluster: `config.cluster`.
    most: units at a time that are wanted.

  Raises:
    UserError: Ray is not installed, or there is no cluster at the address.
  """
  try:
    import ray
  except ImportError:
    raise need_extra('ray', 'ray') from None
  if ray.is_initialized():
    return ray, False
  quiet = {'log_to_driver': False, 'logging_level': 'ERROR'}
  try:
    if cluster.address == 'local':
      cpus = max(1, min(local.count(cluster), most))
      ray.init('local', num_cpus=cpus, include_dashboard=False, **quiet)
    else:
      _knock(cluster.address)
      ray.init(cluster.address, **quiet)
  except (OSError, ValueError, RuntimeError) as error:
    raise UserError(
      f'config.cluster.address={cluster.address}: no Ray cluster:'
      f' {units.in_a_line(error)}'
    ) from None
  return ray, True


class Ray:
  """Submits units as Ray tasks of one CPU each.

  Workers import `early_experience` from where it is installed on their nodes.
  The cluster may grow and shrink meanwhile.

  Args:
    function: of a unit.
    cluster: `config.cluster`.
    most: results that are wanted.

  Raises:
    UserError: Ray is not installed, or there is no cluster at the address.
  """

  def __init__(self, function, cluster: ConfigDict, most: int):
    self._ray, self._ours = connected(cluster, most)
    self._refs = {}
    timeout = cluster.unit_timeout_seconds

    def task(unit):
      return in_time(function, unit, timeout)

    # Tries are counted by who submits: a unit that kills its worker has used
    # one of them.
    self._task = self._ray.remote(num_cpus=1, max_retries=0)(task)
    self._cpus, self._looked = 0, float('-inf')

  def wanted(self) -> int:
    """Units that should be under way."""
    if time.monotonic() - self._looked > _LOOK_SECONDS:
      self._cpus = int(self._ray.cluster_resources().get('CPU', 0))
      self._looked = time.monotonic()
    return max(1, 2 * self._cpus)

  def submit(self, unit, alone=False):
    del alone  # of the units, it is; the cluster may be others' too
    ref = self._task.remote(unit)
    future = ref.future()
    self._refs[future] = ref
    return future

  def result(self, future):
    del self._refs[future]
    try:
      return future.result()
    except self._ray.exceptions.RayError as error:
      # A worker that died, a node that went, memory that ran out.
      return units.Failure('crash', units.in_a_line(error))

  def close(self) -> None:
    for ref in self._refs.values():
      with contextlib.suppress(Exception):
        self._ray.cancel(ref, force=True)
    if self._ours:
      self._ray.shutdown()


def _knock(address):
  """Raises OSError at once where nobody listens; Ray would for minutes."""
  host, _, port = address.rpartition(':')
  if port.isdigit() and '/' not in host:
    socket.create_connection((host, int(port)), timeout=10).close()


class _TimeIsUp(BaseException):
  """Not an `Exception`, which an environment might catch."""


def in_time(function: Callable, unit: Any, seconds: float) -> Any:
  """`units.attempt`, ended after its time.

  An alarm ends what Python runs; where it is stuck elsewhere, the process.
  """

  def ring(*_):
    raise _TimeIsUp

  before = signal.signal(signal.SIGALRM, ring)
  faulthandler.dump_traceback_later(seconds + _GRACE_SECONDS, exit=True)
  signal.setitimer(signal.ITIMER_REAL, seconds)
  try:
    return units.attempt(function, unit)
  except _TimeIsUp:
    return units.Failure('hang', f'no answer in {seconds:g} s')
  finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
    faulthandler.cancel_dump_traceback_later()
    signal.signal(signal.SIGALRM, before)
