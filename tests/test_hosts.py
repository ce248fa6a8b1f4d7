"""Processes that keep things between calls: what one does, others survive."""

import os
import signal
import subprocess
import time

import pytest

from early_experience.work import hosts
from early_experience.work.hosts import Call
from tests import waiting
from tests.test_workers import alive


class Counter:
  """Counts its calls; where it is told to, it does worse."""

  def __init__(self):
    self.count, self.child = 0, None

  def add(self, amount=1):
    self.count += amount
    return self.count

  def close(self):
    if self.child:
      self.child.kill()


def add(counter, amount=1):
  return counter.add(amount)


def process(_):
  return os.getpid()


def hang(_):
  time.sleep(600)


def kill(_):
  os.kill(os.getpid(), signal.SIGKILL)


def leave(_):
  os._exit(0)


def complain(_):
  raise RuntimeError('no more')


def answer_what_cannot_be_sent(_):
  return lambda: 0


def rest(_, seconds):
  time.sleep(seconds)


def start_child(counter):
  counter.child = subprocess.Popen(['sleep', '600'])
  return counter.child.pid


@pytest.fixture
def two():
  """Seats in two processes: the even and the odd ones."""
  seats = hosts.Hosts(Counter, 2, seconds=waiting.SECONDS)
  yield seats
  seats.close()


def asked(seats, *functions, **others):
  seats.send({i: Call(f) for i, f in enumerate(functions)})
  return seats.receive(**others)


def test_each_seat_keeps_its_own_thing_whatever_the_number_of_processes():
  for count in (1, 2, 5):
    seats = hosts.Hosts(Counter, count, seconds=waiting.SECONDS)
    for turn in (1, 2):
      seats.send({i: Call(add, (10**i,)) for i in range(4)})
      assert seats.receive() == {i: turn * 10**i for i in range(4)}
    found = asked(seats, *[process] * 4)
    assert len(set(found.values())) == min(count, 4)
    assert os.getpid() not in found.values()
    seats.close()


def test_in_this_process_the_answers_are_the_same():
  seats = hosts.Here(Counter)
  assert asked(seats, add, add) == {0: 1, 1: 1}
  assert asked(seats, add, process) == {0: 2, 1: os.getpid()}
  assert asked(seats, complain)[0].error == 'RuntimeError: no more'
  assert asked(seats, add, add) == {0: 1, 1: 2}


def test_one_that_raises_is_made_anew_and_the_others_stay(two):
  asked(two, add, add, add)
  found = asked(two, add, add, complain)
  assert (found[0], found[1]) == (2, 2)
  assert (found[2].reason, found[2].error) == ('error', 'RuntimeError: no more')
  assert asked(two, add, add, answer_what_cannot_be_sent)[2].reason == 'error'
  assert asked(two, add, add, add) == {0: 4, 1: 4, 2: 1}


@pytest.mark.parametrize(
  ('worst', 'why'), [(kill, 'SIGKILL'), (leave, 'exit code 0')]
)
def test_who_ends_its_process_is_told_from_those_beside_it(two, worst, why):
  asked(two, add, add, add, add, add)
  found = asked(two, add, add, worst)
  assert found[2].reason == 'crash' and why in found[2].error
  assert found[1] == 2
  # Those of its process have lost what they had, whether called or not.
  assert found[0] is hosts.LOST and found[4] is hosts.LOST
  assert set(found) == {0, 1, 2, 4}
  assert asked(two, add, add, add, add) == {0: 1, 1: 3, 2: 1, 3: 2}


def test_one_that_hangs_is_ended_and_a_slow_one_is_not_waited_for():
  seats = hosts.Hosts(Counter, 2, seconds=4.0)
  asked(seats, add, add, add)
  seats.send({0: Call(add), 1: Call(add), 2: Call(hang)})
  assert seats.receive(patience=0.5) == {1: 2}
  assert seats.receive(patience=0.5, need=False) == {}
  seats.send({1: Call(add)})  # it goes on meanwhile
  assert seats.receive(patience=0.5) == {1: 3}
  found = seats.receive()
  assert (found[2].reason, found[2].error) == ('hang', 'no answer in 4 s')
  assert found[0] is hosts.LOST
  seats.close()


def test_seconds_are_those_of_all_calls_of_a_unit():
  seats = hosts.Hosts(Counter, 1, seconds=4.0)
  for first in (True, False):
    seats.send({0: Call(rest, (1.4,), first)})
    assert seats.receive() == {0: None}
  seats.send({0: Call(rest, (1.4,), first=False)})
  assert seats.receive()[0].reason == 'hang'
  seats.send({0: Call(rest, (1.4,))})
  assert seats.receive() == {0: None}
  seats.close()


def test_a_process_that_is_killed_while_nothing_is_asked_is_replaced(two):
  pid = asked(two, process, add, add)[0]
  os.kill(pid, signal.SIGKILL)
  found = asked(two, add, add)
  assert found == {0: hosts.LOST, 1: 2, 2: hosts.LOST}
  assert asked(two, add, add) == {0: 1, 1: 3}


def test_what_is_kept_is_closed_with_its_process(two):
  child = asked(two, start_child)[0]
  assert alive(child)
  two.close()
  waiting.until(lambda: not alive(child), 'end of the child')
  child = asked(two, start_child)[0]
  two.send({0: Call(kill)})
  assert two.receive()[0].reason == 'crash'
  waiting.until(lambda: not alive(child), 'end of the child')
