"""The official constraints of TravelPlanner, each of them broken."""

import dataclasses

import pytest

from early_experience.envs.travelplanner import fixture, rules


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
