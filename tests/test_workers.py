"""Work on many processes: in order, exact, and stopped by nobody's fault."""

import contextlib
import multiprocessing
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from early_experience import collect, explore, reflect
from early_experience.config import default
from early_experience.runtime import files, stage
from early_experience.runtime.errors import UserError
from early_experience.work import set_aside as set_aside_lib
from early_experience.work import workers
from early_experience.work.units import Failure
from tests import waiting
from tests.toy_env import ToyEnv


def settings(workers=2, trajectories=6, **kwargs):
  config = default()
  config.env.name = 'tests.naughty_env:NaughtyEnv'
  config.env.kwargs.update(kwargs)
  config.collect.trajectories = trajectories
  config.explore.k = 2
  config.cluster.workers = workers
  config.cluster.unit_timeout_seconds = 5.0
  return config


def written(workdir):
  """Every record and every failure, byte for byte."""
  return {
    str(path.relative_to(workdir)): path.read_bytes()
    for path in sorted(workdir.rglob('*.jsonl'))
  }


def set_aside(folder):
  return {v['task_id']: v for _, v in files.read_jsonl(folder, 'set_aside')}


def slow(unit):
  time.sleep(unit % 3 / 20)
  return unit * unit


def drawn(units, log):
  for unit in units:
    log.append(unit)
    yield unit


def test_results_come_in_the_order_of_the_units_which_are_drawn_late():
  cluster, log = settings().cluster, []
  with contextlib.closing(
    workers.run(slow, drawn(range(100), log), cluster, 100)
  ) as results:
    found = [next(results) for _ in range(9)]
  assert found == [(n, n * n) for n in range(9)]
  assert len(log) < 30


def test_no_more_workers_start_than_results_are_wanted(tmp_path, monkeypatch):
  started, run = [], workers.run

  def watched(function, units, cluster, most):
    others = len(multiprocessing.active_children())
    for result in run(function, units, cluster, most):
      started.append(len(multiprocessing.active_children()) - others)
      yield result

  monkeypatch.setattr(workers, 'run', watched)
  collect.collect(settings(workers=4, trajectories=1), tmp_path)
  assert started == [1]


def test_a_pool_that_loses_idle_workers_is_replaced():
  def units():
    yield from range(4)
    time.sleep(1.0)  # and all is done
    for process in multiprocessing.active_children():
      process.kill()
    time.sleep(0.5)
    yield from range(4, 20)

  found = list(workers.run(slow, units(), settings().cluster, 20))
  assert found == [(n, n * n) for n in range(20)]


def test_a_pool_that_breaks_fails_none_of_its_units_for_good():
  def units():
    yield 0
    for process in multiprocessing.active_children():  # they start
      process.kill()
    yield from range(1, 20)

  found = list(workers.run(slow, units(), settings().cluster, 20))
  assert found == [(n, n * n) for n in range(20)]


class Bomb:
  def __reduce__(self):
    os.kill(os.getpid(), signal.SIGKILL)


def explodes_on_its_way(unit):
  return Bomb() if unit == 1 else unit


def test_a_worker_that_dies_of_its_answer_takes_no_other_along():
  cluster = settings().cluster
  found = dict(workers.run(explodes_on_its_way, range(8), cluster, 8))
  assert found.pop(1).error == 'its process ended with SIGKILL'
  assert found == {n: n for n in range(8) if n != 1}


def dies_beside_a_child(path):
  path.write_text(str(subprocess.Popen(['sleep', '600']).pid))
  os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_worker_has_started_ends_too(tmp_path):
  cluster, path = settings().cluster, tmp_path / 'pid'
  cluster.tries = 1
  ((_, failure),) = workers.run(dies_beside_a_child, [path], cluster, 1)
  assert failure.error == 'its process ended with SIGKILL'
  waiting.until(lambda: not alive(int(path.read_text())), 'end of the child')


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('undisturbed')
  collect.collect_from(ToyEnv(), settings(), workdir)
  explore.explore_in(ToyEnv(), settings(), workdir)
  return written(workdir)


def test_records_do_not_depend_on_the_workers(tmp_path, undisturbed):
  collect.collect(settings(), tmp_path)
  explore.explore(settings(workers=3), tmp_path)
  assert written(tmp_path) == undisturbed


def test_what_fails_once_is_tried_again(tmp_path, undisturbed):
  faults = {'train-0': 'kill', 'train-1': 'raise', 'train-4': 'hang'}
  (tmp_path / 'marks').mkdir()
  config = settings(faults=faults, once=str(tmp_path / 'marks'))
  summary = collect.collect(config, tmp_path)
  assert summary['set_aside'] == {}
  assert len(list((tmp_path / 'marks').iterdir())) == 3
  explore.explore(config, tmp_path)
  assert written(tmp_path) == undisturbed


FAULTS = {
  'hang': ('hang', 'no answer in 5 s'),
  'kill': ('crash', 'SIGKILL'),
  'crash': ('crash', 'SIGSEGV'),
  'vanish': ('crash', 'exit code 0'),
  'raise': ('error', 'RuntimeError: the cupboard fell over'),
  'mutter': ('error', r'RuntimeError: half a \ud83d word'),
  'exit': ('error', 'SystemExit: 3'),
  'offline': ('error', 'URLError: <urlopen error no route>'),
  'reject': ('expert action rejected', "step 0: 'open box 1' is answered"),
  'long': ('observation too long', '10,000,000 characters'),
  'surrogate': ('invalid UTF-8', r"'\ud83d' at character 7"),
  'bytes': ('no text', 'the observation is bytes'),
  'number': ('no turn', '`done` of a turn is int, not bool'),
  'nan': ('no turn', 'the score of a turn is nan'),
}


def test_each_misbehaviour_sets_its_task_aside_with_its_reason(
  tmp_path, capsys
):
  tasks = [f'train-{i}' for i in range(20) if i % 4 != 3]
  faults = dict(zip(tasks, FAULTS, strict=False))
  config = settings(faults=faults, tasks=20)
  config.cluster.tries = 1
  summary = collect.collect(config, tmp_path)
  assert summary['trajectories'] == 1 and summary['tried'] == 20
  assert sum(summary['set_aside'].values()) == len(FAULTS)
  aside = set_aside(tmp_path / 'collect')
  assert list(aside) == list(faults), 'in the order of the tasks'
  for task, fault in faults.items():
    reason, error = FAULTS[fault]
    assert aside[task]['reason'] == reason and error in aside[task]['error']
  assert 'set aside: 3 crash, 4 error, 1 expert' in capsys.readouterr().out


@pytest.mark.parametrize('branching', ['clone', 'fork'])
def test_a_trajectory_on_which_the_environment_misbehaves_is_set_aside(
  tmp_path, branching
):
  collect.collect_from(ToyEnv(), settings(), tmp_path)
  faults = {'train-0': 'kill', 'train-2': 'drift', 'train-4': 'long'}
  config = settings(faults=faults, branching=branching)
  config.cluster.tries = 1
  saved = files.read_json(tmp_path / 'collect' / stage.SETTINGS)
  summary = explore.explore(config, tmp_path)
  assert summary['trajectories'] == 3
  aside = set_aside(tmp_path / 'explore')
  assert {task: line['reason'] for task, line in aside.items()} == {
    'train-0': 'crash',
    'train-2': 'no longer replays',
    'train-4': 'observation too long',
  }
  assert files.read_json(tmp_path / 'collect' / stage.SETTINGS) == saved


def test_what_is_set_aside_is_not_tried_again_by_a_continued_run(tmp_path):
  config = settings(faults={'train-0': 'raise'})
  first = collect.collect(config, tmp_path)
  (tmp_path / 'collect' / 'summary.json').unlink()
  before = written(tmp_path)
  with open(tmp_path / 'collect' / 'set_aside-00000.jsonl', 'ab') as file:
    file.write(b'{"task_id": "tor')  # killed while it wrote
  assert collect.collect(config, tmp_path) == first
  assert written(tmp_path) == before


def test_only_what_would_be_tried_again_is_said_to_be(tmp_path, capsys):
  faults = {'train-0': 'raise'}
  for enough, advised in ((5, False), (20, True)):
    config = settings(trajectories=enough, faults=faults)
    collect.collect(config, tmp_path / str(enough))
    said = capsys.readouterr().out
    assert 'set aside: 1 error (see ' in said
    assert ('to try them again' in said) == advised


def test_where_nothing_works_the_run_ends_with_the_first_error(tmp_path):
  faults = {f'train-{i}': 'raise' for i in range(8)}
  with pytest.raises(UserError, match='none of 8 units .* the cupboard fell'):
    collect.collect(settings(faults=faults), tmp_path)
  assert written(tmp_path) == {}, 'nothing keeps a mended run from trying'


def test_a_killed_driver_takes_its_workers_along_and_can_be_run_again(
  tmp_path, undisturbed
):
  config = settings(faults={'train-5': 'hang'}, once=str(tmp_path / 'marks'))
  config.cluster.unit_timeout_seconds = waiting.SECONDS
  (tmp_path / 'marks').mkdir()
  run = tmp_path / 'run'
  driver = start('collect', config, run)
  shard = run / 'collect' / 'trajectories-00000.jsonl'
  waiting.until(
    lambda: shard.exists() and shard.read_bytes().count(b'\n') == 4, shard
  )
  waiting.until((tmp_path / 'marks' / 'train-5').exists, 'hang')
  pool = children(driver.pid)
  assert len(pool) >= 2
  driver.kill()
  driver.wait()
  waiting.until(lambda: not any(map(alive, pool)), 'end of the pool')
  collect.collect(config, run)
  explore.explore(config, run)
  assert written(run) == undisturbed


def test_many_processes_reflect_as_one_does(tmp_path, monkeypatch):
  collect.collect_from(ToyEnv(), settings(), tmp_path)
  explore.explore_in(ToyEnv(), settings(), tmp_path)
  reflect.reflect(settings(), tmp_path)
  alone = written(tmp_path)
  shutil.rmtree(tmp_path / 'reflect')
  monkeypatch.setattr(reflect, 'POOL', 0)
  reflect.reflect(settings(), tmp_path)
  assert written(tmp_path) == alone


def start(stage, config, workdir):
  file = workdir.parent / 'config.py'
  file.write_text(
    'import json\nfrom ml_collections import ConfigDict\n'
    'def get_config():\n'
    f'  return ConfigDict(json.loads({config.to_json()!r}))\n'
  )
  return subprocess.Popen(
    [
      *(sys.executable, '-m', f'early_experience.{stage}'),
      *(f'--config={file}', f'--workdir={workdir}'),
    ]
  )


def children(parent):
  """Processes that a process started, which still run."""
  found = []
  for entry in os.listdir('/proc'):
    if entry.isdigit() and _stat(entry)[1:2] == [str(parent)]:
      found.append(int(entry))
  return found


def alive(process):
  return _stat(process)[:1] not in ([], ['Z'])


def _stat(process):
  """State, parent, ... of a process; nothing of one that is gone."""
  with contextlib.suppress(OSError):
    stat = pathlib.Path(f'/proc/{process}/stat').read_text('utf-8')
    return stat.rpartition(')')[2].split()
  return []


def test_what_is_set_aside_is_told_and_what_was_paid_outlives_all(tmp_path):
  def results(worked):
    for unit in range(4):
      failed = unit != worked
      yield unit, Failure('hang', 'over 1 s') if failed else unit

  told = []
  found = set_aside_lib.sift(
    results(0), tmp_path / 'some', str, lambda: told.append(1)
  )
  assert list(found) == [(0, 0)] and len(told) == 3
  folder = tmp_path / 'none'
  folder.mkdir()
  files.write_json(folder / stage.BILL, {'cost': 1.0})
  files.write_json(folder / stage.SETTINGS, {})
  with pytest.raises(UserError, match='none of 4 units'):
    list(set_aside_lib.sift(results(None), folder, str))
  assert [path.name for path in folder.iterdir()] == [stage.BILL]
