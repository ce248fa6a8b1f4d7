"""Runs on TPU slices that come and go, and the job on each worker."""

import os
import pathlib
import shutil
import subprocess
import textwrap

import pytest

from tests import waiting

ROOT = pathlib.Path(__file__).parent.parent
POD = ('--name=pod', '--zone=us-east5-b')
TRAIN = ('python', '-m', 'early_experience.train', '--workdir=/mnt/run')

# Slices that are preempted while they run, and come again. What `wait` prints
# on each of its calls stands in a file of its own.
GCLOUD = """\
  #!/bin/bash
  cd "$(dirname "$0")"
  echo "$*" >>calls
  echo 'WARNING: This command is using service account impersonation.' >&2
  case "$*" in
    *' describe '*)
      [ -e state ] || { echo 'ERROR: NOT_FOUND: no such resource' >&2; exit 1; }
      cat state
      ! grep ERROR state >&2 ;;
    *' create '*) echo ACTIVE >state ;;
    *' delete '*) rm state ;;
    *'job.sh wait'*)
      this=$(ls waits | head -n 1)
      cat "waits/$this"
      # A slice that goes away breaks the connection.
      [ -s "waits/$this" ] || { echo SUSPENDED >state; }
      rm "waits/$this"
      [ "$(cat state)" = ACTIVE ] ;;
  esac
"""


def pod_run(folder, waits, *flags, state='ACTIVE'):
  """Runs over these answers of `wait`; returns the result and the verbs."""
  (folder / 'gcloud').write_text(textwrap.dedent(GCLOUD))
  (folder / 'gcloud').chmod(0o755)
  (folder / 'waits').mkdir()
  if state:
    (folder / 'state').write_text(state + '\n')
  for number, answer in enumerate(waits):
    (folder / 'waits' / str(number)).write_text(answer)
  env = {'POLL_SECONDS': '0', 'TMPDIR': str(folder)}
  result = subprocess.run(
    ['bash', 'launch/tpu_pod.sh', 'run', *POD, *flags, '--', *TRAIN],
    cwd=ROOT,
    env={**os.environ, **env, 'PATH': f'{folder}:{os.environ["PATH"]}'},
    capture_output=True,
    text=True,
  )
  verbs = []
  for call in (folder / 'calls').read_text().splitlines():
    verb = call.split()[3]
    if 'job.sh' in call:
      verb = call.split('job.sh ')[1].split()[0]
    if verb != 'describe':
      verbs.append(verb)
  return result, verbs


NEW = ['create', 'scp', 'ssh', 'ssh']  # and the code on it, installed
ONE = ['start', 'wait']


def test_a_run_survives_preemption_of_its_slices(tmp_path):
  waits = ['exit 0\nexit 75\n', '', 'exit 0\nexit 0\n']
  result, verbs = pod_run(tmp_path, waits, '--type=v6e-16')
  assert result.returncode == 0, result.stderr
  assert verbs == [*ONE, *ONE, 'delete', *NEW, *ONE]


def test_a_run_makes_slices_that_are_not_there(tmp_path):
  result, verbs = pod_run(tmp_path, ['exit 0\n'], '--type=v6e-16', state='')
  assert result.returncode == 0, result.stderr
  assert verbs == [*NEW, *ONE]


def test_a_run_that_may_not_make_slices_says_so(tmp_path):
  result, verbs = pod_run(tmp_path, [], state='SUSPENDED')
  assert result.returncode == 2
  assert 'error: pod is SUSPENDED: give --type' in result.stderr
  assert verbs == []


def test_a_run_that_may_not_look_ends_at_once(tmp_path):
  result, verbs = pod_run(tmp_path, [], state='ERROR: PERMISSION_DENIED')
  assert result.returncode == 1
  assert result.stderr.endswith('ERROR: PERMISSION_DENIED\n')
  assert verbs == []


@pytest.mark.parametrize('code', [1, 130])
def test_a_run_that_fails_or_is_stopped_is_not_tried_again(tmp_path, code):
  result, verbs = pod_run(tmp_path, [f'exit 0\nexit {code}\n'], '--type=v6e-16')
  assert result.returncode == code
  assert verbs == ONE


def test_tries_come_to_an_end(tmp_path):
  result, verbs = pod_run(tmp_path, ['exit 75\n'] * 3, '--retries=2')
  assert result.returncode == 75
  assert verbs == ONE * 2


@pytest.fixture
def worker(tmp_path):
  """A worker's copy of the code; calls job.sh there."""
  (tmp_path / 'launch').mkdir()
  for name in ('job.sh', 'help.sh'):
    shutil.copy(ROOT / 'launch' / name, tmp_path / 'launch')

  def job(*arguments):
    command = ['sh', str(tmp_path / 'launch' / 'job.sh'), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout

  return tmp_path, job


def test_a_job_outlives_its_connection_and_notes_its_end(worker):
  folder, job = worker
  job('start', 'sh', '-c', 'echo "$1"; sleep 2; exit 75', 'x', "it's $HOME")
  assert job('start', 'false').startswith('already under way')
  assert job('wait') == 'exit 75\n'
  assert job('log') == "it's $HOME\n"
  job('start', 'true')
  assert job('wait') == 'exit 0\n'


def test_a_job_that_is_stopped_may_save(worker):
  folder, job = worker
  save = 'trap "sleep 3; touch saved; exit 75" TERM; touch up'
  wait = 'while :; do sleep 0.1; done'
  job('start', 'sh', '-c', f'cd {folder}; {save}; {wait}')
  waiting.until((folder / 'up').exists, 'start')
  job('stop')
  assert (folder / 'saved').exists()
  assert job('wait') == 'exit 130\n'
