"""Waiting for other processes, on machines that may be slow."""

import time
from collections.abc import Callable

SECONDS = 600  # far more than is needed; a test's own time limit is 900


def until(look: Callable, what: object, poll: float = 0.05):
  """The first true answer of `look`.

  Raises:
    TimeoutError: `what` did not come within `SECONDS`.
  """
  end = time.monotonic() + SECONDS
  while time.monotonic() < end:
    if found := look():
      return found
    time.sleep(poll)
  raise TimeoutError(f'no {what} within {SECONDS} s')
