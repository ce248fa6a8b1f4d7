"""Panels: which tasks are asked, and that all of them are counted."""

import json
import random
import subprocess
import sys

import pytest

from early_experience import evaluate
from early_experience.envs.interface import Task, Turn
from early_experience.evaluation import panel
from early_experience.reporting.text import table
from early_experience.runtime.errors import UserError
from tests.test_evaluate import config_of
from tests.toy_env import ToyEnv

TASKS = [Task(f'{i}', 'test', 'abc'[i % 3]) for i in range(60)]


class Breaks(ToyEnv):
  """Every other task ends in a fault of the environment."""

  def step(self, action):
    if self.broken:
      raise OSError('the server is gone')
    return super().step(action)

  def reset(self, task):
    self.broken = int(task.id.split('-')[1]) % 2
    return super().reset(task)


def play(workdir, env=ToyEnv, tasks=32, **changes):
  config = config_of('random', **changes)
  return evaluate.evaluate_in(lambda: env(tasks=tasks), config, workdir)


def ids(workdir, name='random'):
  path = workdir / 'evaluate' / name / panel.FILE
  return set(json.loads(path.read_text())['test'])


def test_the_choice_of_tasks_is_fixed_and_takes_the_types_in_turn():
  chosen = panel.choose(TASKS, 9)
  assert [task.type for task in chosen] == list('abc') * 3
  assert chosen == panel.choose(TASKS[::-1], 9)
  assert chosen == panel.choose(TASKS, 30)[:9]
  assert sorted(panel.choose(TASKS, 0), key=lambda t: int(t.id)) == TASKS
  # Workdirs that are finished have this choice.
  ids = [task.id for task in chosen]
  assert ids == ['51', '55', '50', '39', '49', '53', '9', '46', '8']


def test_a_choice_depends_on_ids_alone():
  shuffled = TASKS.copy()
  random.Random(1).shuffle(shuffled)
  code = (
    'from early_experience.evaluation import panel\n'
    'from tests.test_panel import TASKS\n'
    'for which in panel.PANELS:\n'
    '  print([t.id for t in panel.choose(TASKS[::-1], 9, which)])\n'
  )
  here = [[t.id for t in panel.choose(shuffled, 9, p)] for p in panel.PANELS]
  there = subprocess.run(
    [sys.executable, '-c', code],
    env={'PYTHONHASHSEED': '7', 'PYTHONPATH': ':'.join(sys.path)},
    capture_output=True,
    text=True,
    check=True,
  )
  assert there.stdout.splitlines() == list(map(str, here))


def test_dev_and_test_have_no_task_in_common_and_stay_as_tasks_are_added():
  dev, test = (panel.choose(TASKS, 0, which) for which in ('dev', 'test'))
  assert {*dev}.isdisjoint(test) and {*dev, *test} == {*TASKS}
  assert 20 < len(dev) < 40
  fewer = panel.choose(TASKS[:30], 0, 'dev')
  assert {*fewer} == {*dev} & {*TASKS[:30]}


def test_two_tasks_of_one_id_are_refused():
  with pytest.raises(UserError, match="'test' has 2 tasks of id '3'"):
    panel.choose([*TASKS, Task('3', 'test', 'a')], 0)


def test_what_was_set_aside_counts_as_not_solved(tmp_path):
  whole = play(tmp_path / 'whole', tasks=12)
  summary = play(tmp_path, Breaks, tasks=12)
  success = summary['splits']['test']['success']
  assert (success['n'], success['set_aside']) == (12, 6)
  assert success['rate'] == success['count'] / 12
  assert success['count'] <= whole['splits']['test']['success']['count']
  for rate in summary['splits']['test']['by_type'].values():
    assert rate['n'] == 6
  # Both were asked the same.
  asked = [one['splits']['test']['panel'] for one in (whole, summary)]
  assert asked[0] == asked[1]
  text = table({'whole': whole, 'broken': summary})
  assert '/12 = ' in text.splitlines()[2]
  assert text.splitlines()[2].endswith('], 6 set aside')
  assert text.endswith('\nset aside, and counted as not solved: 6')


def test_a_success_of_none_is_no_success_and_no_fault(tmp_path):
  class Unsure(ToyEnv):
    def step(self, action):
      turn = super().step(action)
      return Turn(turn.observation, turn.done, turn.success or None, None)

  summary = play(tmp_path, Unsure)
  solved = play(tmp_path / 'b')['splits']['test']['success']['count']
  assert summary['set_aside'] == {}
  assert summary['splits']['test']['success']['count'] == solved


def episode(task_id, success, *steps):
  return {
    'task_id': task_id,
    'success': success,
    'end': 'done',
    'steps': [{'action': a, 'valid': valid} for a, valid in steps],
  }


def test_rejected_actions_are_told_from_those_that_are_said_again():
  found = [
    episode('a', True, ('look', True), ('look', True)),
    # Once again at once, once after another, and once with no turn behind it.
    episode('b', True, ('go', False), ('go', False), ('look', True)),
    episode('c', False, ('go', False), ('look', True), ('go', False)),
  ]
  counts = panel.summarise(found, dict.fromkeys('abcd', 'kind'))
  assert counts['success']['rate'] == 2 / 4
  assert counts['flawless'] == 1 / 4
  assert counts['invalid_rate'] == 4 / 8
  assert counts['repeat_rate'] == 1 / 3
  nobody = panel.summarise([], {})
  assert not nobody['flawless'] and not nobody['repeat_rate']


def test_older_summaries_are_counted_anew(tmp_path):
  """They left out what was set aside, and have no list of what was asked."""
  new = play(tmp_path, Breaks, tasks=12)
  folder = tmp_path / 'evaluate' / 'random'
  summary = json.loads((folder / 'summary.json').read_text())
  of = summary['splits']['test']
  for key in ('panel', 'no_action', 'flawless', 'repeat_rate'):
    del of[key]
  for rate in (of['success'], *of['by_type'].values()):
    rate['n'] -= rate.pop('set_aside')
  summary['world_model'] = {
    'exact_match': {'count': 3, 'n': 6, 'rate': 0.5, 'low': 0.2, 'high': 0.8},
    'nll': 0.5,
    'too_long': 4,
  }
  (folder / 'summary.json').write_text(json.dumps(summary))
  (folder / panel.FILE).unlink()
  again = play(tmp_path, Breaks, tasks=12)
  for key in ('success', 'panel', 'tasks', 'steps', 'flawless', 'repeat_rate'):
    assert again['splits']['test'][key] == new['splits']['test'][key]
  match = again['world_model']['exact_match']
  assert (match['n'], match['rate'], match['too_long']) == (10, 0.3, 4)
  # Those after them did not tell what was said again.
  del new['splits']['test']['repeat_rate']
  counted = panel.recounted(folder, new)['splits']['test']
  assert counted['repeat_rate'] == again['splits']['test']['repeat_rate']


def test_a_panel_is_written_and_proven_when_it_goes_on(tmp_path):
  play(tmp_path, tasks=8)
  assert ids(tmp_path) == {f'test-{i}' for i in range(8)}
  with pytest.raises(
    UserError, match="other tasks: of split 'test', 0 are gone and 2 are new"
  ):
    play(tmp_path, tasks=10)
  (tmp_path / 'evaluate' / 'random' / 'summary.json').unlink()
  with pytest.raises(UserError, match='2 are gone and 0 are new'):
    play(tmp_path, tasks=6)
  # One that an older version left off goes on.
  (tmp_path / 'evaluate' / 'random' / panel.FILE).unlink()
  with pytest.raises(UserError, match='2 are gone and 0 are new'):
    play(tmp_path, tasks=6)
  assert play(tmp_path, tasks=10)['splits']['test']['tasks'] == 10
  assert ids(tmp_path) == {f'test-{i}' for i in range(10)}


def test_each_panel_of_a_policy_has_its_folder(tmp_path):
  dev = play(tmp_path, name='x', panel='dev', tasks=20, batch_tasks=2)
  play(tmp_path, name='x', panel='test')
  assert dev['panel'] == 'dev' and dev['name'] == 'x'
  assert ids(tmp_path, 'x-dev').isdisjoint(ids(tmp_path, 'x-test'))
  with pytest.raises(UserError, match="evaluate.panel is 'Test', not one of"):
    play(tmp_path, panel='Test')


def test_an_evaluation_from_before_there_were_panels_goes_on(tmp_path):
  expected = play(tmp_path)
  path = tmp_path / 'evaluate' / 'random' / 'settings.json'
  settings = json.loads(path.read_text())
  del settings['evaluate']['panel']
  path.write_text(json.dumps(settings))
  assert play(tmp_path)['splits'] == expected['splits']
  with pytest.raises(UserError, match='temperature was 0.0, is 1.0'):
    play(tmp_path, temperature=1.0)


def test_tasks_of_another_split_are_refused(tmp_path):
  class Stray(ToyEnv):
    def tasks(self, split):
      return [Task('a-1', 'train', 'near')]

  with pytest.raises(UserError, match="tasks of split 'train' in split 'test'"):
    play(tmp_path, Stray)
