"""The official constraints that a plan is judged by.

Source: OSU-NLP-Group/TravelPlanner, evaluation/: eight of common sense, and of
five hard ones those that a query has. The reference information has the rows of
the database for the cities of a query, and stands for it here.
"""

import math
import re

from early_experience.envs.travelplanner.data import Query
from early_experience.envs.travelplanner.plan import FIELDS, MEALS

_FROM_TO = re.compile(r'from\s+(.+?)\s+to\s+([^,]+)')
_FLIGHT = re.compile(r'Flight Number: ([^,]*)')
_ROOMS = {
  'shared room': lambda kind: kind == 'Shared room',
  'not shared room': lambda kind: kind != 'Shared room',
  'private room': lambda kind: kind == 'Private room',
  'entire room': lambda kind: kind == 'Entire home/apt',
}


def judge(query: Query, days: list[dict]) -> dict[str, bool]:
  """Each constraint of a query, and whether a plan keeps it.

  Hard ones count as broken where information is missing or made up, as they are
  not looked at then.

  Args:
    query: with what can be chosen.
    days: the plan, a dict a day: `current_city` and a text for each field, `-`
      where there is none.
  """
  found = {name: rule(query, days) for name, rule in COMMONSENSE.items()}
  looked_at = found['Complete Information'] and found['Within Sandbox']
  for name, (key, rule) in HARD.items():
    if key is None or query.constraints[key] is not None:
      found[name] = looked_at and rule(query, days)
  return found


def total_cost(query: Query, days: list[dict]) -> float:
  """Dollars that a plan costs all people; what is unknown costs nothing."""
  total = 0
  for day in days:
    if leg := _leg(query, day):
      total += leg.price * math.ceil(query.people / leg.seats)
    for meal in MEALS:
      if rows := _rows(query, day[meal]):
        total += rows[0]['Average Cost'] * query.people
    if rows := _rooms(query, day['accommodation']):
      rooms = math.ceil(query.people / rows[0]['maximum occupancy'])
      total += rows[0]['price'] * rooms
  return total


def _within_city(query, days):
  """The official code compares letters of the city on days without a journey;
  this is what it means."""
  for day in days:
    here = _cities(day)
    if _set(day, 'transportation') and not all(
      city in day['transportation'] for city in here
    ):
      return False
    texts = [day[meal] for meal in MEALS if _set(day, meal)]
    texts += _attractions(day)
    if not all(any(city in text for city in here) for text in texts):
      return False
    if _set(day, 'accommodation') and here[-1] not in day['accommodation']:
      return False
  return True


def _within_sandbox(query, days):
  for day in days:
    if _set(day, 'transportation') and _leg(query, day) is None:
      return False
    for meal in MEALS:
      if _set(day, meal) and not _rows(query, day[meal]):
        return False
    for attraction in _attractions(day):
      if not _named(query.reference.attractions, 'Name', attraction):
        return False
    if _set(day, 'accommodation') and not _rooms(query, day['accommodation']):
      return False
  return True


def _city_route(query, days):
  """A closed circle, at least two days in each city, none of them twice."""
  route = [city for day in days for city in _cities(day)]
  start = _cities(days[0])
  if len(start) == 2 and start[0] != query.org:
    return False
  if route[0] != route[-1] or not _sequence(route):
    return False
  known = query.reference.cities() - {query.org}
  if not known.issuperset(set(route) - {query.org}):
    return False
  # Trips of more than three days stay in a state: that of the reference.
  return query.days <= 3 or known.issuperset(route[1:-1])


def _sequence(route):
  if len(route) < 3:
    return False
  seen, at, last = set(), 0, len(route) - 1
  while at <= last:
    city = route[at]
    if city in seen and at not in (0, last):
      return False
    start = at
    while at <= last and route[at] == city:
      at += 1
    if at - start == 1 and 0 < start < last:
      return False
    seen.add(city)
  return True


def _diverse_restaurants(query, days):
  eaten = [day[meal] for day in days for meal in MEALS if _set(day, meal)]
  return len(eaten) == len(set(eaten))


def _diverse_attractions(query, days):
  seen = [attraction for day in days for attraction in _attractions(day)]
  return len(seen) == len(set(seen))


def _transportation(query, days):
  """There is some on the first day, and a car of one's own is not left."""
  if not _set(days[0], 'transportation'):
    return False
  modes = ' '.join(day['transportation'].lower() for day in days)
  own = 'self-driving' in modes
  return not (own and ('flight' in modes or 'taxi' in modes))


def _minimum_nights(query, days):
  names = [day['accommodation'] for day in days]
  start = 0
  for end in range(1, len(names) + 1):
    if end < len(names) and names[end] == names[start]:
      continue
    rows = _rooms(query, names[start]) if names[start] not in ('-', '') else []
    if len(rows) == 1 and end - start < rows[0]['minimum nights']:
      return False
    start = end
  return True


def _complete(query, days):
  if len(days) != query.days:
    return False
  start = _cities(days[0])
  if len(start) == 2 and start[0] != query.org:
    return False
  visited = {city for day in days for city in _cities(day)} - {query.org}
  if len(visited) != query.cities:
    return False
  for place, day in enumerate(days, start=1):
    travels = len(_cities(day)) == 2
    needed = ['transportation'] if travels else ['attraction', *MEALS]
    if place < query.days:
      needed.append('accommodation')
    if not all(_set(day, field) for field in needed):
      return False
  filled = sum(bool(v) and v != '-' for day in days for v in day.values())
  return filled >= 0.5 * len(FIELDS) * query.days


def _cuisines(query, days):
  tasted = [
    rows[0]['Cuisines']
    for day in days
    for meal in MEALS
    if (rows := _rows(query, day[meal]))
  ]
  wanted = query.constraints['cuisine']
  return all(any(kind in one for one in tasted) for kind in wanted)


def _room_rule(query, days):
  refused = f'No {query.constraints["house rule"]}'
  return not any(
    refused in room['house_rules'] for room in _booked(query, days)
  )


def _room_type(query, days):
  fits = _ROOMS.get(query.constraints['room type'], lambda kind: True)
  return all(fits(room['room type']) for room in _booked(query, days))


def _transport_rule(query, days):
  banned = {'no flight': 'Flight', 'no self-driving': 'Self-driving'}
  mode = banned.get(query.constraints['transportation'])
  return mode is None or not any(mode in day['transportation'] for day in days)


def _budget(query, days):
  return total_cost(query, days) <= query.budget


COMMONSENSE = {
  'Within Current City': _within_city,
  'Within Sandbox': _within_sandbox,
  'Reasonable City Route': _city_route,
  'Diverse Restaurants': _diverse_restaurants,
  'Diverse Attractions': _diverse_attractions,
  'Non-conf. Transportation': _transportation,
  'Minimum Nights Stay': _minimum_nights,
  'Complete Information': _complete,
}
# The key in a query's constraints, None where all have it, and the rule.
HARD = {
  'Budget': (None, _budget),
  'Room Rule': ('house rule', _room_rule),
  'Cuisine': ('cuisine', _cuisines),
  'Room Type': ('room type', _room_type),
  'Transportation': ('transportation', _transport_rule),
}


def _set(day, field):
  return bool(day[field]) and day[field] != '-'


def plain(city: str) -> str:
  """A city without the state that some plans have in parentheses."""
  return city.split('(')[0].strip()


def _cities(day):
  if found := _FROM_TO.search(day['current_city']):
    return tuple(map(plain, found.groups()))
  return (plain(day['current_city']),)


def _attractions(day):
  return day['attraction'].split(';')[:-1]


def _leg(query, day):
  value = day['transportation']
  found = _FROM_TO.search(value) or _FROM_TO.search(day['current_city'])
  if not found:
    return None
  way = tuple(map(plain, found.groups()))
  flight = _FLIGHT.search(value)
  for leg in query.reference.legs:
    if (leg.origin, leg.destination) != way:
      continue
    if flight:
      if leg.value.startswith(f'{flight.group(0)},'):
        return leg
    elif leg.value.split(',')[0].lower() in value.lower():
      return leg
  return None


def _rows(query, value):
  return _named(query.reference.restaurants, 'Name', value)


def _rooms(query, value):
  return _named(query.reference.accommodations, 'NAME', value)


def _booked(query, days):
  found = [_rooms(query, day['accommodation']) for day in days]
  return [rows[0] for rows in found if rows]


def _named(places, key, value):
  """Rows of a city whose name has the one of `NAME, CITY` in it."""
  name, _, city = value.rpartition(',')
  rows = places.get(plain(city), ()) if name.strip() else ()
  return [row for row in rows if name.strip() in row[key]]
