"""Processes of this machine that keep things between calls.

An environment in the middle of an episode cannot go to another process. Each
has a seat, which is a place in one of the processes, and is called there; all
calls of one process go and come as one message. What hangs or ends its process
takes those beside it along, but not this process; `receive` tells them apart.
"""

import atexit
import contextlib
import math
import os
import pickle
import time
from collections.abc import Callable, Mapping
from multiprocessing import connection
from typing import Any, NamedTuple

from early_experience.runtime import process
from early_experience.work import local, units
from early_experience.work.units import Failure

# Of a seat whose process has ended, though not while it was served. It may be
# to blame nevertheless: by what it left running, or by the memory it took.
LOST = Failure('crash', 'its process ended while it had nothing to do')

_LOOK_SECONDS = 0.2  # between looks at processes that do not answer
_START_SECONDS = 60.0  # for an interpreter, on a slow disk
END_SECONDS = 3.0  # for a process to close what it keeps; `local.leave` takes 2


class Call(NamedTuple):
  """A function of what is kept in a seat.

  Attributes:
    function: can be pickled, and so can what it takes and returns.
    args: after the thing itself.
    first: of a unit of work; its seconds begin.
  """

  function: Callable
  args: tuple = ()
  first: bool = True


class Keeper:
  """Keeps one thing in each seat; made when the seat is first called.

  One that an exception went through is closed, for nothing is known of its
  state: the next call gets a new one.

  Args:
    make: makes one; it may have a `close`.
  """

  def __init__(self, make: Callable[[], Any]):
    self._make, self._kept = make, {}

  def __call__(self, seat: int, call: Call) -> Any:
    """What the call returns, or the `Failure` that it ended in."""
    result = units.attempt(
      lambda one: one.function(self._at(seat), *one.args), call
    )
    if isinstance(result, Failure):
      self.close(seat)
    return result

  def close(self, *seats: int) -> None:
    """Closes what is kept in some seats; in all, if none is named."""
    for seat in seats or list(self._kept):
      if seat in self._kept:
        units.attempt(lambda thing: thing.close(), self._kept.pop(seat))

  def _at(self, seat):
    if seat not in self._kept:
      self._kept[seat] = self._make()
    return self._kept[seat]


class Here:
  """Seats in this process, where a hang is a hang."""

  def __init__(self, make: Callable[[], Any]):
    self._keeper, self._answers = Keeper(make), {}

  def send(self, calls: Mapping[int, Call]) -> None:
    """As `Hosts.send`; what is called has answered when it returns."""
    for seat, call in calls.items():
      self._answers[seat] = self._keeper(seat, call)

  def receive(self, patience: float = math.inf, need: bool = True) -> dict:
    """As `Hosts.receive`."""
    del patience, need  # it is all there
    answers, self._answers = self._answers, {}
    return answers

  def close(self) -> None:
    """Closes what is kept; the next call makes anew."""
    self._keeper.close()


class Hosts:
  """Seats in processes: seat i is in process i modulo their number.

  Args:
    make: makes what is kept; can be pickled.
    count: of processes. Each is started when one of its seats is called.
    seconds: of a unit: of its calls together, and of making what is called.
  """

  def __init__(self, make: Callable[[], Any], count: int, seconds: float):
    self._make, self._seconds = make, seconds
    self._hosts: list[_Host | None] = [None] * count
    self._queued = [{} for _ in range(count)]  # for a process that is busy

  def send(self, calls: Mapping[int, Call]) -> None:
    """Calls seats that owe no answer; processes work side by side."""
    for seat, call in calls.items():
      self._queued[seat % len(self._hosts)][seat] = call
    for number in range(len(self._hosts)):
      self._pass_on(number)

  def receive(self, patience: float = math.inf, need: bool = True) -> dict:
    """What seats answer: a value, or a `Failure`, by seat.

    The reason is `hang` or `crash` where the seat's own call ended the process.
    All others that the process had are `LOST`, whether they were called or not.

    Args:
      patience: seconds that a process is waited for, since it was called. One
        that takes longer answers another time.
      need: wait for at least one answer, where any is owed.
    """
    answers = {}
    while busy := [host for host in self._hosts if host and host.busy]:
      left = max(host.called for host in busy) + patience - time.monotonic()
      if left <= 0 and (answers or not need):
        break
      look = min(_LOOK_SECONDS, left) if left > 0 else _LOOK_SECONDS
      self._wait(busy, look)
      for number, host in enumerate(self._hosts):
        if host in busy and (found := host.answers()):
          if not host.alive:
            found |= dict.fromkeys(self._queued[number], LOST)
            self._hosts[number], self._queued[number] = None, {}
          answers |= found
          self._pass_on(number)
    return answers

  def close(self) -> None:
    """Ends all processes; the next call starts anew."""
    running = [host for host in self._hosts if host]
    for host in running:
      host.process.terminate()
    for host in running:
      host.bury()
    self._hosts = [None] * len(self._hosts)
    self._queued = [{} for _ in self._hosts]

  def _pass_on(self, number):
    host = self._hosts[number]
    if not self._queued[number] or (host and host.busy):
      return
    if host is None:
      host = self._hosts[number] = self._start()
    host.send(self._queued[number])
    self._queued[number] = {}

  def _start(self):
    return _Host(self._make, self._seconds)

  def _wait(self, busy, seconds):
    connection.wait([host.pipe for host in busy], seconds)


class _Host:
  """A process and what is known of it.

  Attributes:
    pipe: to it.
    busy: the seats that owe an answer, in the order in which they are served.
    called: when; at first, when it should have started at the latest.
    alive: whether it may be called.
  """

  def __init__(self, make, seconds):
    context = local.Context()
    self.pipe, theirs = context.Pipe()
    # Which seat is served, and when its time is over: what a process that
    # hangs or has died cannot say any more.
    self._clock = context.RawArray('d', [-1, math.inf])
    self.process = context.Process(
      target=_serve, args=(os.getpid(), theirs, self._clock, make, seconds)
    )
    with process.undisturbed():  # it complains where its parent is gone
      self.process.start()
    theirs.close()
    self.busy, self.called, self.alive = (), 0.0, True
    self._seats, self._seconds, self._grace = set(), seconds, _START_SECONDS

  def send(self, calls):
    self.busy, self.called = tuple(calls), time.monotonic() + self._grace
    self._seats.update(calls)
    self._clock[:] = -1, self.called + self._seconds
    self._grace = 0.0
    with contextlib.suppress(OSError):  # it has died; `answers` will tell
      self.pipe.send(calls)

  def answers(self):
    """By seat; None while there are none."""
    late = time.monotonic() > self._clock[1]
    gone = not self.process.is_alive()
    try:
      if self.pipe.poll():
        seats, self.busy = self.busy, ()
        found = zip(seats, self.pipe.recv(), strict=True)
        return {
          seat: units.attempt(pickle.loads, answer)
          if isinstance(answer, bytes)
          else answer
          for seat, answer in found
        }
    except (EOFError, OSError):
      gone = True
    if not gone and not late:
      return None
    lost = dict.fromkeys(self._seats, LOST)
    seat = int(self._clock[0])
    self.process.join(END_SECONDS / 10)  # if it is about to
    if self.process.is_alive():
      self.process.terminate()
    code = self.bury()
    if seat >= 0:
      lost[seat] = (
        Failure('crash', f'its process ended with {local.ended(code)}')
        if gone
        else hang(self._seconds)
      )
    return lost

  def bury(self):
    """Waits until it has ended, with all that it started; its exit code."""
    self.busy, self.alive = (), False
    self.pipe.close()
    self.process.join(END_SECONDS)
    self.process.kill()
    self.process.join()
    self.process.is_alive()  # ends the others of its group
    return self.process.exitcode


def hang(seconds: float) -> Failure:
  """Of a unit that took longer."""
  return Failure('hang', f'no answer in {seconds:g} s')


def _serve(parent, pipe, clock, make, seconds):
  """A process's life: it answers, until nobody is there to ask."""
  local.begin(parent)
  keeper = Keeper(make)
  atexit.register(keeper.close)
  spent = {}
  while True:
    try:
      calls = pipe.recv()
    except EOFError:
      local.leave()
    answers = []
    for seat, call in calls.items():
      if call.first:
        spent[seat] = 0.0
      start = time.monotonic()
      clock[:] = seat, start + seconds - spent[seat]
      answers.append(keeper(seat, pickling(call)))
      spent[seat] += time.monotonic() - start
      if spent[seat] > seconds:
        keeper.close(seat)
        answers[-1] = hang(seconds)
    clock[:] = -1, math.inf
    pipe.send(answers)


def pickling(call: Call) -> Call:
  """A call whose answer is bytes: what cannot be sent fails its own seat."""
  return Call(_pickled, (call.function, *call.args))


def _pickled(thing, function, *args):
  return pickle.dumps(function(thing, *args))
