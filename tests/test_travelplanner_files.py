"""TravelPlanner over the files of a user, whole and broken."""

import ast
import csv
import json

import pytest

from early_experience.collect import run_expert
from early_experience.envs.travelplanner import fixture
from early_experience.envs.travelplanner.environment import TravelPlanner
from early_experience.runtime.errors import UserError


def official(tmp_path, table='csv'):
  """Official files of three trips; the plan of the last has a dream in it."""
  found = [fixture.files(n, days, 'medium') for n, days in enumerate((3, 5, 3))]
  rows = [row for row, _ in found]
  rows[2]['annotated_plan'] = rows[2]['annotated_plan'].replace('Loft', 'Dream')
  if table == 'csv':
    with open(
      tmp_path / 'train.csv', 'w', encoding='utf-8', newline=''
    ) as file:
      writer = csv.DictWriter(file, rows[0])
      writer.writeheader()
      writer.writerows(rows)
  else:
    write(tmp_path / 'train.jsonl', rows)
  write(tmp_path / 'train_ref_info.jsonl', [info for _, info in found])
  return found


def write(path, values):
  path.write_text('\n'.join(json.dumps(v) for v in values) + '\n')


@pytest.mark.parametrize('table', ['csv', 'jsonl'])
def test_a_users_files_are_played(tmp_path, table):
  official(tmp_path, table)
  env = TravelPlanner(data=str(tmp_path))
  assert env.splits == ('train', 'unseen')
  found = [run_expert(env, task, 43)[1] for task in env.tasks('train')]
  assert found == [None, None, 'gave up']  # the reference has no Dream


def test_annotated_plans_may_write_things_their_own_way(tmp_path):
  row, info = fixture.files(1, 5, 'medium')
  days = ast.literal_eval(row['annotated_plan'])[1]
  for day in filter(None, days):
    for field in ('breakfast', 'lunch', 'dinner', 'accommodation'):
      if day[field] != '-':
        day[field] += '(Norland)'
    if day['attraction'] != '-':
      day['attraction'] += 'Some Other Park, Elsewhere;'  # the first counts
    flight, way, *_ = day['transportation'].split(', ') + ['']
    if way:
      day['transportation'] = f'{flight}, {way}(Norland)'
  write(tmp_path / 'train.jsonl', [row | {'annotated_plan': str(days)}])
  write(tmp_path / 'train_ref_info.jsonl', [info])
  env = TravelPlanner(data=str(tmp_path))
  assert run_expert(env, env.tasks('train')[0], 43)[1] is None


def test_validation_has_no_annotated_plans(tmp_path):
  found = official(tmp_path)
  row = {k: v for k, v in found[0][0].items() if k != 'annotated_plan'}
  write(tmp_path / 'validation.jsonl', [row])
  write(tmp_path / 'validation_ref_info.jsonl', [found[0][1]])
  env = TravelPlanner(data=str(tmp_path))
  assert env.expert(env.reset(env.tasks('validation')[0])) is None


@pytest.mark.parametrize(
  'file, old, new, message',
  [
    ('train.jsonl', '"days": "5"', '"days": "five"', 'line 2: malformed: inv'),
    (
      'train.jsonl',
      '"days": "5"',
      '"days": "4"',
      'line 2: 4 days with 5 dates',
    ),
    ('train.jsonl', '"budget"', '"bugdet"', "line 1: has no 'budget'"),
    (
      'train.jsonl',
      '"local_constraint": "{',
      '"local_constraint": "__import__(0){',
      'line 1: malformed',
    ),
    ('train_ref_info.jsonl', '{', '[', 'line 1: not a whole JSON'),
    (
      'train_ref_info.jsonl',
      '"Average Cost": 12',
      '"Average Cost": "cheap"',
      "line 1: Restaurants in Alvora: malformed: 'Average Cost' is 'cheap'",
    ),
    (
      'train_ref_info.jsonl',
      'Taxi from',
      'Boat from',
      'line 1: Boat from Quarry to Alvora: malformed: not a kind',
    ),
    ('train_ref_info.jsonl', '"Price"', '"price"', "no 'Price'"),
  ],
)
def test_a_malformed_line_is_named(tmp_path, file, old, new, message):
  official(tmp_path, 'jsonl')
  path = tmp_path / file
  path.write_text(path.read_text().replace(old, new, 1))
  with pytest.raises(UserError, match=message) as error:
    TravelPlanner(data=str(tmp_path))
  assert '\n' not in str(error.value)


def test_missing_files_and_wrong_arguments_are_named(tmp_path):
  with pytest.raises(
    UserError, match='env.kwargs.data .*train.csv or train.js'
  ):
    TravelPlanner()
  official(tmp_path)
  with open(tmp_path / 'train_ref_info.jsonl', 'a', encoding='utf-8') as file:
    file.write('{}\n')
  with pytest.raises(UserError, match='has 3 queries, and .* 4 lines'):
    TravelPlanner(data=str(tmp_path))
  with open(tmp_path / 'train.csv', 'a', encoding='utf-8') as file:
    file.write('a,b\n')
  with pytest.raises(UserError, match='train.csv line 5: 2 fields, not'):
    TravelPlanner(data=str(tmp_path))
  with pytest.raises(UserError, match='held_out_days is 4, not one of: 3, 5'):
    TravelPlanner(data='fixture', held_out_days=4)
  with pytest.raises(UserError, match="no split 'test'; there are: train"):
    TravelPlanner(data='fixture').tasks('test')
