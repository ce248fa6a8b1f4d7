"""Runs independent units of work on many processes, in order, and survives.

A unit that raises, hangs or kills its worker is tried again, then given back
as a `Failure`; the others go on. Where its process died, others may be to
blame: memory that all of them used up, a node that was taken away. So where the
last try ended like that, as many follow with nothing beside it. Results come in
the order of the units, whoever is done first: what is written does not depend
on the number of workers, and a run that was killed and continued writes what an
undisturbed one does.
"""

import collections
import contextlib
import queue
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ml_collections import ConfigDict

from early_experience.work import local
from early_experience.work.units import Failure, attempt

# Results that may wait for an earlier, slower unit.
_AHEAD = 4096


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
  if cluster.address:
    from early_experience.work import ray  # an extra

    engine = ray.Ray(function, cluster, most)
  else:
    engine = local.Local(function, cluster, most)
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


class _Waiting:
  """A unit in line: the tries it has left, whether nothing may run beside it,
  and its result once it is `done`.
  """

  def __init__(self, unit, tries):
    self.unit, self.tries, self.alone = unit, tries, False
    self.done, self.result = False, None


def _in_order(engine, units, tries):
  units, more = iter(units), True
  line = collections.deque()  # as drawn; those at the head leave when done
  flying, landed = {}, queue.SimpleQueue()  # future -> its _Waiting; futures
  suspects = collections.deque()  # of those; they wait until nothing flies

  def launch(waiting):
    waiting.tries -= 1
    future = engine.submit(waiting.unit, waiting.alone)
    flying[future] = waiting
    future.add_done_callback(landed.put)

  def land(waiting, result):
    waiting.result = result
    if isinstance(result, Failure) and waiting.tries:
      (suspects.append if waiting.alone else launch)(waiting)
    elif not waiting.alone and _died(result):
      waiting.tries, waiting.alone = tries, True
      suspects.append(waiting)
    else:
      waiting.done = True

  while more or line:
    if suspects and not flying:
      launch(suspects.popleft())
    # One at a time: drawing may take long, and results should not wait.
    draws = more and len(flying) < engine.wanted() and len(line) < _AHEAD
    draws &= not suspects and not any(w.alone for w in flying.values())
    if draws:
      try:
        line.append(_Waiting(next(units), tries))
        launch(line[-1])
      except StopIteration:
        more = False
    with contextlib.suppress(queue.Empty):
      future = landed.get(block=bool(flying) and not draws)
      land(flying.pop(future), engine.result(future))
    while line and line[0].done:
      waiting = line.popleft()
      yield waiting.unit, waiting.result


def _died(result):
  return isinstance(result, Failure) and result.reason == 'crash'
