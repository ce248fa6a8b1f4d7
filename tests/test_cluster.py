"""What the environment says of many processes."""

import fnmatch
import glob
import importlib.util

import pytest

from early_experience.runtime import cluster, distributed
from early_experience.runtime.errors import UserError


@pytest.fixture
def machine(monkeypatch):
  """(variables, device files, whether libtpu is installed) -> that machine."""
  for name in (
    'SLURM_STEP_NUM_TASKS',
    'SLURM_STEP_NUM_NODES',
    'SLURM_GPUS_ON_NODE',
    'SLURM_LOCALID',
    'CUDA_VISIBLE_DEVICES',
    'MEGASCALE_NUM_SLICES',
    'TPU_WORKER_HOSTNAMES',
  ):
    monkeypatch.delenv(name, raising=False)

  def set_up(variables=(), files=(), libtpu=False):
    for name, value in dict(variables).items():
      monkeypatch.setenv(name, value)
    monkeypatch.setattr(
      glob, 'glob', lambda pattern: fnmatch.filter(files, pattern)
    )
    monkeypatch.setattr(
      importlib.util, 'find_spec', lambda name: libtpu or None
    )

  return set_up


@pytest.mark.parametrize(
  'settings, found',
  [
    ({}, ''),
    ({'variables': {'SLURM_STEP_NUM_TASKS': '2'}}, 'Slurm'),
    ({'variables': {'SLURM_STEP_NUM_TASKS': '1'}}, ''),
    ({'variables': {'MEGASCALE_NUM_SLICES': '2'}}, 'TPU slices'),
    ({'variables': {'TPU_WORKER_HOSTNAMES': 'a,b'}}, 'a TPU pod'),
    ({'variables': {'TPU_WORKER_HOSTNAMES': 'a'}}, ''),
    ({'files': ['/dev/accel0'], 'libtpu': True}, 'a TPU VM'),  # v4
    ({'files': ['/dev/vfio/vfio', '/dev/vfio/0'], 'libtpu': True}, 'a TPU VM'),
    ({'files': ['/dev/vfio/vfio'], 'libtpu': True}, ''),
    ({'files': ['/dev/vfio/96', '/dev/accel0']}, ''),  # of other devices
  ],
)
def test_who_started_the_processes_is_found(machine, settings, found):
  machine(**settings)
  assert cluster.environment() == found


@pytest.mark.parametrize(
  'tasks, seen, place, own',
  [
    (2, '0,1,2,3,4,5,6,7', 0, []),  # one a node: all of them
    (16, '0,1,2,3,4,5,6,7', 3, [3]),
    (4, '0,1,2,3,4,5,6,7', 1, [4, 5, 6, 7]),
    (16, '5', 5, []),  # Slurm shows each task its own
    (16, None, 7, [7]),
  ],
)
def test_processes_of_a_node_share_its_gpus(machine, tasks, seen, place, own):
  machine(
    {
      'SLURM_STEP_NUM_TASKS': str(tasks),
      'SLURM_STEP_NUM_NODES': '2',
      'SLURM_GPUS_ON_NODE': '8',
      'SLURM_LOCALID': str(place),
    }
    | ({'CUDA_VISIBLE_DEVICES': seen} if seen else {})
  )
  assert cluster.own_gpus() == own


def test_a_machine_without_slurm_or_gpus_deals_out_none(machine):
  machine()
  assert cluster.own_gpus() == []
  machine({'SLURM_STEP_NUM_TASKS': '2', 'SLURM_LOCALID': '1'})
  assert cluster.own_gpus() == []


def test_flags_of_many_processes_need_the_place_where_they_meet(machine):
  machine()
  with pytest.raises(UserError, match='need --coordinator'):
    distributed.start('', 2, 1, 60)
  with pytest.raises(UserError, match='process=0..N-1, not 2 and 2'):
    distributed.start('localhost:1', 2, 2, 60)
