"""What the environment says of many processes, and leaving; without jax."""

import contextlib
import os
import sys
import threading

from early_experience.runtime.errors import UserError

_ADDRESS = 'JAX_COORDINATOR_ADDRESS'
_COUNTS = 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID'
_DEVICES = 'JAX_LOCAL_DEVICE_IDS'

AGAIN = 75  # exit code (EX_TEMPFAIL): the same command will go on


class Preempted(BaseException):
  """It was told to leave; of a training that saved, after which update."""


class Interrupted(KeyboardInterrupt):
  """A person stopped a training, which saved: after which update."""


_leaving = threading.Lock()


def leave(message: str, code: int) -> None:
  """Ends here and now: libraries that clean up first would wait for others."""
  _leaving.acquire()  # one thread says why
  with contextlib.suppress(OSError, ValueError):
    live = sys.stderr.isatty()  # over the line of its progress
    print('\r\x1b[2K' * live + message, file=sys.stderr, flush=True)
    sys.stdout.flush()
  os._exit(code)


def launched() -> str:
  """Who started this as one process of many; '' where nobody did.

  Raises:
    UserError: what the environment says of it makes no sense.
  """
  if _number('SLURM_STEP_NUM_TASKS', 1) > 1:
    return 'Slurm'
  if _number('OMPI_COMM_WORLD_SIZE', 1) > 1:
    return 'Open MPI'
  given = explicit()
  return _ADDRESS if given and given[1] > 1 else ''


def explicit() -> tuple[str, int, int] | None:
  """(host:port, processes, process) as jax's three variables say together.

  Raises:
    UserError: one of them is malformed.
  """
  address = os.environ.get(_ADDRESS, '').strip()
  processes, process = (_number(name, None) for name in _COUNTS)
  if not address or processes is None or process is None:
    return None
  check(address, processes, process, _ADDRESS)
  return address, processes, process


def check(address: str, processes: int, process: int, source: str) -> None:
  """Raises UserError where these cannot be; `source` says who gave them."""
  host, _, port = address.rpartition(':')
  if not host or not port.isdecimal():
    raise UserError(f'{source}={address} is no HOST:PORT')
  if not 0 <= process < processes:
    raise UserError(
      f'{source}={address} needs N processes and this one as 0..N-1, not'
      f' {processes} and {process}'
    )


def environment() -> str:
  """Where jax finds the other processes by itself; '' where it does not.

  Raises:
    UserError: a variable that says so is malformed, or lacks its sisters.
  """
  found = launched()
  if not found and _may_be_tpu():
    found = _tpus()
  told = [_ADDRESS, *_COUNTS]
  missing = [name for name in told if not os.environ.get(name, '').strip()]
  if not found and 0 < len(missing) < len(told):
    raise UserError(
      f'{", ".join(name for name in told if name not in missing)} set, but not'
      f' {", ".join(missing)}: set all three, or none'
    )
  return found


def _may_be_tpu():
  platforms = os.environ.get('JAX_PLATFORMS', '').replace(' ', '')
  return not platforms or 'tpu' in platforms.split(',')


def _tpus():
  if _number('MEGASCALE_NUM_SLICES', 1) > 1:
    return 'TPU slices'
  if ',' in os.environ.get('TPU_WORKER_HOSTNAMES', '').strip(', '):
    return 'a TPU pod'
  # A TPU VM tells its pod by its metadata, which jax asks where it has seen a
  # chip and libtpu. What lies in /dev may be any device that is handed on to a
  # guest.
  from jax._src import cloud_tpu_init

  return 'a TPU VM' if cloud_tpu_init.running_in_cloud_tpu_vm else ''


def own_gpus() -> list[int]:
  """Which of the GPUs that this process sees are its own; []: all.

  Processes that Slurm starts on one node share its GPUs evenly. jax alone would
  take one GPU for each process, and leave the others idle.

  Raises:
    UserError: a variable that says so is malformed.
  """
  if given := os.environ.get(_DEVICES, '').strip():
    try:
      return [int(one) for one in given.split(',')]
    except ValueError:
      raise UserError(f'{_DEVICES} = {given!r} is no list of numbers') from None
  nodes = max(1, _number('SLURM_STEP_NUM_NODES', 1))
  here = _number('SLURM_STEP_NUM_TASKS', 1) // nodes
  each = _number('SLURM_GPUS_ON_NODE', 0) // max(1, here)
  seen = os.environ.get('CUDA_VISIBLE_DEVICES')
  dealt = seen is not None and len(list(filter(None, seen.split(',')))) <= each
  if here < 2 or dealt:
    return []  # alone on the node, or Slurm has dealt them out itself
  first = _number('SLURM_LOCALID', 0) * each
  return list(range(first, first + each))


def _number(name, default):
  """A variable as a number; one that is empty counts as unset."""
  given = os.environ.get(name, '').strip()
  if not given:
    return default
  if not given.isdecimal():
    raise UserError(
      f'the environment variable {name} = {given!r} is no number: unset it, or'
      ' set it right'
    )
  return int(given)
