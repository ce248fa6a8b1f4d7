"""What the environment says of many processes."""

import glob
import os

import jax
import pytest
from jax._src import cloud_tpu_init

from early_experience.runtime import cluster, distributed
from early_experience.runtime.errors import UserError

SAID = {
  'JAX_COORDINATOR_ADDRESS': 'here:1',
  'JAX_NUM_PROCESSES': '2',
  'JAX_PROCESS_ID': '1',
}


@pytest.fixture
def machine(monkeypatch):
  """(variables, whether jax sees chips and libtpu) -> that machine."""
  prefixes = ('SLURM_', 'OMPI_', 'MEGASCALE_', 'TPU_')
  names = (*SAID, 'JAX_PLATFORMS', 'JAX_LOCAL_DEVICE_IDS')
  for name in list(os.environ):
    if name.startswith(prefixes) or name in (*names, 'CUDA_VISIBLE_DEVICES'):
      monkeypatch.delenv(name)

  def set_up(variables=(), tpu=False):
    for name, value in dict(variables).items():
      monkeypatch.setenv(name, value)
    monkeypatch.setattr(cloud_tpu_init, 'running_in_cloud_tpu_vm', tpu)

  return set_up


SLICES = {'MEGASCALE_NUM_SLICES': '2', 'TPU_WORKER_HOSTNAMES': 'a,b'}


@pytest.mark.parametrize(
  'variables, tpu, found',
  [
    ({}, False, ''),
    ({'SLURM_STEP_NUM_TASKS': '2'}, False, 'Slurm'),
    ({'SLURM_STEP_NUM_TASKS': '1'}, False, ''),
    ({'SLURM_STEP_NUM_TASKS': ''}, False, ''),
    ({'OMPI_COMM_WORLD_SIZE': '2'}, False, 'Open MPI'),
    ({'MEGASCALE_NUM_SLICES': '2'}, False, 'TPU slices'),
    ({'MEGASCALE_NUM_SLICES': ''}, False, ''),
    ({'TPU_WORKER_HOSTNAMES': 'a,b'}, False, 'a TPU pod'),
    ({'TPU_WORKER_HOSTNAMES': 'a'}, False, ''),
    ({'TPU_WORKER_HOSTNAMES': 'a,'}, False, ''),
    ({}, True, 'a TPU VM'),
    # Of another kind, whatever else the machine has.
    ({'JAX_PLATFORMS': 'cpu'}, True, ''),
    ({'JAX_PLATFORMS': 'cuda,cpu'} | SLICES, True, ''),
    ({'JAX_PLATFORMS': 'cpu', 'SLURM_STEP_NUM_TASKS': '2'}, True, 'Slurm'),
    ({'JAX_PLATFORMS': ''}, True, 'a TPU VM'),
    ({'JAX_PLATFORMS': 'tpu, cpu'}, True, 'a TPU VM'),
    # jax adds the sisters to the address by itself.
    ({'JAX_COORDINATOR_ADDRESS': 'a:1'}, True, 'a TPU VM'),
  ],
)
def test_who_started_the_processes_is_found(machine, variables, tpu, found):
  machine(variables, tpu)
  assert cluster.environment() == found


def test_devices_of_other_kinds_make_no_tpu_vm(machine, monkeypatch):
  """A host that hands GPUs on to guests has them below /dev/vfio too."""
  machine()
  monkeypatch.setattr(glob, 'glob', lambda *_: ['/dev/vfio/0', '/dev/accel0'])
  assert cluster.environment() == ''


@pytest.fixture
def joined(monkeypatch):
  """What jax is asked to join."""
  calls = []
  monkeypatch.setattr(
    jax.distributed, 'initialize', lambda *given, **_: calls.append(given)
  )
  return calls


def test_jax_s_own_variables_are_heard(machine, joined):
  machine(SAID)
  distributed.start('', 1, 0, 60)
  distributed.start('there:2', 3, 0, 60)  # flags go first
  assert joined == [('here:1', 2, 1), ('there:2', 3, 0)]


def test_a_stage_of_one_process_is_not_launched_by_them_either(machine):
  machine(SAID)
  assert cluster.launched() == 'JAX_COORDINATOR_ADDRESS'
  machine(SAID | {'JAX_NUM_PROCESSES': '1', 'JAX_PROCESS_ID': '0'})
  assert cluster.launched() == ''


@pytest.mark.parametrize('missing', SAID)
def test_variables_that_lack_a_sister_are_refused(machine, joined, missing):
  machine({name: value for name, value in SAID.items() if name != missing})
  with pytest.raises(UserError, match=f'but not {missing}: set all three'):
    distributed.start('', 1, 0, 60)
  machine({missing: ' '})
  with pytest.raises(UserError, match=f'but not {missing}: set all three'):
    distributed.start('', 1, 0, 60)
  assert joined == []


@pytest.mark.parametrize(
  'variables, said',
  [
    ({'JAX_COORDINATOR_ADDRESS': 'here'}, 'ADDRESS=here is no HOST:PORT'),
    ({'JAX_NUM_PROCESSES': 'two'}, "JAX_NUM_PROCESSES = 'two' is no number"),
    ({'JAX_PROCESS_ID': '2'}, 'needs N processes and this one as 0..N-1'),
    ({'MEGASCALE_NUM_SLICES': 'x'}, "MEGASCALE_NUM_SLICES = 'x' is no number"),
    ({'SLURM_STEP_NUM_TASKS': '-'}, "SLURM_STEP_NUM_TASKS = '-' is no number"),
  ],
)
def test_what_makes_no_sense_is_named(machine, joined, variables, said):
  machine(SAID | variables if 'JAX' in str(variables) else variables)
  with pytest.raises(UserError, match=said):
    distributed.start('', 1, 0, 60)
  assert joined == []


@pytest.mark.parametrize(
  'tasks, seen, place, own',
  [
    (2, '0,1,2,3,4,5,6,7', 0, []),  # one a node: all of them
    (16, '0,1,2,3,4,5,6,7', 3, [3]),
    (4, '0,1,2,3,4,5,6,7', 1, [4, 5, 6, 7]),
    (16, '5', 5, []),  # Slurm shows each task its own
    (16, None, 7, [7]),
    (16, '', 7, []),  # it shows them none
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
    | ({} if seen is None else {'CUDA_VISIBLE_DEVICES': seen})
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
  with pytest.raises(UserError, match='0..N-1, not 2 and 2'):
    distributed.start('localhost:1', 2, 2, 60)
  with pytest.raises(UserError, match='--coordinator=localhost is no HOST'):
    distributed.start('localhost', 2, 1, 60)


def test_devices_that_the_environment_names_are_taken(machine):
  machine({'JAX_LOCAL_DEVICE_IDS': '2, 3'})
  assert cluster.own_gpus() == [2, 3]
  machine({'JAX_LOCAL_DEVICE_IDS': 'GPU-1'})
  with pytest.raises(UserError, match="'GPU-1' is no list of numbers"):
    cluster.own_gpus()
