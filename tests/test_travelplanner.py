"""TravelPlanner: filling a plan, the official constraints, a user's files."""

import ast
import csv
import dataclasses
import json

import pytest

from early_experience.collect import run_expert
from early_experience.envs.travelplanner import data, fixture, plan, rules
from early_experience.envs.travelplanner.environment import TravelPlanner
from early_experience.errors import UserError


@pytest.fixture(scope='module')
def env():
  return TravelPlanner(data='fixture')


def start(env, place=0, split='train'):
  return env.reset(env.tasks(split)[place])


def action(kind, day, field, value, cost=0):
  return json.dumps(
    {
      'action_type': kind,
      'day': day,
      'field': field,
      'value': value,
      'cost': cost,
    }
  )


def test_the_annotated_plan_of_every_trip_passes(env):
  for split, count in (('train', 27), ('validation', 18)):
    tasks = env.tasks(split)
    assert len({task.id for task in tasks}) == len(tasks) == count
    for task in tasks:
      trajectory, failure = run_expert(env, task, max_steps=43)
      assert failure is None and trajectory.score == 1
      made = plan.days(env._query, env._plan)
      assert plan.spent(env._plan) == rules.total_cost(env._query, made)
      days = int(task.type[0])
      assert len(trajectory.steps) == 6 * days + 1  # 1,395 for the official 45


def test_trips_of_a_length_are_held_out():
  env = TravelPlanner(data='fixture', held_out_days=7)
  assert {task.type[0] for task in env.tasks('unseen')} == {'7'}
  assert {task.type[0] for task in env.tasks('train')} == {'3', '5'}
  assert len(env.tasks('unseen')) == 9 + 6
  task = env.tasks('unseen')[-1]
  assert run_expert(env, task, 43)[1] is None
  assert not TravelPlanner(data='fixture').tasks('unseen')


def test_it_begins_with_all_there_is_and_goes_on_with_its_progress(env):
  first = start(env).observation
  assert '- Alvora Grill, Alvora: $18 a person; French, Italian' in first
  assert first.endswith('Next: transportation of day 1')
  (flight, *_, skip) = env.admissible()
  turn = env.step(flight)
  assert turn.observation == (
    'Budget: $600. Spent: $80 (13.3%). Left: $520.\n'
    'Day 1 of 3, 2022-03-01, from Quarry to Alvora:\n'
    '- transportation: Flight Number: F0000000, from Quarry to Alvora,'
    ' Departure Time: 08:00, Arrival Time: 09:10\n'
    '- breakfast: PENDING\n- attraction: PENDING\n- lunch: PENDING\n'
    '- dinner: PENDING\n- accommodation: PENDING\n'
    'Next: breakfast of day 1'
  )
  assert json.loads(skip)['action_type'] == 'SKIP_TRANSPORTATION'


def test_every_listed_action_works_and_is_canonical(env):
  start(env, place=-1)
  expert = env.expert(None)
  for step in expert:
    listed = env.admissible()
    assert step in listed and len(set(listed)) == len(listed)
    for one in listed:
      assert env.canonical(one) == one
      assert env.clone().step(one).valid
    if env.step(step).done:
      break


def test_a_day_of_travel_offers_the_places_of_both_its_cities(env):
  task = next(t for t in env.tasks('train') if t.type == '5-day easy')
  trajectory, _ = run_expert(env, task, 43)
  values = [json.loads(a)['value'] for a in trajectory.steps[13].admissible]
  assert {value.rpartition(', ')[2] for value in values} == {
    *('-', trajectory.steps[13].observation.split(' to ')[1].split(':')[0]),
    trajectory.steps[13].observation.split('from ')[1].split(' to ')[0],
  }


def test_what_it_costs_and_how_it_is_written_is_not_for_the_planner(env):
  start(env)
  value = json.loads(env.admissible()[0])
  sloppy = json.dumps(
    dict(reversed((value | {'why': 'x', 'cost': 1.0}).items()))
  )
  assert env.clone().step(sloppy) == env.step(env.admissible()[0])
  assert env.canonical(sloppy) == json.dumps(value | {'cost': 1})


@pytest.mark.parametrize(
  'text',
  [
    '',
    'fly to Alvora',
    '[1]',
    '[' * 100_000,
    '{}',
    plan.COMPLETE,
    action('SET_MEAL', 1, 'breakfast', 'Alvora Grill, Alvora', 12),  # not yet
    action('SET_TRANSPORTATION', 1, 'transportation', 'a broom'),
    '{"action_type": "\\ud800"}',
  ],
)
def test_what_cannot_be_done_is_told_so_and_changes_nothing(env, text):
  shown = start(env).observation
  before = env.fingerprint()
  turn = env.step(text)
  assert not turn.valid and turn.observation.startswith('Invalid action')
  assert shown.endswith(turn.observation.partition('\n')[2])
  assert env.fingerprint() == before
  env.canonical(text).encode()


def test_a_copy_goes_its_own_way(env):
  start(env)
  before = env.fingerprint()
  twin = env.clone()
  twin.step(twin.admissible()[0])
  assert env.fingerprint() == before != twin.fingerprint()


def test_staying_at_home_is_a_plan_too_and_fails(env):
  start(env)
  while env.admissible() != (plan.COMPLETE,):
    env.step(env.admissible()[-1])
  assert not env.step('{"action_type": "SKIP_MEAL"}').valid
  turn = env.step(plan.COMPLETE)
  kept = rules.judge(env._query, plan.days(env._query, env._plan))
  broken = {name for name, fine in kept.items() if not fine}
  assert not turn.success and turn.score == pytest.approx(
    (len(kept) - len(broken)) / len(kept)
  )
  # What is hard is not looked at where information is missing.
  assert {
    'Complete Information',
    'Non-conf. Transportation',
    'Budget',
  } <= broken
  assert 'Minimum Nights Stay' not in broken


def hard_trip():
  """The last trip of a level with all constraints, and its plan."""
  found = [q for q in fixture.queries()['train'] if q.level == 'hard']
  trip = found[-1]
  trip.constraints['transportation'] = 'no self-driving'
  return trip, [dict(day) for day in trip.plan]


def change(days, day, field, value):
  days[day - 1][field] = value


BREAKS = {
  'Within Current City': lambda d: change(d, 2, 'lunch', 'Elsewhere Grill, X'),
  'Within Sandbox': lambda d: change(d, 1, 'dinner', 'No Such Place, {here}'),
  'Reasonable City Route': lambda d: change(d, 2, 'current_city', '{next}'),
  'Diverse Restaurants': lambda d: change(d, 2, 'lunch', d[1]['dinner']),
  'Diverse Attractions': lambda d: change(
    d, 2, 'attraction', d[1]['attraction'] * 2
  ),
  'Non-conf. Transportation': lambda d: change(
    d, 3, 'transportation', 'Self-driving, {way}'
  ),
  'Minimum Nights Stay': lambda d: change(
    d, 2, 'accommodation', 'Den in {here}, {here}'
  ),
  'Complete Information': lambda d: change(d, 2, 'attraction', '-'),
  'Room Rule': lambda d: [
    change(d, day, 'accommodation', 'Den in {here}, {here}') for day in (1, 2)
  ],
  'Room Type': lambda d: [
    change(d, day, 'accommodation', 'Bunk in {here}, {here}') for day in (1, 2)
  ],
  'Cuisine': lambda d: None,
  'Transportation': lambda d: None,
  'Budget': lambda d: None,
}


@pytest.mark.parametrize('rule', BREAKS)
def test_each_constraint_is_seen_to_be_broken(rule):
  query, days = hard_trip()
  assert all(rules.judge(query, days).values())
  assert set(rules.judge(query, days)) == set(BREAKS)
  here, following = days[1]['current_city'], days[3]['current_city']
  BREAKS[rule](days)
  names = {'here': here, 'next': following}
  names['way'] = days[2]['current_city']
  days = [
    {k: v.format(**names) if isinstance(v, str) else v for k, v in d.items()}
    for d in days
  ]
  if rule == 'Cuisine':
    query.constraints['cuisine'] = ['Martian']
  if rule == 'Transportation':
    query.constraints['transportation'] = 'no flight'
  if rule == 'Budget':
    query = dataclasses.replace(query, budget=rules.total_cost(query, days) - 1)
  broken = {k for k, kept in rules.judge(query, days).items() if not kept}
  assert rule in broken
  if rule in rules.HARD:
    assert broken <= {rule, 'Room Rule', 'Room Type'}


def test_a_plan_visits_as_many_cities_as_asked_for():
  query, days = hard_trip()
  query = dataclasses.replace(query, cities=query.cities + 1)
  assert not rules.judge(query, days)['Complete Information']


@pytest.mark.parametrize(
  'route, fine',
  [
    ('O A A A O', True),
    ('O A A B B O', True),
    ('O A B B O', False),  # one day in A
    ('O A A B B A A O', False),  # A twice
    ('O O', False),
  ],
)
def test_a_route_stays_in_each_city_and_never_returns_to_one(route, fine):
  assert rules._sequence(route.split()) is fine


def test_costs_are_for_everybody():
  query, days = hard_trip()
  one = dataclasses.replace(query, people=1)
  assert (
    rules.total_cost(one, days[:1])
    == sum(
      (
        80,
        one.reference.restaurants[days[1]['current_city']][0]['Average Cost'],
      )
    )
    + 120
  )
  three = dataclasses.replace(query, people=3)  # two rooms, three of all else
  rest = rules.total_cost(one, days[:1]) - 120
  assert rules.total_cost(three, days[:1]) == 3 * rest + 2 * 120


def official(tmp_path, table='csv'):
  """Official files of three trips; the plan of the last has a dream in it."""
  found = [fixture.files(n, days, 'medium') for n, days in enumerate((3, 5, 3))]
  rows = [row for row, _ in found]
  rows[2]['annotated_plan'] = rows[2]['annotated_plan'].replace('Loft', 'Dream')
  if table == 'csv':
    with open(tmp_path / 'train.csv', 'w', newline='') as file:
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
  assert env.expert(start(env, 0, 'validation')) is None


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
    ('train_ref_info.jsonl', '{', '[', 'train_ref_info.jsonl line 1: not JSON'),
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
  with open(tmp_path / 'train_ref_info.jsonl', 'a') as file:
    file.write('{}\n')
  with pytest.raises(UserError, match='has 3 queries, and .* 4 lines'):
    TravelPlanner(data=str(tmp_path))
  with open(tmp_path / 'train.csv', 'a') as file:
    file.write('a,b\n')
  with pytest.raises(UserError, match='train.csv line 5: 2 fields, not'):
    TravelPlanner(data=str(tmp_path))
  with pytest.raises(UserError, match='held_out_days is 4, not one of: 3, 5'):
    TravelPlanner(data='fixture', held_out_days=4)
  with pytest.raises(UserError, match="no split 'test'; there are: train"):
    TravelPlanner(data='fixture').tasks('test')
  assert data.exists(str(tmp_path), 'train')
