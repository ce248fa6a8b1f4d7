"""A command that is asked to stop, or whose reader leaves: real processes."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from early_experience.runtime import process as process_lib
from tests import waiting

ROOT = pathlib.Path(__file__).parent.parent
SAID = {
  signal.SIGINT: ('stopped; the same command goes on\n', 130),
  signal.SIGTERM: ('preempted; the same command goes on\n', 75),
  signal.SIGHUP: ('preempted; the same command goes on\n', 75),
}
SLOW = """
from tests.toy_env import ToyEnv
import time

class Slow(ToyEnv):
  def step(self, action):
    time.sleep(0.3)
    return super().step(action)
"""
CONFIG = """
from configs import tiny

def get_config():
  config = tiny.get_config()
  config.env.name, config.env.kwargs = 'slow:Slow', {'tasks': 99}
  config.cluster.workers, config.collect.trajectories = 4, 40
  return config
"""


def start(*command, **more):
  return subprocess.Popen(
    [sys.executable, *command],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    start_new_session=True,  # a group, as a terminal sends its Ctrl-C to
    **more,
  )


def stage(name, workdir, *flags, config='configs/tiny.py'):
  return (
    *('-m', f'early_experience.{name}', f'--config={config}'),
    *(f'--workdir={workdir}', *flags),
  )


def end(process, code):
  out, err = process.communicate(timeout=waiting.SECONDS)
  assert process.returncode == code, err[-2000:]
  return out, err


def members(group):
  """Living processes of a session, but its first."""
  found = []
  for entry in filter(str.isdigit, os.listdir('/proc')):
    try:
      text = pathlib.Path('/proc', entry, 'stat').read_text(encoding='utf-8')
    except OSError:
      continue
    state, _, _, session = text.rpartition(')')[2].split()[:4]
    if session == str(group) and entry != session and state != 'Z':
      found.append(int(entry))
  return found


def interpreter_seconds():
  """Of its start, before anything of ours runs: long on a busy machine."""
  began = time.monotonic()
  subprocess.run([sys.executable, '-c', 'import pathlib, re'], check=True)
  return time.monotonic() - began


@pytest.mark.parametrize('number', SAID)
@pytest.mark.parametrize('seconds', [0.15, 0.6, 1.2, 1.8, 2.6])
def test_a_stage_ends_in_one_line_whenever_it_is_asked_to(
  tmp_path, number, seconds
):
  """While it imports, while its workers start, while they are at work."""
  (tmp_path / 'slow.py').write_text(SLOW)
  env = {**os.environ, 'PYTHONPATH': f'{tmp_path}:{ROOT}'}
  config = tmp_path / 'config.py'
  config.write_text(CONFIG)
  command = stage('collect', tmp_path / 'w', config=config)
  seconds += 2 * interpreter_seconds()
  process = start(*command, env=env)
  time.sleep(seconds)
  os.killpg(process.pid, number)
  said, code = SAID[number]
  assert end(process, code) == ('', said)
  waiting.until(lambda: not members(process.pid), 'end of the workers')


@pytest.mark.parametrize('number', SAID)
def test_what_swallows_the_question_does_not_last(tmp_path, number):
  code = (
    'import time\n'
    'from early_experience.runtime import process\n'
    'process.GRACE_SECONDS = 1\n'
    'process.start()\n'
    'print("up", flush=True)\n'
    'while True:\n'
    '  try:\n'
    '    time.sleep(60)\n'
    '  except BaseException:\n'
    '    pass\n'
  )
  process = start('-c', code)
  process.stdout.readline()
  process.send_signal(number)
  said, code = SAID[number]
  assert end(process, code)[1] == said


def test_what_a_shell_has_it_ignore_stays_ignored():
  code = (
    'import signal\n'
    'signal.signal(signal.SIGHUP, signal.SIG_IGN)\n'
    'from early_experience.runtime import process\n'
    'process.start()\n'
    'signal.raise_signal(signal.SIGHUP)\n'
    'print("done")\n'
  )
  assert end(start('-c', code), 0) == ('done\n', '')


def test_a_library_leaves_the_process_of_others_alone():
  code = (
    'import signal, sys, early_experience.runtime.cli\n'
    'assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n'
    'assert sys.stdout is sys.__stdout__\n'
  )
  end(start('-c', code), 0)
  assert not process_lib._started


@pytest.mark.parametrize('closed', ['>&-', '2>&-', '>&- 2>&-', '<&- >&- 2>&-'])
def test_closed_streams_cost_no_result(tmp_path, closed):
  words = [sys.executable, *stage('collect', tmp_path)]
  done = subprocess.run(
    ['bash', '-c', f'"$@" {closed}', 'bash', *words],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert done.stderr == ''
  assert (tmp_path / 'collect' / 'summary.json').exists()


@pytest.mark.parametrize('pipe', ['|', '2>&1 |'])
def test_a_reader_that_leaves_costs_no_result(tmp_path, pipe):
  words = [sys.executable, *stage('collect', tmp_path)]
  done = subprocess.run(
    [
      'bash',
      '-c',
      f'"$@" {pipe} true; exit ${{PIPESTATUS[0]}}',
      'bash',
      *words,
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert (done.returncode, done.stderr) == (0, '')
  assert (tmp_path / 'collect' / 'summary.json').exists()


def test_a_table_whose_reader_leaves_is_no_fault(tmp_path):
  words = [sys.executable, 'launch/sweep.py', '--config=configs/tiny.py']
  words += [f'--workdir={tmp_path}', '--to=commands']
  done = subprocess.run(
    ['bash', '-c', '"$@" | true; exit $PIPESTATUS', 'bash', *words],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert (done.returncode, done.stderr) == (0, '')
