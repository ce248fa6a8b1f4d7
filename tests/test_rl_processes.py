"""Real processes: they play a share each, and learn as one."""

import json
import pathlib
import shutil
import signal

import jax
import pytest

from early_experience import collect, prepare
from early_experience.runtime.cluster import AGAIN
from early_experience.training import architecture, restore
from tests import close, waiting
from tests.test_processes import end, free_port, start_stage
from tests.test_rl import config_of, make
from tests.training_case import mesh_of, to_numpy

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).parent.parent
ITERATIONS = 5
CONFIG = f"""
from tests.close import in_float64
from tests.test_rl import config_of

def get_config():
  config = in_float64(config_of())
  config.env.name = 'tests.toy_env:Told'
  config.env.kwargs.tasks = 32
  config.cluster.workers = 1
  config.rl.start = 'init'
  config.rl.update(iterations={ITERATIONS}, batch_rows=4, invalid_penalty=0.1)
  config.rl.mixed_rows, config.rl.rows = 1, {{'expert': 1.0}}
  config.rl.weights.imitation = 0.1
  config.model.max_tokens = 128
  config.mesh.fsdp = -1
  return config
"""


def start(workdir, devices, process=0, processes=1, port=0):
  (workdir / 'config.py').write_text(CONFIG)
  flags = ['--peer_timeout_seconds=5'] * (processes > 1)
  return start_stage('rl', workdir, devices, process, processes, port, flags)


def start_two(workdir):
  port = free_port()
  return [start(workdir, 2, i, 2, port) for i in range(2)]


@pytest.fixture(scope='module')
def one(tmp_path_factory):
  """One process with all devices."""
  workdir = tmp_path_factory.mktemp('one')
  config = config_of()
  collect.collect_from(make(), config, workdir)
  prepare.prepare(config, workdir)
  end([start(workdir, 4)])
  return workdir


def lines(workdir):
  path = workdir / 'rl' / 'joint' / 'metrics.jsonl'
  text = path.read_text() if path.exists() else ''
  return [json.loads(line) for line in text.splitlines()]


def wait_for(workdir, count):
  waiting.until(lambda: len(lines(workdir)) >= count, f'line {count}')


def played(workdir):
  """What was done in each episode, by iteration, task and member."""
  found = {}
  for path in sorted((workdir / 'rl' / 'joint' / 'rollouts').iterdir()):
    for line in path.read_text().splitlines():
      record = json.loads(line)
      actions = [step['action'] for step in record['steps']]
      found[path.name, record['task_id'], record['member']] = actions
  return found


def params(workdir):
  folder = workdir / 'rl' / 'joint' / 'checkpoints'
  mesh = mesh_of((1, 1, 1))
  with close.float64_in_all_threads(), jax.set_mesh(mesh):
    cfg, _ = architecture.read(folder)
    return to_numpy(restore.load_params(folder, cfg, mesh))


def test_two_processes_learn_as_one_does_whatever_stops_them(one, tmp_path):
  workdir = pathlib.Path(
    shutil.copytree(one / 'prepare', tmp_path / 'prepare')
  ).parent
  both = start_two(workdir)
  wait_for(workdir, 1)
  both[1].send_signal(signal.SIGTERM)
  said = end(both, AGAIN)
  assert all('the same command goes on' in err for _, err in said)
  assert 'asked to stop: it ends after this iteration' in said[1][1]
  both = start_two(workdir)
  wait_for(workdir, len(lines(workdir)) + 1)
  both[1].kill()
  _, err = both[0].communicate(timeout=waiting.SECONDS)
  both[1].communicate()
  assert 'process 1 of this training has ended' in err
  assert len(lines(workdir)) < ITERATIONS
  said = end(start_two(workdir))
  assert 'rl joint: 5 updates' in said[0][0]
  assert 'rl joint' not in said[1][0]  # one process speaks
  assert played(workdir) == played(one)
  assert len(lines(workdir)) == len(lines(one)) == ITERATIONS + 1
  for ours, theirs in zip(lines(workdir), lines(one), strict=True):
    assert ours.keys() == theirs.keys()
    for key in set(ours) & {
      'reward',
      'environment_steps',
      'loss',
      'panel/rate',
    }:
      assert ours[key] == pytest.approx(theirs[key], rel=1e-6)
  close.assert_exact(params(workdir), params(one), share=1e-8)
