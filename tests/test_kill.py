"""Killed many times, in the middle of anything: the same end to the bit."""

import random
import signal
import time

import jax
import numpy as np
import pytest

from early_experience.runtime.cluster import AGAIN
from early_experience.training import metrics
from tests import waiting
from tests.test_processes import end, losses, params, start, wait_for
from tests.training_case import prepared

FLAGS = (
  '--config.mesh.fsdp=1',
  '--config.train.checkpoint_every_steps=3',
  '--config.train.log_every_steps=1',
)


def train(workdir):
  return start(workdir, 1, 0, 1, 0, *FLAGS)


@pytest.fixture(scope='module')
def straight(tmp_path_factory):
  workdir = prepared(tmp_path_factory.mktemp('straight'))
  end([train(workdir)])
  return workdir


def half_written(workdir):
  """Checkpoints that are half on the disk."""
  folder = workdir / 'train' / 'tiny' / 'checkpoints'
  return list(folder.glob('[0-9]*tmp*'))


def kill_in_a_save(process, workdir):
  """Kills when, the process standing still, a checkpoint is half written."""
  # What the last one left is removed first.
  waiting.until(lambda: not half_written(workdir), 'clean folder', poll=0.001)

  def look():
    if half_written(workdir):
      process.send_signal(signal.SIGSTOP)
      if half_written(workdir):
        return True
      process.send_signal(signal.SIGCONT)
    assert process.poll() is None, 'ended before it was seen to save'

  waiting.until(look, 'checkpoint half written', poll=0.001)
  process.kill()


def kill_after_lines(process, workdir, count):
  """Kills when the log has been written to so often, by the start first."""
  log, times = workdir / 'train' / 'tiny' / metrics.METRICS, set()

  def look():
    if log.exists():
      times.add(log.stat().st_mtime_ns)
    return len(times) > count or process.poll() is not None

  waiting.until(look, 'line of the log', poll=0.01)
  process.kill()


@pytest.mark.parametrize('kills', [3, pytest.param(10, marks=pytest.mark.slow)])
def test_kills_leave_no_trace(straight, tmp_path, kills):
  workdir, rng = prepared(tmp_path), random.Random(0)
  for kill in range(kills):
    process = train(workdir)
    if kill % 2:
      kill_in_a_save(process, workdir)
    else:
      kill_after_lines(process, workdir, rng.randint(1, 6))
    process.communicate(timeout=waiting.SECONDS)
    assert half_written(workdir) or not kill % 2
  end([train(workdir)])
  assert losses(workdir) == losses(straight)
  jax.tree.map(np.testing.assert_array_equal, params(workdir), params(straight))


@pytest.mark.parametrize(
  'number, code, word',
  [
    (signal.SIGTERM, AGAIN, 'preempted'),
    (signal.SIGHUP, AGAIN, 'preempted'),  # its terminal is gone
    (signal.SIGINT, 130, 'stopped'),
  ],
)
def test_told_to_leave_it_saves_at_once_and_goes_on(
  straight, tmp_path, number, code, word
):
  workdir = prepared(tmp_path)
  rare = '--config.train.checkpoint_every_steps=1000'
  process = start(workdir, 1, 0, 1, 0, *FLAGS, rare)
  wait_for(workdir, 4)
  process.send_signal(number)
  ((_, said),) = end([process], code)
  *_, last = said.splitlines()
  assert last.startswith(f'{word}: saved after update ')
  done = int(last.split('saved after update ')[1].split(';')[0])
  folder = workdir / 'train' / 'tiny' / 'checkpoints' / str(done)
  assert folder.is_dir()
  end([train(workdir)])
  assert losses(workdir) == losses(straight)
  jax.tree.map(np.testing.assert_array_equal, params(workdir), params(straight))


def test_a_second_ctrl_c_does_not_wait_for_the_save(tmp_path):
  workdir = prepared(tmp_path)
  process = start(workdir, 1, 0, 1, 0, *FLAGS)
  kill = lambda: process.send_signal(signal.SIGINT)
  wait_for(workdir, 2)
  waiting.until(lambda: half_written(workdir), 'save', poll=0.001)
  kill()
  time.sleep(1.5)  # no echo of the first
  kill()
  process.communicate(timeout=waiting.SECONDS)
  assert process.returncode == 130
