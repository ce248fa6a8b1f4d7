"""Four real trainings of a sweep, which survives all that happens to them."""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from early_experience.sweeps import folder as sweep_folder
from early_experience.sweeps import table as sweep_table
from early_experience.sweeps.runs import expand
from tests import training_case, waiting
from tests.conftest import IN_A_HURRY

ROOT = pathlib.Path(__file__).parent.parent

# The third cannot be cut into its microbatches. The others are one program, so
# that it is compiled once: the sweep shares what it has compiled.
CONFIG = """
from early_experience import config, sweeps
from tests import training_case

def get_config():
  return training_case.config_of(
    checkpoint_every_steps=10,
    log_every_steps=10,
    stages=[config.stage(steps=120, lr_peak=1e-2)],
  )

def sweep():
  return sweeps.zipped({'seed': range(4), 'train.batch_rows': [8, 8, 7, 8]})
"""


def driver(*arguments):
  return [sys.executable, 'launch/sweep.py', *arguments]


class Trainings:
  """A sweep's folder, as one who watches it sees it."""

  def __init__(self, workdir):
    runs = json.loads((workdir / 'sweep.json').read_text())['runs']
    self.folders = [workdir / 'runs' / run['name'] for run in runs]

  def process(self, index, after=0):
    """Waits until a training has a checkpoint past an update; its process."""
    training = self.folders[index] / 'train' / 'tiny'

    def look():
      saved = training.glob('checkpoints/[0-9]*')
      return any(p.name.isdigit() and int(p.name) > after for p in saved)

    waiting.until(look, f'checkpoint past {after} in {training}')
    return int((training / '.lock').read_text().split()[1])

  def first_update(self, index):
    log = self.folders[index] / 'train' / 'tiny' / 'metrics.jsonl'
    return log.read_text().splitlines()[0]  # with the seconds it took


@pytest.mark.slow
def test_a_sweep_survives_failures_kills_and_preemption(tmp_path, monkeypatch):
  monkeypatch.setenv('XLA_FLAGS', IN_A_HURRY)
  path = tmp_path / 'swept.py'
  path.write_text(CONFIG)
  path = str(path)
  workdir = tmp_path / 'sweep'
  (workdir / 'shared').mkdir(parents=True)
  training_case.prepared(workdir / 'shared')
  flags = [f'--config={path}', f'--workdir={workdir}', '--stages=train']
  flags += ['--shared=prepare']

  # One of an array, preempted: it saves, and the scheduler is told to go on.
  sweep_folder.begin(workdir, path, expand(path))
  trainings = Trainings(workdir)
  monkeypatch.setenv('TASK', '3')
  process = subprocess.Popen(driver(*flags, '--index=TASK'), cwd=ROOT)
  trainings.process(3)
  process.send_signal(signal.SIGTERM)
  assert process.wait(waiting.SECONDS) == 75
  assert [row['state'] for row in sweep_table.rows(workdir)] == [
    *['waiting'] * 3,
    'begun',
  ]
  preempted = trainings.first_update(3)

  # All of them; the second dies.
  process = subprocess.Popen(
    driver(*flags, '--jobs=2'),
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  os.kill(trainings.process(1), signal.SIGKILL)
  _, errors = process.communicate(timeout=waiting.SECONDS)
  assert process.returncode == 1
  killed, refused = errors.splitlines()
  names = [folder.name for folder in trainings.folders]
  assert killed.startswith(f'failed: {names[1]}: train: signal 9')
  assert refused.startswith(f'failed: {names[2]}: train: exit code 1: error:')
  assert 'config.train.batch_rows = 7 cannot be cut' in refused
  assert trainings.first_update(3) == preempted
  dead = trainings.first_update(1)

  # Again; what was preempted on this machine is tried again on it.
  process = subprocess.Popen(
    driver(*flags), cwd=ROOT, stdout=subprocess.PIPE, text=True
  )
  saved = max(
    int(p.name)
    for p in trainings.folders[1].glob('train/tiny/checkpoints/[0-9]*')
    if p.name.isdigit()
  )
  os.kill(trainings.process(1, after=saved), signal.SIGTERM)
  output, _ = process.communicate(timeout=waiting.SECONDS)
  assert process.returncode == 1
  done = [line for line in output.splitlines() if 'finished before' in line]
  assert done == [f'{names[i]}: finished before' for i in (0, 3)]
  assert trainings.first_update(1) == dead
  log = (trainings.folders[1] / 'log.txt').read_text()
  assert log.count('+ ') == 3
  assert log.count('preempted: saved') == 1

  text = (workdir / 'table.csv').read_text()
  table = list(csv.DictReader(text.splitlines()))
  states = [row['state'] for row in table]
  assert states == ['finished', 'finished', 'failed', 'finished']
  assert [row['updates'] for row in table] == ['120', '120', '', '120']
  assert all(row['train.batch_rows'] for row in table)
  printed = output.splitlines()[-6:-1]
  assert [line.split()[:2] for line in printed[1:]] == [
    list(pair) for pair in zip(names, states, strict=True)
  ]
