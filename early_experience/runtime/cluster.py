"""What the environment says of many processes; without jax."""

import glob
import importlib.util
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
  # A TPU VM tells its pod by its metadata, which jax asks. What is there to see
  # of its chips, up to v4 and later, other machines may have for other devices.
  chips = glob.glob('/dev/accel[0-9]*') + glob.glob('/dev/vfio/[0-9]*')
  return 'a TPU VM' if chips and importlib.util.find_spec('libtpu') else ''


def own_gpus() -> list[int]:
  """Which of the GPUs that this process sees are its own; []: all.

  Processes that Slurm starts on one node share its GPUs evenly. jax alone would
  take one GPU for each process, and leave the others idle.
  """
  number = lambda name: int(os.environ.get(name, '1'))
  here = number('SLURM_STEP_NUM_TASKS') // number('SLURM_STEP_NUM_NODES')
  each = int(os.environ.get('SLURM_GPUS_ON_NODE', '0')) // max(1, here)
  seen = os.environ.get('CUDA_VISIBLE_DEVICES')
  if here < 2 or (seen and len(seen.split(',')) <= each):
    return []  # alone on the node, or Slurm has dealt them out itself
  first = int(os.environ['SLURM_LOCALID']) * each
  return list(range(first, first + each))
