"""How long the device has nothing to do for want of a batch."""

import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import jax


class Idle:
  """Fetches batches while updates run; leave it to end its thread."""

  def __init__(self):
    self._watch = futures.ThreadPoolExecutor(1)

  def next(self, batches: Iterator, value: jax.Array) -> tuple[Any, float]:
    """The next batch, and the seconds of waiting for it in which none ran.

    Args:
      batches: where it comes from.
      value: of the update under way; it is there when that is done.
    """
    ready = self._watch.submit(_when_ready, value)
    start = time.perf_counter()
    batch = next(batches)
    end = time.perf_counter()
    if not ready.done() or ready.exception():
      return batch, 0.0
    return batch, max(0.0, end - max(start, ready.result()))

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._watch.shutdown()


def _when_ready(value):
  jax.block_until_ready(value)
  return time.perf_counter()
