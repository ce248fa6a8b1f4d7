"""Units on processes of this machine, which may hang, crash or be killed."""

import atexit
import contextlib
import functools
import multiprocessing
import os
import pickle
import signal
import threading
from concurrent import futures
from multiprocessing import resource_tracker

from ml_collections import ConfigDict

from early_experience.runtime import cpus, process
from early_experience.work.units import Failure, attempt, in_a_line


def count(cluster: ConfigDict) -> int:
  """How many local workers there are to be."""
  return cluster.workers or cpus.count()


class Local:
  """Spawned processes of this machine: nothing of this one leaks into them."""

  def __init__(self, function, cluster, most):
    self._function = functools.partial(_pickled, function)
    self._timeout = cluster.unit_timeout_seconds
    self._workers = max(1, min(count(cluster), most))
    self._pool, self._size, self._open = None, 0, {}  # future -> its pool

  def wanted(self):
    return 2 * self._workers  # one that is worked on, one that comes next

  def submit(self, unit, alone=False):
    size = 1 if alone else self._workers  # idle ones keep their environments
    active = self._pool is not None and self._pool.active
    starts = not active or size != self._size
    # A worker that finds no driver to be born of complains.
    with process.undisturbed() if starts else contextlib.nullcontext():
      if starts:
        self._start(size)
      future = self._pool.schedule(
        self._function, args=(unit,), timeout=self._timeout
      )
    self._open[future] = self._pool
    return future

  def _start(self, size):
    from pebble import ProcessPool

    self.close()
    with _deaf():  # what Python starts beside the first of all
      resource_tracker.ensure_running()
    self._context, self._size = Context(), size
    self._pool = ProcessPool(
      max_workers=size,
      initializer=begin,
      # The function only to import its module, in all workers at once: they
      # receive their units one after the other.
      initargs=(os.getpid(), self._function),
      context=self._context,
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
      return Failure('crash', f'its process ended with {ended(error.exitcode)}')
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
      self._context.end_all()
      self._pool.join()


def _pickled(function, unit):
  """`attempt`, its result as bytes: while it is sent, no other worker can, so
  that one which runs out of memory must not do it then.
  """
  return attempt(lambda one: pickle.dumps(function(one)), unit)


def ended(exitcode: int | None) -> str:
  """What an exit code says, in words."""
  if exitcode is not None and exitcode < 0:
    with contextlib.suppress(ValueError):
      return signal.Signals(-exitcode).name
  return f'exit code {exitcode % _EXITED}'


# Pebble sees no harm in a process that ends with 0, and waits for its unit.
_EXITED = 256
_FROM_TERMINAL = {signal.SIGINT, signal.SIGHUP}


@contextlib.contextmanager
def _deaf():
  before = signal.pthread_sigmask(signal.SIG_BLOCK, _FROM_TERMINAL)
  try:
    yield
  finally:
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Process(multiprocessing.get_context('spawn').Process):
  """A worker; where it is killed, what it has started is killed too."""

  _buried = False

  def start(self):
    # What a terminal sends to all is for the driver, from a worker's first
    # moment on: it is born with the mask of the thread that starts it. Python's
    # tracker takes that mask off where it has to be started: so before.
    with _deaf():
      resource_tracker.ensure_running()
    with _deaf():
      super().start()

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


class Context(multiprocessing.context.SpawnContext):
  """Of processes into which nothing of this one leaks."""

  def __init__(self):
    super().__init__()
    self._born = []

  def Process(self, **how):  # noqa: N802
    worker = _Process(**how)
    self._born = [*self._living(), worker]
    return worker

  def _living(self):
    return [one for one in self._born if one.pid and one.is_alive()]

  def end_all(self) -> None:
    """Before Pebble does, who first takes away what they may be looking for."""
    for worker in self._living():
      worker.terminate()


def begin(parent: int, _=None) -> None:
  """Makes a worker the head of a group that ends as a whole.

  Browsers and virtual machines that an environment starts are of the group.
  """
  os.setpgid(0, 0)
  signal.signal(signal.SIGTERM, leave)
  # Heard and not obeyed; what is ignored or blocked would be so in a browser.
  for number in _FROM_TERMINAL:
    signal.signal(number, lambda *_: None)
  signal.pthread_sigmask(signal.SIG_UNBLOCK, _FROM_TERMINAL)
  if not process.tie_to(parent, signal.SIGTERM):
    leave()


def leave(*_) -> None:
  """Closes the environment, if it lets itself be closed, and ends the group."""
  end = functools.partial(os.killpg, 0, signal.SIGKILL)
  # Pebble kills after 3 seconds. A thread, for what is closed may be stuck in
  # C, where no Python hears a signal.
  timer = threading.Timer(2, end)
  timer.daemon = True
  timer.start()
  with contextlib.suppress(BaseException):
    atexit._run_exitfuncs()
  end()
