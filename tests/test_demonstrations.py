"""Files of demonstrations: a line that is wrong costs at most its own task."""

import json
import pathlib

import pytest

from early_experience.collect import collect_from
from early_experience.config import default
from early_experience.envs import registry
from early_experience.envs.gym import Gym
from early_experience.runtime import files
from early_experience.runtime.errors import UserError
from tests.test_gym import KWARGS, OPEN


def collected(tmp_path, lines, tasks):
  """The summary, and why tasks were set aside."""
  tmp_path.mkdir(exist_ok=True)
  path = tmp_path / 'expert.jsonl'
  path.write_text('\n'.join(lines), encoding='utf-8')
  kwargs = KWARGS | {'tasks': {'train': tasks}, 'demonstrations': str(path)}
  summary = collect_from(Gym(**kwargs), default(), tmp_path)
  aside = files.read_jsonl(tmp_path / 'collect', 'set_aside')
  return summary, {line['task_id']: line['error'] for _, line in aside}


def line(task, **more):
  return json.dumps({'task': task, 'actions': OPEN, **more})


def test_a_line_that_no_reader_can_hold_costs_its_own_task(tmp_path):
  deep = '[' * 100_000 + ']' * 100_000
  wild = [
    f'{{"task": 2, "actions": {deep}}}',
    deep,
    f'{{"task": {"9" * 5000}, "actions": []}}',
    '{"task": 3, "actions": ["open \\ud83d"]}',
  ]
  summary, errors = collected(tmp_path, [line(0), *wild, line(1)], [0, 1, 2, 3])
  assert summary['trajectories'] == 2
  assert set(errors) == {'2', '3'}
  assert 'lines without a task: 4, as line 2: ' in errors['2']


def test_a_line_of_an_unknown_task_is_not_played_and_told_where_one_lacks(
  tmp_path,
):
  summary, errors = collected(
    tmp_path, [line(0), line('train-1'), line(77)], [0, 1]
  )
  assert summary['trajectories'] == summary['tried'] - 1 == 1
  said = 'lines of tasks that are not in the config: 2, as line 2: '
  assert errors['1'].endswith(f"has none ({said}'train-1')")


def test_tasks_without_one_are_passed_over_however_many_come_first(tmp_path):
  summary, errors = collected(tmp_path, [line(1)], [*range(4, 24), 1])
  assert summary['trajectories'] == 1 == summary['tried'] - len(errors)
  with pytest.raises(UserError, match='none of 20 units .* no demonstration'):
    collected(tmp_path / 'none', [line(1)], [*range(4, 24)])


def test_a_file_that_changed_is_another(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  config = default()
  config.env.name = 'gym'
  config.env.kwargs = {'demonstrations': 'expert.jsonl'}
  found = []
  for text in ('one', 'two', 'two'):
    pathlib.Path('expert.jsonl').write_text(text, encoding='utf-8')
    found.append(registry.settings(config.env))
  assert found[0] != found[1] == found[2]


def test_a_file_may_have_more_than_a_config_asks_for(tmp_path):
  summary, errors = collected(tmp_path, [line(i) for i in range(4)], [0, 1])
  assert summary['trajectories'] == summary['tried'] == 2
  assert errors == {}
