"""Many processes as one: starting them, taking turns, and being preempted."""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from early_experience.runtime import cluster
from early_experience.runtime.errors import UserError
from early_experience.runtime.process import ASKING, noted


def start(
  coordinator: str,
  processes: int,
  process: int,
  timeout_seconds: int,
  peer_timeout_seconds: int = 60,
) -> None:
  """Joins the other processes, before jax is used for anything.

  Args:
    coordinator: host:port of process 0; '' where the environment tells all.
    processes: how many there are.
    process: which this is.
    timeout_seconds: to wait for the others.
    peer_timeout_seconds: of silence, after which one of them is dead.

  Raises:
    UserError: the flags are not whole, or too few processes came in time.
  """
  explicit = _explicit(coordinator, processes, process)
  found = explicit[0] if explicit else cluster.environment()
  if not found:
    return
  all_of_them = f'all {explicit[1]} processes' if explicit else 'all processes'
  # jax itself would abort the interpreter, without a word of ours.
  alarm = threading.Timer(
    timeout_seconds,
    cluster.leave,
    (
      f'error: not {all_of_them} of {found} came within'
      f' --start_timeout_seconds={timeout_seconds}',
      1,
    ),
  )
  alarm.daemon = True
  alarm.start()
  try:
    jax.distributed.initialize(
      *(explicit or ()),
      local_device_ids=cluster.own_gpus(),
      initialization_timeout=timeout_seconds + 60,
      heartbeat_timeout_seconds=peer_timeout_seconds,
    )
  except (RuntimeError, ValueError) as error:
    reason = ' '.join(str(error).split())[:200]
    raise UserError(f'{found}: {reason}') from error
  finally:
    alarm.cancel()


def many(coordinator: str, processes: int, process: int) -> bool:
  """Whether `start` would find others.

  Raises:
    UserError: as `start`, of what is not whole.
  """
  explicit = _explicit(coordinator, processes, process)
  return bool(explicit or cluster.environment())


def _explicit(coordinator, processes, process):
  if coordinator:
    cluster.check(coordinator, processes, process, '--coordinator')
    return coordinator, processes, process
  if (processes, process) != (1, 0):
    raise UserError('--processes and --process need --coordinator=HOST:PORT')
  return cluster.explicit()


def is_first() -> bool:
  """Whether this process writes what only one may write."""
  return jax.process_index() == 0


def all_agree(value: bool) -> bool:
  """Whether it is true in every process; waits for all of them."""
  if jax.process_count() == 1:
    return value
  # A mesh of its own: it is also asked where another one is set.
  mesh = Mesh(np.array(jax.devices()), ('all',), (AxisType.Explicit,))
  with jax.set_mesh(mesh):
    votes = jax.make_array_from_callback(
      (jax.device_count(),),
      NamedSharding(mesh, PartitionSpec('all')),
      lambda index: np.full(1, value),
    )
    return bool(jax.jit(jnp.all)(votes))


def barrier() -> None:
  """Waits until all processes are here."""
  all_agree(True)


def first_then_all(do: Callable[[], object]) -> object:
  """Does something in the first process, and then in each of the others."""
  result = do() if is_first() else None
  barrier()
  return result if is_first() else do()


def share(items: Sequence) -> Sequence:
  """This process's part of what all of them are to do."""
  return items[jax.process_index() :: jax.process_count()]


def gathered(value: Any) -> list:
  """What each process has, which is JSON, in their order and in all of them."""
  if jax.process_count() == 1:
    return [value]
  text = np.frombuffer(json.dumps(value).encode(), np.uint8)
  sizes = multihost_utils.process_allgather(np.int32(len(text)))
  padded = np.pad(text, (0, sizes.max() - len(text)))
  texts = multihost_utils.process_allgather(padded)
  return [
    json.loads(text[:size].tobytes())
    for text, size in zip(texts, sizes, strict=True)
  ]


@contextlib.contextmanager
def preemption(
  seldom: bool = False,
) -> Iterator[Callable[[int], type[BaseException] | None]]:
  """Listens to who asks a training to stop: a signal, in any process.

  Before the first update there is nothing to save: a signal ends it there as it
  ends other stages.

  Args:
    seldom: it is asked once an iteration of `rl`, so seldom that the processes
      may wait for each other; a signal is answered with a word at once. Else
      jax tells them, by a handler of SIGTERM that is lost where a process of
      environments is started.

  Yields:
    (update) -> what to raise of it once the state is saved; None: go on. It is
    asked after every update, and says so after the same one in every process.
  """
  asked, many = [], jax.process_count() > 1
  by_jax = many and not seldom

  def note(number):
    if seldom and not asked:  # it may take minutes; Python's own may not nest
      os.write(2, b'asked to stop: it ends after this iteration\n')
    asked.append(number)
    if by_jax:  # which jax announces to the other processes
      os.kill(os.getpid(), signal.SIGTERM)

  with contextlib.ExitStack() as heard:
    begun = False

    def leaves(update):
      nonlocal begun
      if not begun:
        own = [n for n in ASKING if n != signal.SIGTERM or not by_jax]
        heard.enter_context(noted(note, *own))
        begun = True
      if by_jax:
        leave = multihost_utils.reached_preemption_sync_point(update)
      else:
        leave = not all_agree(not asked)
      if not leave:
        return None
      by_hand = signal.SIGINT in asked
      return cluster.Interrupted if by_hand else cluster.Preempted

    try:
      yield leaves
    except (cluster.Interrupted, cluster.Preempted) as stopped:
      if many and stopped.args:
        # Together: jax ends those whose first process is gone.
        jax.distributed.shutdown()
      raise
