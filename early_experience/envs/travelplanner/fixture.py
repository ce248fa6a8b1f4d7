"""Made-up trips through made-up cities, for tests: no benchmark.

In the form of the official files, so that the code that reads those is tried.
The annotated plan of each keeps every constraint.
"""

import datetime
import itertools
import math

from early_experience.envs.travelplanner import data

SOURCE = 'fixture made for tests, not the benchmark (TravelPlanner)'
_CITIES = ('Alvora', 'Brenholm', 'Castine', 'Delmont', 'Erlund', 'Farrow')
_HOMES = ('Quarry', 'Redgate', 'Saltash')
_STATE = 'Norland'
_CUISINES = ('American', 'Chinese', 'French', 'Indian', 'Italian', 'Mexican')
_FOODS = ('Kitchen', 'Diner', 'Grill', 'Garden', 'Table', 'Corner', 'House')
_SIGHTS = ('Museum', 'Park', 'Tower', 'Gallery', 'Bridge')
# room type, house rules, minimum nights, price
_ROOMS = (
  ('Attic', 'Entire home/apt', 'No pets', 5, 60),  # too long for any of them
  ('Loft', 'Entire home/apt', 'No smoking', 2, 120),
  ('Den', 'Private room', 'No parties & No pets', 1, 70),
  ('Bunk', 'Shared room', 'No visitors', 1, 30),
)
_LEVELS = ('easy', 'medium', 'hard')


def queries() -> dict[str, list[data.Query]]:
  """Trips of each split: 3, 5 and 7 days, at three levels."""
  numbers = itertools.count()
  return {
    split: [
      _query(next(numbers), days, level, f'{split}-{place}')
      for place, (days, level) in enumerate(
        itertools.product((3, 5, 7), _LEVELS * repeats), start=1
      )
    ]
    for split, repeats in (('train', 3), ('validation', 2))
  }


def _query(number, days, level, name):
  where = f'the fixture, {name}'
  row, info = files(number, days, level)
  return data.to_query(where, row, data.to_reference(where, info), name)


def files(number: int, days: int, level: str) -> tuple[dict, dict]:
  """A row of the queries and a line of the reference information."""
  home = _HOMES[number % len(_HOMES)]
  stops = [_CITIES[(number + 2 * i) % len(_CITIES)] for i in range(days // 2)]
  start = datetime.date(2022, 3, 1) + datetime.timedelta(number % 20)
  dates = [str(start + datetime.timedelta(i)) for i in range(days)]
  people = 1 + number % 3
  info = {}
  for place, city in enumerate(stops):
    info[f'Restaurants in {city}'] = _restaurants(city, number + place)
    info[f'Attractions in {city}'] = [
      {'Name': f'{city} {sight}', 'City': city} for sight in _SIGHTS
    ]
    info[f'Accommodations in {city}'] = _accommodations(city)
  route = [home, *stops, home]
  for place, (origin, end) in enumerate(itertools.pairwise(route)):
    way, date = f'from {origin} to {end}', dates[2 * place]
    info[f'Flight {way} on {date}'] = [
      _flight(f'F{100 * number + 10 * place + i:07d}', 80 + 15 * i)
      for i in range(2)
    ]
    info[f'Self-driving {way}'] = (
      f'self-driving, {way}, duration: 3 hours, distance: 300 km, cost: 15'
    )
    info[f'Taxi {way}'] = 'No valid information.'
  plan, cost = _annotated(info, route, dates, people)
  budget = math.ceil(1.15 * cost / 50) * 50
  constraints = _constraints(info, stops, level)
  text = (
    f'Please plan a trip of {days} days for {people} from {home} to'
    f' {_place(stops)}, from {dates[0]} to {dates[-1]}, for ${budget}.'
  )
  wishes = [f'{k}: {v}' for k, v in constraints.items() if v]
  row = {
    'org': home,
    'dest': _place(stops),
    'days': str(days),
    'visiting_city_number': str(len(stops)),
    'date': str(dates),
    'people_number': str(people),
    'local_constraint': str(constraints),
    'budget': str(budget),
    'query': f'{text} {"; ".join(wishes)}'.strip(),
    'level': level,
    'annotated_plan': str([{'org': home}, [*plan, *[{}] * (7 - days)]]),
  }
  return row, info


def _place(stops):
  return stops[0] if len(stops) == 1 else _STATE


def _restaurants(city, number):
  return [
    {
      'Name': f'{city} {food}',
      'Average Cost': 12 + (number + 3 * i) % 20,
      'Cuisines': ', '.join(_CUISINES[(number + i + j) % 6] for j in (0, 2)),
      'City': city,
    }
    for i, food in enumerate(_FOODS)
  ]


def _accommodations(city):
  return [
    {
      'NAME': f'{name} in {city}',
      'price': float(price),
      'room type': kind,
      'house_rules': rules,
      'minimum nights': float(nights),
      'maximum occupancy': 2,
      'city': city,
    }
    for name, kind, rules, nights, price in _ROOMS
  ]


def _flight(number, price):
  return {
    'Flight Number': number,
    'Price': price,
    'DepTime': '08:00',
    'ArrTime': '09:10',
  }


def _constraints(info, stops, level):
  """Constraints that the annotated plan keeps: none, one or three."""
  kept = {
    'house rule': 'pets',
    'cuisine': [
      info[f'Restaurants in {stops[0]}'][0]['Cuisines'].split(',')[0]
    ],
    'room type': 'entire room',
    'transportation': None,
  }
  if level == 'easy':
    kept |= {'house rule': None, 'cuisine': None, 'room type': None}
  elif level == 'medium':
    kept |= {'house rule': None, 'cuisine': None}
  return kept


def _annotated(info, route, dates, people):
  """The plan: a journey on every other day, new restaurants each time."""
  plan, cost = [], 0
  eaten = {city: iter(info[f'Restaurants in {city}']) for city in route[1:-1]}
  seen = {city: iter(_SIGHTS) for city in route[1:-1]}
  for place, date in enumerate(dates):
    day = dict.fromkeys(
      ('transportation', 'breakfast', 'attraction', 'lunch', 'dinner'), '-'
    )
    travels = place % 2 == 0
    origin, city = route[place // 2], route[place // 2 + 1]
    day['current_city'] = f'from {origin} to {city}' if travels else city
    if travels:
      flight = info[f'Flight from {origin} to {city} on {date}'][0]
      cost += flight['Price'] * people
      day['transportation'] = (
        f'Flight Number: {flight["Flight Number"]}, from {origin} to {city},'
        ' Departure Time: 08:00, Arrival Time: 09:10'
      )
    else:
      day['attraction'] = f'{city} {next(seen[city])}, {city};'
    if travels:
      meals = {'breakfast': origin, 'dinner': city}
    else:
      meals = dict.fromkeys(('breakfast', 'lunch', 'dinner'), city)
    for meal, at in meals.items():
      if at in eaten:
        row = next(eaten[at])
        cost += row['Average Cost'] * people
        day[meal] = f'{row["Name"]}, {at}'
    day['accommodation'] = '-'
    if place < len(dates) - 1:
      day['accommodation'] = f'Loft in {city}, {city}'
      cost += 120 * math.ceil(people / 2)
    plan.append({'days': place + 1, **day})
  return plan, cost
