"""TravelPlanner: filling a plan."""

import json

import pytest

from early_experience.collect import run_expert
from early_experience.envs.travelplanner import plan, rules
from early_experience.envs.travelplanner.environment import TravelPlanner


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
