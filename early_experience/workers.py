"""Runs independent units of work on many processes, in order, and survives.

A unit that raises, hangs or kills its worker is tried again, then given back
as a `Failure`; the others go on. Results come in the order of the units,
whoever is done first: what is written does not depend on the number of
workers, and a run that was killed and continued writes what an undisturbed
one does.
"""

import atexit
import collections
import contextlib
import ctypes
import dataclasses
import functools
import multiprocessing
import os
import pickle
import queue
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any

from ml_collections import ConfigDict

from early_experience.envs import guard
from early_experience.errors import UserError

# Results that may wait for an earlier, slower unit.
_AHEAD = 4096
_ERROR_CHARS = 500


@dataclasses.dataclass(frozen=True)
class Failure:
  """Why a unit has no result.

  Attributes:
    reason: `hang`, `crash`, `error`, or that of a `guard.Misbehaves`.
    error: of its last try, in one line.
  """

  reason: str
  error: str


def run(
  function: Callable[[Any], Any],
  units: Iterable[Any],
  cluster: ConfigDict,
  most: int,
) -> Iterator[tuple[Any, Any]]:
  """Yields (unit, result or `Failure`) in the order of the units.

  Even one worker is a process of its own, so that a unit which hangs can be
  stopped and one that crashes takes nothing along. Units are drawn when a
  worker is about to need one.

  Args:
    function: of a unit; it and what it takes and returns can be pickled.
    units: drawn late; the caller may stop before their end.
    cluster: `config.cluster`.
    most: results that are wanted; no more workers than that are started.

  Raises:
    UserError: the cluster cannot be used.
  """
  check(cluster)
  if cluster.address:
    from early_experience import ray_engine  # an extra

    engine = ray_engine.Ray(function, cluster, most)
  else:
    engine = _Local(function, cluster, most)
  with contextlib.closing(engine):
    yield from _in_order(engine, units, cluster.tries)


def run_here(
  function: Callable[[Any], Any], units: Iterable[Any], tries: int
) -> Iterator[tuple[Any, Any]]:
  """Likewise one after the other in this process, where a hang is a hang."""
  for unit in units:
    for _ in range(tries):
      result = attempt(function, unit)
      if not isinstance(result, Failure):
        break
    yield unit, result


def attempt(function: Callable[[Any], Any], unit: Any) -> Any:
  """One try of a unit: its result, or the `Failure` that it ended in."""
  try:
    return function(unit)
  except (Exception, SystemExit) as error:  # an environment may want to exit
    return Failure(guard.reason_of(error), in_a_line(error))


def in_a_line(error: BaseException) -> str:
  """An error in one line that is not too long; a user's without its kind."""
  said = ' '.join(str(error).split())
  said = said.encode(errors='backslashreplace').decode()  # for files
  if not isinstance(error, UserError):
    said = f'{type(error).__name__}: {said}'
  return said[:_ERROR_CHARS]


def check(cluster: ConfigDict) -> None:
  """Raises UserError where a number of `config.cluster` makes no sense."""
  if cluster.workers < 0:
    raise UserError(f'config.cluster.workers is {cluster.workers}, below 0')
  for key in ('tries', 'unit_timeout_seconds'):
    if cluster[key] <= 0:
      raise UserError(f'config.cluster.{key} is {cluster[key]}, not above 0')


def count(cluster: ConfigDict) -> int:
  """How many local workers there are to be."""
  if cluster.workers:
    return cluster.workers
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))  # a container's share
  return os.cpu_count() or 1


class _Waiting:
  """A unit in line: its number of tries, and its result once it is `done`."""

  def __init__(self, unit):
    self.unit, self.tries, self.done, self.result = unit, 0, False, None


def _in_order(engine, units, tries):
  units, more = iter(units), True
  line = collections.deque()  # as drawn; those at the head leave when done
  flying, landed = {}, queue.SimpleQueue()  # future -> its _Waiting; futures

  def launch(waiting):
    waiting.tries += 1
    future = engine.submit(waiting.unit)
    flying[future] = waiting
    future.add_done_callback(landed.put)

  while more or line:
    # One at a time: drawing may take long, and results should not wait.
    draws = more and len(flying) < engine.wanted() and len(line) < _AHEAD
    if draws:
      try:
        line.append(_Waiting(next(units)))
        launch(line[-1])
      except StopIteration:
        more = False
    with contextlib.suppress(queue.Empty):
      future = landed.get(block=bool(flying) and not draws)
      waiting = flying.pop(future)
      waiting.result = engine.result(future)
      if isinstance(waiting.result, Failure) and waiting.tries < tries:
        launch(waiting)
      else:
        waiting.done = True
    while line and line[0].done:
      waiting = line.popleft()
      yield waiting.unit, waiting.result


class _Local:
  """Spawned processes of this machine: nothing of this one leaks into them."""

  def __init__(self, function, cluster, most):
    self._function = functools.partial(_pickled, function)
    self._timeout = cluster.unit_timeout_seconds
    self._workers = max(1, min(count(cluster), most))
    self._pool, self._open = None, {}  # future -> its pool

  def wanted(self):
    return 2 * self._workers  # one that is worked on, one that comes next

  def submit(self, unit):
    if self._pool is None or not self._pool.active:
      self._start()
    future = self._pool.schedule(
      self._function, args=(unit,), timeout=self._timeout
    )
    self._open[future] = self._pool
    return future

  def _start(self):
    from pebble import ProcessPool

    self.close()
    self._pool = ProcessPool(
      max_workers=self._workers,
      initializer=_begin,
      # The function only to import its module, in all workers at once: they
      # receive their units one after the other.
      initargs=(os.getpid(), self._function),
      context=_Context(),
    )

  def result(self, future):
    from pebble import ProcessExpired

    pool = self._open.pop(future)
    try:
      result = future.result()
      return result if isinstance(result, Failure) else pickle.loads(result)
    except futures.TimeoutError:
      return Failure('hang', f'no answer in {self._timeout:g} s')
    except ProcessExpired as error:
      return Failure(
        'crash', f'its process ended with {_ended(error.exitcode)}'
      )
    except (futures.BrokenExecutor, futures.CancelledError):
      # It breaks where a worker ends that had nothing to do, or while it sent
      # its answer, and forgets what was in its queue.
      for other in [one for one, its in self._open.items() if its is pool]:
        other.cancel()
      return Failure('crash', 'its pool broke')
    except Exception as error:  # a unit that cannot be pickled, for instance
      return Failure('error', in_a_line(error))

  def close(self):
    if self._pool is not None:
      self._pool.stop()
      self._pool.join()


def _pickled(function, unit):
  """`attempt`, its result as bytes: while it is sent, no other worker can, so
  that one which runs out of memory must not do it then.
  """
  return attempt(lambda one: pickle.dumps(function(one)), unit)


def _ended(exitcode):
  if exitcode is not None and exitcode < 0:
    with contextlib.suppress(ValueError):
      return signal.Signals(-exitcode).name
  return f'exit code {exitcode % _EXITED}'


# Pebble sees no harm in a process that ends with 0, and waits for its unit.
_EXITED = 256


class _Process(multiprocessing.get_context('spawn').Process):
  """A worker; where it is killed, what it has started is killed too."""

  _buried = False

  @property
  def exitcode(self):
    code = super().exitcode
    return _EXITED if code == 0 else code

  def is_alive(self):
    alive = super().is_alive()
    if not alive and not self._buried:
      self._buried = True  # later, its number may be another group's
      with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(self.pid, signal.SIGKILL)
    return alive


class _Context(multiprocessing.context.SpawnContext):
  Process = _Process


def _begin(parent, _):
  """Makes a worker the head of a group that ends as a whole.

  Browsers and virtual machines that an environment starts are of the group.
  """
  os.setpgid(0, 0)
  signal.signal(signal.SIGTERM, _leave)
  with contextlib.suppress(OSError, AttributeError):  # Linux alone has it
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
  if os.getppid() != parent:  # it died before that
    _leave()


def _leave(*_):
  """Closes the environment, if it lets itself be closed, and ends the group."""
  signal.signal(signal.SIGALRM, lambda *_: os.killpg(0, signal.SIGKILL))
  signal.alarm(2)  # Pebble kills after 3
  with contextlib.suppress(BaseException):
    atexit._run_exitfuncs()
  os.killpg(0, signal.SIGKILL)
