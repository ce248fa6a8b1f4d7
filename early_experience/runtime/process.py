"""A command as a process: the streams it was given, and who asks it to stop.

Ctrl-C, SIGTERM and the end of a terminal raise an exception in the main thread,
which unwinds. Where that is swallowed, as callbacks from C++ do, or takes more
than a grace, the process ends all the same: every stage may be killed at any
moment. A second Ctrl-C ends it at once.
"""

import contextlib
import ctypes
import errno
import io
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

from early_experience.runtime import cluster

GRACE_SECONDS = 10.0
# Some launchers hand on the Ctrl-C that a terminal has sent to us already.
_ECHO_SECONDS = 1.0
ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_started, _obeyed, _patient = False, False, False


def start() -> None:
  """Readies this process: once, in the main thread of a command."""
  global _started
  if _started:
    return
  _started = True
  _keep_streams()
  before = sys.excepthook

  def hook(kind, error, trace):
    if issubclass(kind, (KeyboardInterrupt, cluster.Preempted)):
      cluster.leave(*farewell(error))
    before(kind, error, trace)

  sys.excepthook = hook
  pipe, into = os.pipe()
  os.set_blocking(into, False)
  signal.set_wakeup_fd(into, warn_on_full_buffer=False)
  for number in ASKING:
    if _heard(number):
      signal.signal(number, _obey)
  threading.Thread(target=_watch, args=(pipe,), daemon=True).start()


@contextlib.contextmanager
def noted(note: Callable[[int], None], *numbers: int) -> Iterator[None]:
  """Signals are handed to `note` meanwhile, and what they ask takes its time.

  Args:
    note: of a signal's number.
    *numbers: of the signals; one that this process ignores stays ignored. Only
      the main thread hears any.
  """
  global _patient
  if threading.current_thread() is not threading.main_thread():
    numbers = ()
  before = {n: signal.getsignal(n) for n in numbers if _heard(n)}
  was, _patient = _patient, True
  for number in before:
    signal.signal(number, lambda number, _: note(number))
  try:
    yield
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
    _patient = was


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
  """Who asks to stop meanwhile is obeyed afterwards; for what is short."""
  asked = []
  with noted(asked.append, *ASKING):
    yield
  for number in asked[:1]:
    handler = signal.getsignal(number)
    if callable(handler):
      handler(number, None)
    else:
      signal.raise_signal(number)


def farewell(error: BaseException) -> tuple[str, int]:
  """What a command that was asked to stop says, and its exit code."""
  again = isinstance(error, cluster.Preempted)
  word, code = ('preempted', cluster.AGAIN) if again else ('stopped', 130)
  saved = f': saved after update {error}' if error.args else ''
  return f'{word}{saved}; the same command goes on', code


def tie_to(parent: int, number: int) -> bool:
  """Has this process get a signal when its parent ends, where Linux runs it.

  Returns:
    Whether the parent is there still.
  """
  with contextlib.suppress(OSError, AttributeError):
    ctypes.CDLL(None).prctl(1, number)  # PR_SET_PDEATHSIG
  return os.getppid() == parent


def readable(pipe: int, seconds: float | None = None) -> bool:
  """Waits until a pipe can be read, or is closed at its other end.

  Args:
    pipe: a file descriptor; `select` takes none above 1,023.
    seconds: to wait at most; None waits on.
  """
  waiting = select.poll()
  waiting.register(pipe, select.POLLIN)
  return bool(waiting.poll(None if seconds is None else max(0, 1e3 * seconds)))


def _heard(number):
  """Whether a signal is not ignored, as by nohup or a shell's background."""
  return signal.getsignal(number) not in (signal.SIG_IGN, None)


def _obey(number, _):
  global _obeyed
  if not _obeyed:  # what unwinds is not to be disturbed
    _obeyed = True
    raise _asks(number)


def _asks(number):
  return KeyboardInterrupt() if number == signal.SIGINT else cluster.Preempted()


def _watch(pipe):
  """Ends the process in time, even where its main thread is deep in C++."""
  first, since = None, 0.0
  while True:
    hurry = first is not None and not _patient
    left = since + GRACE_SECONDS - time.monotonic() if hurry else None
    ready = readable(pipe, left)
    if not ready and not _patient:
      cluster.leave(*farewell(_asks(first)))
    for number in os.read(pipe, 64) if ready else ():
      now = time.monotonic()
      if first is None and number in ASKING:
        first, since = number, now
      elif number == signal.SIGINT and now - since > _ECHO_SECONDS:
        cluster.leave(*farewell(_asks(number)))


def _keep_streams():
  """Nothing that is printed ends a command, nor lands in one of its files."""
  for number in (0, 1, 2):
    try:
      os.fstat(number)
    except OSError:  # closed: the next file would get its number
      os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
  sys.stdout = _lasting(1, sys.stdout)
  sys.stderr = _lasting(2, sys.stderr)


def _lasting(number, stream):
  raw = _Lasting(number, 'w', closefd=False)
  if stream is None:  # it was closed
    return io.TextIOWrapper(raw, 'utf-8', 'backslashreplace', None, True, True)
  stream.flush()
  through = stream.write_through
  return io.TextIOWrapper(
    raw if through else io.BufferedWriter(raw),
    stream.encoding,
    stream.errors,
    line_buffering=stream.line_buffering,
    write_through=through,
  )


class _Lasting(io.FileIO):
  """A stream that goes nowhere once its reader has left."""

  def write(self, data):
    try:
      return super().write(data)
    except OSError as error:
      if error.errno not in (errno.EPIPE, errno.EIO):  # a terminal's is EIO
        raise
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, self.fileno())
    os.close(nowhere)
    return len(data)
