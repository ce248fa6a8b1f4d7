"""A plan that grows field by field, and what may fill its next field.

After the paper's own gym (appendix B.7): transportation, meals, attraction and
accommodation of each day in turn, from the reference information alone.
"""

import dataclasses
import json
import math

from early_experience.envs.travelplanner.data import Query

FIELDS = (
  'transportation',
  'breakfast',
  'attraction',
  'lunch',
  'dinner',
  'accommodation',
)
MEALS = ('breakfast', 'lunch', 'dinner')
NOTHING = '-'


@dataclasses.dataclass(frozen=True)
class Choice:
  """What fills a field.

  Attributes:
    field: of FIELDS.
    value: as official plans write it; NOTHING where it is left out.
    cost: in dollars, for all people.
    destination: where transportation leads.
  """

  field: str
  value: str = NOTHING
  cost: float = 0
  destination: str = ''

  def described(self, day: int) -> dict:
    """What the action that makes this choice says."""
    kind = 'MEAL' if self.field in MEALS else self.field.upper()
    verb = 'SKIP' if self.value == NOTHING else 'SET'
    return {
      'action_type': f'{verb}_{kind}',
      'day': day,
      'field': self.field,
      'value': self.value,
      'cost': self.cost,
    }

  def action(self, day: int) -> str:
    """The action that makes this choice, as JSON."""
    return write(self.described(day))


COMPLETE = '{"action_type": "COMPLETE_PLAN"}'
Plan = tuple[Choice, ...]  # in the order of the fields, day by day


def write(action: dict) -> str:
  """An action as JSON; whole numbers without a fraction."""
  whole = {
    key: int(value)
    if isinstance(value, float) and value.is_integer()
    else value
    for key, value in action.items()
  }
  text = json.dumps(whole, ensure_ascii=False)
  return text.encode(errors='replace').decode()  # half a character of a model


def next_field(query: Query, plan: Plan) -> tuple[int, str] | None:
  """Day, from 1, and field to fill next; None where all are."""
  day, field = divmod(len(plan), len(FIELDS))
  return (day + 1, FIELDS[field]) if day < query.days else None


def spent(plan: Plan) -> float:
  """Dollars so far."""
  return sum(choice.cost for choice in plan)


def cities(query: Query, plan: Plan, day: int) -> tuple[str, ...]:
  """Where a day is spent: a city, or the two of a journey in order.

  Of a day that has not begun it is where the day before was spent.
  """
  here = (query.org,)
  for choice in plan[: (day - 1) * len(FIELDS) + 1 : len(FIELDS)]:
    here = here[-1:]
    if choice.destination:
      here = (*here, choice.destination)
  return here


def city_text(here: tuple[str, ...]) -> str:
  """How a plan names where a day is spent."""
  return f'from {here[0]} to {here[1]}' if len(here) == 2 else here[0]


def choices(query: Query, plan: Plan) -> list[Choice]:
  """All that may fill the next field, leaving it out last.

  What the budget does not allow is there too: whether it is enough shows in
  the end. The authors' gym leaves it out.
  """
  following = next_field(query, plan)
  if following is None:
    return []
  day, field = following
  here = cities(query, plan, day)
  found = _FOUND[field](query, here, query.dates[day - 1])
  return [*dict.fromkeys(found), Choice(field)]


def days(query: Query, plan: Plan) -> list[dict]:
  """The plan in the official form, a dict a day."""
  found = []
  for start in range(0, len(plan), len(FIELDS)):
    day = start // len(FIELDS) + 1
    values = {c.field: c.value for c in plan[start : start + len(FIELDS)]}
    city = city_text(cities(query, plan, day))
    found.append({'days': day, 'current_city': city, **values})
  return found


def _transportation(query, here, date):
  return [
    Choice(
      'transportation',
      leg.value,
      leg.price * math.ceil(query.people / leg.seats),
      leg.destination,
    )
    for leg in query.reference.legs
    if leg.origin == here[-1] and leg.date in ('', date)
  ]


def _meal(field):
  def found(query, here, date):
    return [
      Choice(
        field, f'{row["Name"]}, {city}', row['Average Cost'] * query.people
      )
      for city in reversed(here)
      for row in query.reference.restaurants.get(city, ())
    ]

  return found


def _attraction(query, here, date):
  # Official plans end each attraction with a semicolon; what does not end with
  # one is not looked at there.
  return [
    Choice('attraction', f'{row["Name"]}, {city};')
    for city in reversed(here)
    for row in query.reference.attractions.get(city, ())
  ]


def _accommodation(query, here, date):
  city = here[-1]
  return [
    Choice(
      'accommodation',
      f'{row["NAME"]}, {city}',
      row['price'] * math.ceil(query.people / row['maximum occupancy']),
    )
    for row in query.reference.accommodations.get(city, ())
  ]


_FOUND = {
  'transportation': _transportation,
  'attraction': _attraction,
  'accommodation': _accommodation,
  **{meal: _meal(meal) for meal in MEALS},
}
