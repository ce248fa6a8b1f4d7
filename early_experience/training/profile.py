"""A profiler's trace of some updates, for xprof or Perfetto."""

import pathlib

import jax


class Profile:
  """Traces the updates first..last into `FOLDER/profile`.

  Args:
    folder: of the training.
    steps: (first, last) updates over all stages; (0, 0) traces nothing.
  """

  def __init__(self, folder, steps: tuple[int, int]):
    self._folder = pathlib.Path(folder) / 'profile'
    self._first, self._last = steps
    self._on = False

  def before(self, done: int, state) -> None:
    """To be called before every update.

    Args:
      done: updates done so far.
      state: what the device works on; its end is awaited where a trace ends.
    """
    if self._on and done >= self._last:
      jax.block_until_ready(state)
      self.close()
    elif not self._on and self._first and done + 1 == self._first:
      jax.profiler.start_trace(str(self._folder))
      self._on = True

  def close(self) -> None:
    """Ends a trace that is under way."""
    if self._on:
      self._on = False
      jax.profiler.stop_trace()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()
