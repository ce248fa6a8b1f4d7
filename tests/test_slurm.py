"""A real Slurm of one machine: jobs that are preempted, cancelled, swept."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

from early_experience.sweeps import table
from tests import training_case, waiting
from tests.conftest import IN_A_HURRY

ROOT = pathlib.Path(__file__).parent.parent
CONFIG = """
from early_experience import config
from tests import training_case

def get_config():
  return training_case.config_of(
    checkpoint_every_steps=10,
    log_every_steps=10,
    stages=[config.stage(steps=120, lr_peak=1e-2)],
  )
"""
SWEEP = """
from configs.tiny import get_config
from early_experience import sweeps

def sweep():
  return sweeps.product({'explore.k': [1, 2]})
"""

if os.getuid() or not all(map(shutil.which, ('slurmctld', 'slurmd', 'munged'))):
  pytest.skip(
    'needs root, and: apt-get install slurmctld slurmd slurm-client munge',
    allow_module_level=True,
  )


@pytest.fixture(scope='module', autouse=True)
def cluster():
  # Not below pytest's own folders: those are closed to munge's user.
  with (
    tempfile.TemporaryDirectory(prefix='slurm-') as folder,
    pytest.MonkeyPatch.context() as patch,
  ):
    errors = pathlib.Path(folder, 'errors')
    with errors.open('w', encoding='utf-8') as stream:
      process = subprocess.Popen(
        ['bash', 'tests/slurm_here.sh', folder, 'cat'],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stream,
        text=True,
      )
    patch.setenv('SLURM_CONF', f'{folder}/slurm.conf')
    patch.setenv('XLA_FLAGS', IN_A_HURRY)
    assert 'idle' in process.stdout.readline(), errors.read_text(
      encoding='utf-8'
    )
    yield
    process.stdin.close()
    process.wait(60)


def ask(*command):
  done = subprocess.run(
    command, cwd=ROOT, capture_output=True, text=True, timeout=120
  )
  assert done.returncode == 0, done.stderr
  return done.stdout.strip()


def submit(log, *flags, command, processes=2):
  return ask(
    'launch/slurm.sh',
    'submit',
    f'--output={log}',
    f'--processes={processes}',
    f'--ntasks-per-node={processes}',
    *flags,
    '--',
    *command,
  )


def until(job, *states):
  """Waits until a job is in one of the states."""
  state = 'squeue', '--noheader', '--format=%T', '--states=all', '-j', job
  waiting.until(
    lambda: ask(*state) in states, f'{states} of job {job}', poll=0.2
  )


def test_a_preempted_training_of_two_processes_goes_on(tmp_path):
  (tmp_path / 'config.py').write_text(CONFIG)
  training_case.prepared(tmp_path)
  training, log = tmp_path / 'train' / 'tiny', tmp_path / 'log'
  job = submit(
    log,
    command=[
      *(sys.executable, '-m', 'early_experience.train'),
      *(f'--config={tmp_path}/config.py', f'--workdir={tmp_path}'),
      '--config.mesh.fsdp=2',
    ],
  )
  waiting.until(
    lambda: any(p.name.isdigit() for p in training.glob('checkpoints/*')),
    f'checkpoint in {training}',
  )
  first = (training / 'metrics.jsonl').read_text().splitlines()[0]
  # What Slurm does to the script two minutes before the job's time is up.
  ask('scancel', '--signal=TERM', '--batch', job)
  until(job, 'PENDING')
  ask('scontrol', 'update', f'jobid={job}', 'StartTime=now')
  until(job, 'COMPLETED')
  text = log.read_text()
  assert text.count('preempted: saved after update') == 2
  assert f'job {job}: again' in text
  assert 'train tiny: 120 updates' in text
  lines = (training / 'metrics.jsonl').read_text().splitlines()
  assert lines[0] == first
  assert len(lines) == len(set(lines)) >= 12


def test_a_task_has_the_cpus_of_its_job(tmp_path):
  show = ['bash', '-c', 'echo has $SLURM_CPUS_PER_TASK']
  for flags, processes, each in (['--cpus-per-task=2'], 'node', 2), ([], 2, 1):
    log = tmp_path / f'log-{processes}'
    job = ask(
      *('launch/slurm.sh', 'submit', f'--output={log}', *flags),
      *(f'--processes={processes}', f'--ntasks-per-node={2 // each}'),
      *('--', *show),
    )
    until(job, 'COMPLETED')
    assert log.read_text().split() == ['has', str(each)] * (2 // each)


def test_a_cancelled_job_stays_cancelled(tmp_path):
  save = f'trap "touch {tmp_path}/saved; exit 75" TERM; touch {tmp_path}/up;'
  loop = 'while :; do sleep 0.1; done'
  job = submit(tmp_path / 'log', command=['bash', '-c', f'{save} {loop}'])
  waiting.until((tmp_path / 'up').exists, 'start')
  ask('launch/slurm.sh', 'cancel', job)
  until(job, 'CANCELLED')
  waiting.until((tmp_path / 'saved').exists, 'save')
  time.sleep(3)
  until(job, 'CANCELLED')


def test_a_failing_job_is_not_tried_again(tmp_path):
  job = submit(tmp_path / 'log', command=['bash', '-c', 'exit 3'])
  until(job, 'FAILED')
  assert 'ExitCode=3:0' in ask('scontrol', 'show', 'job', job)


def test_a_sweep_is_an_array_that_waits_for_what_its_runs_share(tmp_path):
  (tmp_path / 'swept.py').write_text(SWEEP)
  workdir = tmp_path / 'sweep'
  sweep = [sys.executable, 'launch/sweep.py', f'--workdir={workdir}']
  sweep += [f'--config={tmp_path}/swept.py', '--stages=collect,explore']
  shared, array = ask(
    *sweep, '--to=slurm', '--', f'--output={tmp_path}/log'
  ).split()
  for job in (shared, f'{array}_0', f'{array}_1'):
    until(job, 'COMPLETED')
  rows = table.rows(workdir)
  assert [row['state'] for row in rows] == ['finished', 'finished']
  collected = [workdir / 'runs' / row['run'] / 'collect' for row in rows]
  assert {path.resolve() for path in collected} == {
    workdir / 'shared' / 'collect'
  }
  assert ask(*sweep, '--to=slurm') == ''  # nothing is left to do
