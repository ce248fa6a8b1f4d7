"""A kitchen small enough to be read: the subject of the rule tests."""

_THINGS = {
  # id: type, receptacle, affordances
  'apple_bar_1': (
    'apple',
    'countertop_bar_1',
    'pickupable cleanable heatable coolable sliceable',
  ),
  'apple_bar_2': (
    'apple',
    'fridge_bar_1',
    'pickupable cleanable heatable coolable sliceable',
  ),
  'knife_bar_1': ('knife', 'countertop_bar_1', 'pickupable cleanable'),
  'mug_bar_1': (
    'mug',
    'countertop_bar_1',
    'pickupable cleanable heatable coolable isreceptacleobject',
  ),
  'pen_bar_1': ('pen', 'drawer_bar_1', 'pickupable'),
  'desklamp_bar_1': ('desklamp', 'countertop_bar_1', 'toggleable'),
}
_PLACES = {
  # id: type, location; the drawers share one
  'countertop_bar_1': ('countertop', 'loc_bar_1'),
  'drawer_bar_1': ('drawer', 'loc_bar_2'),
  'drawer_bar_2': ('drawer', 'loc_bar_2'),
  'fridge_bar_1': ('fridge', 'loc_bar_3'),
  'microwave_bar_1': ('microwave', 'loc_bar_4'),
  'sink_bar_1_bar_sinkbasin': ('sinkbasin', 'loc_bar_5'),
}
_FITS = {
  'countertop': 'apple knife mug pen',
  'drawer': 'knife pen',
  'fridge': 'apple mug',
  'microwave': 'apple mug',
  'sinkbasin': 'apple knife mug',
}


def problem(goal: str) -> str:
  """The PDDL problem with a goal, e.g. `(and (holds agent1 mug_bar_1))`."""
  facts = ['(atLocation agent1 loc_bar_0)']
  for place, (kind, location) in _PLACES.items():
    facts.append(f'(receptacleType {place} {kind}Type)')
    facts.append(f'(receptacleAtLocation {place} {location})')
    if kind in ('drawer', 'fridge', 'microwave'):
      facts.append(f'(openable {place})')
    facts += [f'(canContain {kind}Type {o}Type)' for o in _FITS[kind].split()]
  for thing, (kind, place, affordances) in _THINGS.items():
    facts.append(f'(objectType {thing} {kind}Type)')
    facts.append(f'(inReceptacle {thing} {place})')
    facts.append(f'(objectAtLocation {thing} {_PLACES[place][1]})')
    facts += [f'({affordance} {thing})' for affordance in affordances.split()]
  kinds = {kind for kind, *_ in _THINGS.values()}
  locations = {location for _, location in _PLACES.values()} | {'loc_bar_0'}
  return '\n'.join(
    [
      '(define (problem kitchen) (:domain alfred)',
      '(:objects agent1 - agent',
      *(f'{kind}Type - otype' for kind in sorted(kinds)),
      *(f'{kind}Type - rtype' for kind in sorted(_FITS)),
      *(f'{location} - location' for location in sorted(locations)),
      *(f'{thing} - object' for thing in _THINGS),
      *(f'{place} - receptacle' for place in _PLACES),
      f') (:init {" ".join(facts)})',
      f'(:goal {goal}))',
    ]
  )
