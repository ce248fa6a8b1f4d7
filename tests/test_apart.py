"""Environments that hang or die end neither a stage nor the other tasks."""

import contextlib
import json
import os
import signal

import pytest

from early_experience import collect, evaluate, explore
from early_experience.envs import apart
from early_experience.runtime.errors import UserError
from tests import waiting
from tests.naughty_env import NaughtyEnv
from tests.test_workers import alive, children, set_aside, settings, start
from tests.toy_env import ToyEnv


def asked(workers=2, tasks=9, **kwargs):
  """An evaluation of the random policy."""
  config = settings(workers, tasks=tasks, **kwargs)
  config.name = 'random'
  config.evaluate.update(
    policy='random', splits=('test',), tasks=0, max_steps=12, batch_tasks=6
  )
  return config


def lines(workdir):
  """What each task became, as it stands in the file."""
  paths = (workdir / 'evaluate' / 'random').glob('rollouts-*.jsonl')
  found = [line for path in paths for line in path.read_text().splitlines()]
  return {json.loads(line)['task_id']: line for line in found}


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
  """As environments of this process play."""
  workdir = tmp_path_factory.mktemp('undisturbed')
  config = asked()
  evaluate.evaluate_in(lambda: NaughtyEnv(tasks=9), config, workdir)
  return lines(workdir)


@pytest.mark.parametrize('workers', [1, 4])
def test_rollouts_do_not_depend_on_the_processes(
  tmp_path, undisturbed, workers
):
  evaluate.evaluate(asked(workers), tmp_path)
  assert lines(tmp_path) == undisturbed and len(undisturbed) == 9


@pytest.mark.parametrize('workers', [1, 3])
def test_tasks_that_hang_or_kill_are_set_aside_and_all_others_play(
  tmp_path, undisturbed, workers
):
  faults = {'test-1': 'hang', 'test-3': 'kill', 'test-4': 'vanish'}
  faults |= {'test-6': 'raise', 'test-8': 'surrogate'}
  config = asked(workers, faults=faults)
  config.cluster.update(unit_timeout_seconds=4.0, tries=1)
  summary = evaluate.evaluate(config, tmp_path)
  assert summary['set_aside'] == {
    'crash': 2,
    'error': 1,
    'hang': 1,
    'invalid UTF-8': 1,
  }
  folder = tmp_path / 'evaluate' / 'random'
  aside = set_aside(folder)
  assert set(aside) == {f'test/{task}' for task in faults}
  assert aside['test/test-1']['error'] == 'no answer in 4 s'
  assert 'SIGKILL' in aside['test/test-3']['error']
  rest = {task: undisturbed[task] for task in undisturbed.keys() - faults}
  assert lines(tmp_path) == rest
  # Continued, it tries none of them again.
  (folder / 'summary.json').unlink()
  (folder / 'rollouts-00000.jsonl').write_text(
    ''.join(f'{line}\n' for line in list(rest.values())[:2])
  )
  assert evaluate.evaluate(config, tmp_path) == summary
  assert lines(tmp_path) == rest


def test_what_goes_wrong_once_changes_no_record(tmp_path, undisturbed):
  faults = {'test-0': 'kill', 'test-2': 'hang', 'test-5': 'raise'}
  faults |= {'test-7': 'kill later'}
  (tmp_path / 'marks').mkdir()
  config = asked(faults=faults, once=str(tmp_path / 'marks'))
  config.cluster.update(unit_timeout_seconds=4.0, tries=2)
  summary = evaluate.evaluate(config, tmp_path)
  assert len(list((tmp_path / 'marks').iterdir())) == 4
  assert summary['set_aside'] == {}
  assert lines(tmp_path) == undisturbed


def test_an_episode_that_takes_too_long_in_all_is_a_hang(tmp_path):
  config = asked(tasks=3, faults={'test-1': 'dawdle'})
  config.cluster.update(unit_timeout_seconds=4.0, tries=1)
  summary = evaluate.evaluate(config, tmp_path)
  assert summary['set_aside'] == {'hang': 1}
  assert set(lines(tmp_path)) == {'test-0', 'test-2'}


def test_what_is_done_is_on_disk_while_another_task_hangs(
  tmp_path, undisturbed
):
  config = asked(faults={'test-1': 'hang'}, once=str(tmp_path / 'marks'))
  config.cluster.unit_timeout_seconds = waiting.SECONDS
  (tmp_path / 'marks').mkdir()
  run = tmp_path / 'run'
  driver = start('evaluate', config, run)
  # All but the task that hangs, and two that are in the same process.
  waiting.until(lambda: len(lines(run)) == 6, 'the other tasks')
  pool = children(driver.pid)
  driver.kill()
  driver.wait()
  waiting.until(lambda: not any(map(alive, pool)), 'end of the processes')
  assert 'test-1' not in lines(run)
  assert start('evaluate', config, run).wait(waiting.SECONDS) == 0
  assert lines(run) == undisturbed


def own_process(_):
  return os.getpid()


def test_a_process_that_is_killed_from_outside_is_asked_again():
  with contextlib.closing(apart.Apart(asked())) as env:
    for _ in range(3):
      os.kill(env.call(own_process), signal.SIGKILL)
      assert env.canonical('go  on') == 'go on'
      assert len(env.tasks('test')) == 9
    assert (env.name, env.source) == ('toy', 'boxes')


@pytest.mark.parametrize('at', ['__init__', 'tasks'])
@pytest.mark.parametrize(
  ('fault', 'said'),
  [
    ('hang', 'hang: no answer in 2 s'),
    ('kill', 'crash: its process ended with SIGKILL'),
    ('vanish', 'crash: its process ended with exit code 0'),
    ('raise', 'error: RuntimeError: the cupboard fell over'),
  ],
)
def test_one_that_cannot_be_made_or_has_no_tasks_is_one_line(
  tmp_path, at, fault, said
):
  config = asked()
  config.cluster.unit_timeout_seconds = 2.0
  collect.collect_from(NaughtyEnv(), config, tmp_path)
  config.env.kwargs.update(fault=fault, at=at)
  before = sorted(os.listdir(tmp_path))
  stages = (collect.collect, explore.explore, evaluate.evaluate)
  for stage in stages:
    folder = tmp_path / 'new' if stage is collect.collect else tmp_path
    with pytest.raises(UserError) as error:
      stage(config, folder)
    assert str(error.value) == f'environment {config.env.name}: {said}'
  assert sorted(os.listdir(tmp_path)) == before


def test_what_cannot_be_chosen_from_ends_in_one_line_and_takes_the_advice(
  tmp_path,
):
  def made(lists):
    return lambda: ToyEnv(tasks=9, lists=lists)

  config = asked()
  with pytest.raises(UserError) as error:
    evaluate.evaluate_in(made(lists=False), config, tmp_path)
  assert "config.evaluate.policy='random' needs" in str(error.value)
  assert 'nothing admissible: ' in str(error.value)
  config.evaluate.max_steps = 3  # as another setting would be
  evaluate.evaluate_in(made(lists=True), config, tmp_path)
  assert len(lines(tmp_path)) == 9


def test_a_state_without_an_action_costs_its_own_episode(tmp_path, undisturbed):
  class Stuck(ToyEnv):
    def reset(self, task):
      self.stuck = task.id in ('test-1', 'test-2') and task.id
      return super().reset(task)

    def admissible(self):
      return {'test-1': (), 'test-2': None}.get(
        self.stuck, super().admissible()
      )

  summary = evaluate.evaluate_in(lambda: Stuck(tasks=9), asked(), tmp_path)
  assert summary['set_aside'] == {'nothing admissible': 2}
  whole = dict(undisturbed)
  del whole['test-1'], whole['test-2']
  assert lines(tmp_path) == whole


def test_actions_that_are_no_text_cost_their_own_episode(tmp_path, undisturbed):
  class Numbers(ToyEnv):
    def reset(self, task):
      self.odd = {'test-1': (1, 2), 'test-2': ('half a \ud83d',)}.get(task.id)
      return super().reset(task)

    def admissible(self):
      return self.odd or super().admissible()

  summary = evaluate.evaluate_in(lambda: Numbers(tasks=9), asked(), tmp_path)
  assert summary['set_aside'] == {'invalid UTF-8': 1, 'no text': 1}
  assert lines(tmp_path).items() < undisturbed.items()
