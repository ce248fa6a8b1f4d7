"""What a planner reads: the reference information once, then its progress."""

from early_experience.envs.travelplanner import plan as plans
from early_experience.envs.travelplanner.data import Query, Reference
from early_experience.envs.travelplanner.plan import Plan

HOW_TO = (
  'Fill in the plan field by field. Each action is a JSON object:'
  ' {"action_type": "SET_MEAL", "day": 1, "field": "lunch", "value": "NAME,'
  ' CITY", "cost": 20} or {"action_type": "SKIP_MEAL", "day": 1, "field":'
  ' "lunch", "value": "-", "cost": 0}; likewise for TRANSPORTATION, ATTRACTION'
  f' and ACCOMMODATION; at the end {plans.COMPLETE}.'
)


def reference(found: Reference) -> str:
  """All that there is, a line each; prices as the database has them."""
  lines = ['Transportation:']
  for leg in found.legs:
    date = f' on {leg.date}' if leg.date else ''
    each = 'a seat' if leg.seats == 1 else f'for each {leg.seats} people'
    lines.append(f'- {leg.value}{date}: ${leg.price:g} {each}')
  for city, rows in found.restaurants.items():
    lines.append(f'Restaurants in {city}:')
    lines += [
      f'- {r["Name"]}, {city}: ${r["Average Cost"]:g} a person; {r["Cuisines"]}'
      for r in rows
    ]
  for city, rows in found.attractions.items():
    lines.append(f'Attractions in {city}:')
    lines += [f'- {r["Name"]}, {city};' for r in rows]
  for city, rows in found.accommodations.items():
    lines.append(f'Accommodations in {city}:')
    lines += [
      f'- {r["NAME"]}, {city}: ${r["price"]:g} a night for'
      f' {r["maximum occupancy"]:g}; {r["room type"]}; {r["house_rules"]}; at'
      f' least {r["minimum nights"]:g} nights'
      for r in rows
    ]
  return '\n'.join(lines)


def progress(query: Query, plan: Plan) -> str:
  """The budget, the day that is being filled, and the field that comes next.

  Earlier days stand in what the planner did.
  """
  cost = plans.spent(plan)
  share = f' ({100 * cost / query.budget:.1f}%)' if query.budget else ''
  lines = [
    f'Budget: ${query.budget:g}. Spent: ${cost:g}{share}. Left:'
    f' ${query.budget - cost:g}.'
  ]
  # The day of the field that was filled last, whole at its end.
  day = max(0, len(plan) - 1) // len(plans.FIELDS) + 1
  here = plans.city_text(plans.cities(query, plan, day))
  lines.append(f'Day {day} of {query.days}, {query.dates[day - 1]}, {here}:')
  filled = plan[(day - 1) * len(plans.FIELDS) :]
  for place, field in enumerate(plans.FIELDS):
    value = filled[place].value if place < len(filled) else 'PENDING'
    lines.append(f'- {field}: {value}')
  following = plans.next_field(query, plan)
  lines.append(
    f'Next: {following[1]} of day {following[0]}'
    if following
    else 'Next: complete the plan'
  )
  return '\n'.join(lines)
