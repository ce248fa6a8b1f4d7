"""Killed in the middle of anything: the same updates, to the bit."""

import contextlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from early_experience import collect, prepare, train
from early_experience.training import architecture, restore
from tests import waiting
from tests.conftest import IN_A_HURRY
from tests.test_rl import config_of, make
from tests.training_case import mesh_of, to_numpy

ROOT = pathlib.Path(__file__).parent.parent
DONE = (0, 1, 3, 3, 5)
CONFIG = """
from tests.test_rl import config_of

def get_config():
  config = config_of(evaluate__constrained=False)
  config.env.name = 'tests.toy_env:Told'
  config.env.kwargs.tasks = 32
  config.rl.update(iterations=6, checkpoint_every=2, invalid_penalty=0.1)
  config.rl.mixed_rows, config.rl.rows = 1, {'expert': 1.0}
  config.rl.weights.imitation = 0.1
  config.model.max_tokens = 128
  return config
"""


def start(workdir, config=CONFIG):
  (workdir / 'config.py').write_text(config)
  return subprocess.Popen(
    [
      sys.executable,
      '-m',
      'early_experience.rl',
      f'--config={workdir}/config.py',
      f'--workdir={workdir}',
    ],
    cwd=ROOT,
    env=os.environ | {'PYTHONPATH': str(ROOT), 'XLA_FLAGS': IN_A_HURRY},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def end(process):
  out, err = process.communicate(timeout=waiting.SECONDS)
  assert process.returncode == 0, (out, err[-2000:])


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('trained')
  config = config_of()
  collect.collect_from(make(), config, workdir)
  prepare.prepare(config, workdir)
  train.train(config, workdir)
  return workdir


def copy(trained, to):
  for name in ('prepare', 'train'):
    shutil.copytree(trained / name, to / name)
  return to


@pytest.fixture(scope='module')
def straight(trained, tmp_path_factory):
  workdir = copy(trained, tmp_path_factory.mktemp('straight'))
  end(start(workdir))
  return workdir


def rollouts(workdir):
  folder = workdir / 'rl' / 'joint' / 'rollouts'
  return {path.name: path.read_bytes() for path in folder.glob('it*.jsonl')}


def lines(workdir):
  """All but how long it took, and whether anything was sampled for it."""
  text = (workdir / 'rl' / 'joint' / 'metrics.jsonl').read_text()
  return [
    {k: v for k, v in json.loads(line).items() if not k.startswith('seconds')}
    for line in text.splitlines()
  ]


def params(workdir):
  folder = workdir / 'rl' / 'joint' / 'checkpoints'
  cfg, _ = architecture.read(folder)
  mesh = mesh_of((1, 1, 1))
  with jax.set_mesh(mesh):
    return to_numpy(restore.load_params(folder, cfg, mesh))


def changes(workdir):
  """What is in the folder, down to its times."""
  found = {}
  for folder, _, names in os.walk(workdir / 'rl'):
    for path in (folder, *(os.path.join(folder, name) for name in names)):
      with contextlib.suppress(FileNotFoundError):  # it was renamed
        found[path] = os.stat(path).st_mtime_ns
  return found


def kill(process, workdir, done, after):
  """Kills when so many lines are written and the folder changed so often."""
  log = workdir / 'rl' / 'joint' / 'metrics.jsonl'
  written = lambda: log.read_bytes().count(b'\n') if log.exists() else 0
  ended = lambda: process.poll() is not None
  waiting.until(lambda: written() >= done or ended(), 'line', poll=0.002)
  seen, count = changes(workdir), 0

  def look():
    nonlocal seen, count
    now = changes(workdir)
    count, seen = count + (now != seen), now
    return count >= after or ended()

  waiting.until(look, 'change', poll=0.002)
  process.kill()
  process.communicate(timeout=waiting.SECONDS)


def test_kills_leave_no_trace(trained, straight, tmp_path):
  workdir, rng = copy(trained, tmp_path), random.Random(0)
  # Checkpoints are of 2, 4 and 6 iterations: before the first, and after each.
  for done in DONE:
    kill(start(workdir), workdir, done, rng.randint(1, 12))
  end(start(workdir))
  assert_same(workdir, straight)
  assert sum(line.get('updates', 0) for line in lines(workdir)) >= 5


def assert_same(workdir, straight):
  """To the bit."""
  assert rollouts(workdir) == rollouts(straight)
  assert lines(workdir) == lines(straight)
  jax.tree.map(np.testing.assert_array_equal, params(workdir), params(straight))
