"""Real processes: they train as one, leave when told, and go on elsewhere."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import pytest

from early_experience.runtime.cluster import AGAIN
from early_experience.training import architecture, metrics, restore
from tests import close, waiting
from tests.conftest import IN_A_HURRY
from tests.training_case import mesh_of, prepared, to_numpy

ROOT = pathlib.Path(__file__).parent.parent
CONFIG = """
from early_experience.config import stage
from tests.close import in_float64
from tests.training_case import config_of

def get_config():
  rows = {'world': 1.0, 'expert': 0.5}
  # A line for each update: told to leave, a training ends one early.
  config = in_float64(config_of(batch_rows=16, log_every_steps=1))
  config.train.checkpoint_every_steps = 10
  config.train.stages = [
    # Of one length, so that one program serves both.
    stage(steps=20, lr_peak=1e-2, rows=rows),
    stage(steps=20, lr_peak=1e-2, reset_optimizer=False),
  ]
  config.mesh.fsdp = -1
  return config
"""


def start(workdir, devices, process=0, processes=1, port=0, *flags):
  """One process of a training with so many fake devices."""
  (workdir / 'config.py').write_text(CONFIG)
  return start_stage('train', workdir, devices, process, processes, port, flags)


def start_stage(stage, workdir, devices, process, processes, port, flags):
  """One process of a stage, of the config in its workdir."""
  several = [
    f'--coordinator=localhost:{port}',
    f'--processes={processes}',
    f'--process={process}',
  ]
  return subprocess.Popen(
    [
      sys.executable,
      '-m',
      f'early_experience.{stage}',
      f'--config={workdir / "config.py"}',
      f'--workdir={workdir}',
      *(several if processes > 1 else []),
      *flags,
    ],
    cwd=ROOT,
    env=os.environ
    | {
      'PYTHONPATH': str(ROOT),
      'JAX_ENABLE_X64': '1',
      'XLA_FLAGS': (
        f'--xla_force_host_platform_device_count={devices} {IN_A_HURRY}'
      ),
    },
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def free_port():
  with socket.socket() as found:
    found.bind(('localhost', 0))
    return found.getsockname()[1]


def start_two(workdir, *flags):
  port = free_port()
  return [start(workdir, 4, i, 2, port, *flags) for i in range(2)]


def end(processes, code=0):
  """Waits; returns what each said on stdout and stderr."""
  said = [process.communicate(timeout=waiting.SECONDS) for process in processes]
  for process, (out, err) in zip(processes, said, strict=True):
    assert process.returncode == code, (out, err[-2000:])
  return said


def wait_for(workdir, step):
  """Until a line of the log has come so far."""
  path = workdir / 'train' / 'tiny' / metrics.METRICS
  waiting.until(
    lambda: path.exists() and len(path.read_text().splitlines()) >= step,
    f'update {step} in {path}',
  )


def losses(workdir):
  text = (workdir / 'train' / 'tiny' / metrics.METRICS).read_text()
  return [json.loads(line)['loss'] for line in text.splitlines()]


def params(workdir):
  folder = workdir / 'train' / 'tiny' / 'checkpoints'
  mesh = mesh_of((1, 1, 1))
  with close.float64_in_all_threads(), jax.set_mesh(mesh):
    cfg, _ = architecture.read(folder)
    return to_numpy(restore.load_params(folder, cfg, mesh))


def copy(workdir, to):
  return pathlib.Path(
    shutil.copytree(workdir / 'prepare', to / 'prepare')
  ).parent


@pytest.fixture(scope='module')
def one(tmp_path_factory):
  """A training by one process with eight devices."""
  workdir = prepared(tmp_path_factory.mktemp('one'))
  end([start(workdir, 8)])
  return workdir


@pytest.fixture(scope='module')
def stopped(one, tmp_path_factory):
  """Two processes of four devices, of which one was told to leave."""
  workdir = copy(one, tmp_path_factory.mktemp('stopped'))
  both = start_two(workdir)
  wait_for(workdir, 12)  # there is an older checkpoint then
  both[1].send_signal(signal.SIGTERM)
  said = end(both, AGAIN)
  assert all('the same command goes on' in err for _, err in said)
  assert len(losses(workdir)) < len(losses(one))
  return workdir


def assert_same_training(a, b):
  # Each of 40 updates of Adam makes more of the rounding of those before it.
  close.assert_exact(losses(a), losses(b), share=1e-8)
  close.assert_exact(params(a), params(b), share=1e-8)


def test_two_processes_train_as_one_does(one, stopped, tmp_path):
  workdir = tmp_path / 'again'
  shutil.copytree(stopped, workdir)
  # One of them meets damage in its part of the newest checkpoint.
  checkpoints = (workdir / 'train' / 'tiny' / 'checkpoints').glob('[0-9]*')
  newest = max(checkpoints, key=lambda path: int(path.name))
  (part,) = newest.glob('params/ocdbt.process_1/d/*')
  part.write_bytes(bytes(255 - byte for byte in part.read_bytes()))
  said = end(start_two(workdir))
  assert f'{newest} cannot be read' in said[0][1]
  assert_same_training(one, workdir)
  assert 'train tiny: 40 updates' in said[0][0]
  assert 'train' not in said[1][0]  # one process speaks


@pytest.mark.parametrize(
  'sizes', [(2, 2, 2), pytest.param((1, 8, 1), marks=pytest.mark.slow)]
)
def test_one_process_goes_on_with_what_two_began(one, stopped, tmp_path, sizes):
  workdir = tmp_path / 'elsewhere'
  shutil.copytree(stopped, workdir)
  data, fsdp, tensor = sizes
  end(
    [
      start(
        workdir,
        8,
        0,
        1,
        0,
        f'--config.mesh.data={data}',
        f'--config.mesh.fsdp={fsdp}',
        f'--config.mesh.tensor={tensor}',
      )
    ]
  )
  assert_same_training(one, workdir)


def test_processes_may_share_a_row(one, tmp_path):
  """Where `tensor` spans both processes, both need the same rows."""
  workdir = copy(one, tmp_path)
  port = free_port()
  mesh = '--config.mesh.fsdp=1', '--config.mesh.tensor=2'
  both = [start(workdir, 1, i, 2, port, *mesh) for i in range(2)]
  wait_for(workdir, 6)
  both[0].send_signal(signal.SIGTERM)  # the rest would show no more
  end(both, AGAIN)
  close.assert_exact(losses(workdir)[:6], losses(one)[:6])


def test_too_few_processes_are_told_after_the_time_given(one, tmp_path):
  workdir = copy(one, tmp_path)
  alone = start(workdir, 4, 0, 2, free_port(), '--start_timeout_seconds=3')
  out, err = alone.communicate(timeout=waiting.SECONDS)
  assert alone.returncode != 0
  assert 'start_timeout_seconds=3' in err


@pytest.mark.parametrize('dead', [1, pytest.param(0, marks=pytest.mark.slow)])
def test_where_one_dies_the_others_say_so_and_the_command_goes_on(
  one, tmp_path, dead
):
  workdir = copy(one, tmp_path)
  both = start_two(workdir, '--peer_timeout_seconds=5')
  wait_for(workdir, 12)
  both[dead].kill()
  began = time.monotonic()
  _, said = both[1 - dead].communicate(timeout=waiting.SECONDS)
  assert time.monotonic() - began < 60
  both[dead].communicate()
  assert both[1 - dead].returncode == 1
  *_, last = lines = said.splitlines()
  assert last.startswith(f'error: process {dead} of this training has ended')
  assert all(' updates ' in line for line in lines[:-1]), 'of the progress'
  if dead:  # it says the same of the other
    end(start_two(workdir))
    assert_same_training(one, workdir)


def test_a_ctrl_c_at_one_of_them_saves_and_ends_all(one, tmp_path):
  workdir = copy(one, tmp_path)
  both = start_two(workdir)
  wait_for(workdir, 2)
  both[1].send_signal(signal.SIGINT)
  said = [process.communicate(timeout=waiting.SECONDS) for process in both]
  assert [process.returncode for process in both] == [AGAIN, 130]
  (done,) = {err.split('saved after update ')[1] for _, err in said}
  assert done.endswith('; the same command goes on\n')
  update = done.split(';')[0]
  assert (workdir / 'train' / 'tiny' / 'checkpoints' / update).is_dir()


def test_a_folder_in_use_is_refused(one, tmp_path):
  workdir = copy(one, tmp_path)
  first = start(workdir, 8)
  wait_for(workdir, 2)
  first.send_signal(signal.SIGSTOP)  # it shall not be done before the second
  second = start(workdir, 8)
  _, err = second.communicate(timeout=waiting.SECONDS)
  first.kill()
  first.communicate()
  assert second.returncode == 1
  assert f'in use by process {first.pid}' in err
