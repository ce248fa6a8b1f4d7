"""What the environment says of many processes; without jax."""

import glob
import os
import sys

AGAIN = 75  # exit code (EX_TEMPFAIL): the same command will go on


class Preempted(Exception):
  """The state is saved, and the machine is about to go."""


def leave(message: str, code: int) -> None:
  """Ends here and now: libraries that clean up first would wait for others."""
  print(message, file=sys.stderr, flush=True)
  sys.stdout.flush()
  os._exit(code)


def launched() -> str:
  """Who started this as one process of many; '' where nobody did."""
  return 'Slurm' if int(os.environ.get('SLURM_STEP_NUM_TASKS', '1')) > 1 else ''


def environment() -> str:
  """Where jax finds the other processes by itself; '' where it does not."""
  if launched():
    return launched()
  if int(os.environ.get('MEGASCALE_NUM_SLICES', '1')) > 1:
    return 'TPU slices'
  if ',' in os.environ.get('TPU_WORKER_HOSTNAMES', ''):
    return 'a TPU pod'
  # A TPU VM tells its pod by its metadata, which jax asks.
  return 'a TPU VM' if glob.glob('/dev/accel[0-9]*') else ''
