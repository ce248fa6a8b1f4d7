"""Many processes as one: starting them, taking turns, and being preempted."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from early_experience.runtime import cluster
from early_experience.runtime.errors import UserError


def start(
  coordinator: str, processes: int, process: int, timeout_seconds: int
) -> None:
  """Joins the other processes, before jax is used for anything.

  Args:
    coordinator: host:port of process 0; '' where the environment tells all.
    processes: how many there are.
    process: which this is.
    timeout_seconds: to wait for the others.

  Raises:
    UserError: the flags are not whole, or too few processes came in time.
  """
  if not coordinator and (processes, process) != (1, 0):
    raise UserError('--processes and --process need --coordinator=HOST:PORT')
  found = cluster.environment()
  if not coordinator and not found:
    return
  if coordinator and not 0 <= process < processes:
    raise UserError(
      f'--coordinator={coordinator} needs --processes=N and --process=0..N-1,'
      f' not {processes} and {process}'
    )
  explicit = (coordinator, processes, process) if coordinator else ()
  all_of_them = f'all {processes} processes' if coordinator else 'all processes'
  # jax itself would abort the interpreter, without a word of ours.
  alarm = threading.Timer(
    timeout_seconds,
    cluster.leave,
    (
      f'error: not {all_of_them} of {coordinator or found} came within'
      f' --start_timeout_seconds={timeout_seconds}',
      1,
    ),
  )
  alarm.daemon = True
  alarm.start()
  try:
    jax.distributed.initialize(
      *explicit,
      local_device_ids=cluster.own_gpus(),
      initialization_timeout=timeout_seconds + 60,
    )
  except (RuntimeError, ValueError) as error:
    reason = ' '.join(str(error).split())[:200]
    raise UserError(f'{coordinator or found}: {reason}') from error
  finally:
    alarm.cancel()


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


@contextlib.contextmanager
def preemption() -> Iterator[Callable[[int], bool]]:
  """Listens for SIGTERM, or what the cluster announces to any process.

  Yields:
    (update) -> whether to save now and leave. It is asked after every update,
    and true after the same one in every process.
  """
  if jax.process_count() > 1:
    yield multihost_utils.reached_preemption_sync_point
    return
  asked = threading.Event()
  if threading.current_thread() is not threading.main_thread():
    yield lambda update: False  # signals reach the main thread alone
    return
  before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
  try:
    yield lambda update: asked.is_set()
  finally:
    signal.signal(signal.SIGTERM, before)
