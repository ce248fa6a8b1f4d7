"""Progress of long work: a live line on a terminal, plain lines in a log."""

import contextlib
import sys
import time
from collections.abc import Iterator


class Progress:
  """Counts units done; shows rate and time left.

  Args:
    label: what is going on, e.g. `explore`.
    total: units in all.
    unit: what is counted, e.g. `trajectories`.
    done: units finished by an earlier run, which the rate leaves out.
    every: seconds between lines in a log (a terminal is redrawn 5 times/s).
  """

  def __init__(self, label, total, unit, done=0, every=15.0, stream=None):
    self._label, self._total, self._unit = label, total, unit
    self._start_done = self._done = done
    self._stream = stream or sys.stderr
    self._live = self._stream.isatty()
    self._every = 0.2 if self._live else every
    self._start = self._last = time.monotonic()

  @contextlib.contextmanager
  def apart(self) -> Iterator[None]:
    """What is done meanwhile, such as compiling, does not slow the rate."""
    start = time.monotonic()
    yield
    self._start += time.monotonic() - start

  def update(self, count: int = 1, note: str = '') -> None:
    self._done += count
    now = time.monotonic()
    if now - self._last >= self._every:
      self._last = now
      self._show(note)

  def _show(self, note):
    seconds = max(time.monotonic() - self._start, 1e-9)
    rate = (self._done - self._start_done) / seconds
    left = (self._total - self._done) / rate if rate else float('inf')
    line = (
      f'{self._label}: {self._done}/{self._total} {self._unit}'
      f' {rate:.3g}/s ETA {clock(left)} {note}'
    ).rstrip()
    end = '' if self._live else '\n'
    start = '\r\x1b[2K' if self._live else ''
    print(start + line, end=end, file=self._stream, flush=True)

  def close(self) -> None:
    """Clears the live line."""
    if self._live:
      print('\r\x1b[2K', end='', file=self._stream, flush=True)


def clock(seconds: float) -> str:
  """Seconds as h:mm:ss, or `?` where they are not known."""
  if seconds != seconds or seconds == float('inf'):
    return '?'
  minutes, seconds = divmod(int(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02d}:{seconds:02d}'
