"""A device waits for a batch only while it has nothing to do."""

import threading
import time

from early_experience.training.idle import Idle
from tests import waiting


class Update:
  """A value that is there once it is told so."""

  def __init__(self, ready=False):
    self.ready = threading.Event()
    if ready:
      self.ready.set()

  def block_until_ready(self):
    assert self.ready.wait(waiting.SECONDS)
    return self


def test_what_is_fetched_while_an_update_runs_costs_nothing():
  update = Update()
  with Idle() as idle:
    assert idle.next(iter('a'), update) == ('a', 0.0)
    update.ready.set()


def test_only_what_is_left_after_the_update_is_waited_for():
  update = Update()

  def batches():
    time.sleep(0.5)
    update.ready.set()
    time.sleep(0.2)
    yield 'a'

  start = time.perf_counter()
  with Idle() as idle:
    batch, seconds = idle.next(batches(), update)
  assert batch == 'a' and 0 < seconds < time.perf_counter() - start - 0.5


def test_without_an_update_all_of_it_is_waited_for():
  update = Update(ready=True)

  def batches():
    time.sleep(0.2)
    yield 'a'

  with Idle() as idle:
    idle.next(iter('a'), update)  # its thread has started
    assert idle.next(batches(), update)[1] > 0
