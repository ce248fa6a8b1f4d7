"""ALFWorld's rules, in its words."""

import pytest

from early_experience.envs.alfworld.engine import Engine
from early_experience.envs.alfworld.rules import Rules
from early_experience.runtime.errors import UserError
from tests.alfworld_kitchen import problem

NEVER = '(and (isHot knife_bar_1))'
HOT_MUG_IN_FRIDGE = """
(and (exists (?r - receptacle) (exists (?o - object) (and
  (heatable ?o) (objectType ?o mugType) (receptacleType ?r fridgeType)
  (isHot ?o) (inReceptacle ?o ?r)))))"""
TWO_APPLES_ON_COUNTERTOP = """
(and (exists (?r - receptacle) (exists (?o1 - object) (and
  (objectType ?o1 appleType) (receptacleType ?r countertopType)
  (inReceptacle ?o1 ?r)
  (exists (?o2 - object) (and (not (= ?o1 ?o2)) (objectType ?o2 appleType)
    (inReceptacle ?o2 ?r)))))))"""
MUG_UNDER_LAMP = """
(and (exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and
    (objectType ?ot desklampType) (toggleable ?ot) (isToggled ?ot)
    (receptacleAtLocation ?r ?l) (atLocation ?a ?l) (inReceptacle ?ot ?r)))
  (exists (?o - object ?a - agent) (and
    (objectType ?o mugType) (holds ?a ?o))))"""


def play(goal, *commands):
  """The engine after commands that were all possible, and the last answer."""
  engine = Engine(Rules(problem(goal)))
  text = engine.rules.opening()
  for command in commands:
    text, valid = engine.step(command)
    assert valid, command
  return engine, text


@pytest.mark.parametrize(
  'commands, answer',
  [
    (
      [],
      'You are in the middle of a room. Looking quickly around you, you see'
      ' a countertop 1, a drawer 2, a drawer 1, a fridge 1, a microwave 1,'
      ' and a sinkbasin 1.',
    ),
    (
      ['look'],
      'You are in the middle of a room. Looking quickly around you, you see'
      ' nothing.',
    ),
    (
      ['go to countertop 1'],
      'You arrive at countertop 1. On the countertop 1, you see a apple 2,'
      ' a desklamp 1, a knife 1, and a mug 1.',
    ),
    (['go to fridge 1'], 'You arrive at fridge 1. The fridge 1 is closed.'),
    (
      ['go to fridge 1', 'open fridge 1'],
      'You open the fridge 1. The fridge 1 is open. In it, you see a apple 1.',
    ),
    (
      ['go to fridge 1', 'open fridge 1', 'close fridge 1'],
      'You close the fridge 1.',
    ),
    (
      ['go to sinkbasin 1', 'examine sinkbasin 1'],
      'On the sinkbasin 1, you see nothing.',
    ),
    (
      ['go to drawer 1', 'look'],
      'You are facing the drawer 2, and drawer 1. Next to it, you see nothing.',
    ),
    (['inventory'], 'You are not carrying anything.'),
    (
      ['go to countertop 1', 'use desklamp 1', 'use desklamp 1'],
      'You turn on the desklamp 1.',
    ),
  ],
)
def test_what_is_seen(commands, answer):
  assert play(NEVER, *commands)[1] == answer


TAKE_APPLE = ['go to countertop 1', 'take apple 2 from countertop 1']
TAKE_MUG = ['go to countertop 1', 'take mug 1 from countertop 1']


@pytest.mark.parametrize(
  'commands, answer',
  [
    ([], 'You pick up the apple 2 from the countertop 1.'),
    (['inventory'], 'You are carrying: a apple 2.'),
    (
      ['move apple 2 to countertop 1'],
      'You move the apple 2 to the countertop 1.',
    ),
    (['examine apple 2'], "There's nothing special about apple 2."),
    (
      ['go to fridge 1', 'cool apple 2 with fridge 1'],
      'You cool the apple 2 using the fridge 1.',
    ),
    (
      ['go to fridge 1', 'cool apple 2 with fridge 1', 'examine apple 2'],
      'This is a cold apple 2.',
    ),
    (
      [
        *('go to fridge 1', 'cool apple 2 with fridge 1'),
        *('go to sinkbasin 1', 'clean apple 2 with sinkbasin 1'),
        'examine apple 2',
      ],
      'This is a cool and clean apple 2.',
    ),
    (
      [
        *('go to fridge 1', 'cool apple 2 with fridge 1'),
        *('go to microwave 1', 'heat apple 2 with microwave 1'),
        'examine apple 2',
      ],
      'This is a hot apple 2.',
    ),
  ],
)
def test_what_becomes_of_a_held_object(commands, answer):
  assert play(NEVER, *TAKE_APPLE, *commands)[1] == answer


def test_a_knife_slices_what_is_at_its_place_even_behind_a_closed_door():
  engine, _ = play(
    NEVER, 'go to countertop 1', 'take knife 1 from countertop 1'
  )
  slices = [a for a in engine.admissible() if a.startswith('slice')]
  assert slices == ['slice apple 2 with knife 1']
  engine.step('go to fridge 1')
  text, valid = engine.step('slice apple 1 with knife 1')
  assert valid and text == 'You sliced the apple 1 with the knife 1.'


def test_look_finds_beside_a_place_what_came_from_another_at_its_location():
  _, text = play(
    NEVER,
    *('go to drawer 1', 'open drawer 1', 'open drawer 2'),
    *('take pen 1 from drawer 2', 'move pen 1 to drawer 1', 'look'),
  )
  assert text == (
    'You are facing the drawer 2, and drawer 1. Next to it, you see a pen 1.'
  )


def test_admissible_lists_exactly_what_is_possible():
  engine, _ = play(NEVER, *TAKE_MUG, 'go to microwave 1')
  assert engine.admissible() == (
    'examine microwave 1',
    'examine mug 1',
    'go to countertop 1',
    'go to drawer 1',
    'go to drawer 2',
    'go to fridge 1',
    'go to sinkbasin 1',
    'heat mug 1 with microwave 1',
    'help',
    'inventory',
    'look',
    'open microwave 1',
  )
  engine.step('open microwave 1')
  assert 'move mug 1 to microwave 1' in engine.admissible()


@pytest.mark.parametrize(
  'commands, impossible',
  [
    ([], 'take mug 1 from countertop 1'),  # not there
    (['go to fridge 1'], 'take apple 1 from fridge 1'),  # closed
    (TAKE_MUG, 'take apple 2 from countertop 1'),  # the hand is full
    ([*TAKE_MUG, 'go to drawer 1', 'open drawer 1'], 'move mug 1 to drawer 1'),
    (['go to countertop 1'], 'take desklamp 1 from countertop 1'),
    (['go to countertop 1'], 'examine mug 1'),  # the domain's comma: held only
    (['go to drawer 1'], 'go to drawer 2'),  # the same location
    (['go to countertop 1'], 'Go to fridge 1'),
    ([], ''),
  ],
)
def test_an_impossible_action_changes_nothing(commands, impossible):
  engine, _ = play(NEVER, *commands)
  before = engine.state
  assert engine.step(impossible) == ('Nothing happens.', False)
  assert engine.state == before
  assert impossible not in engine.admissible()


@pytest.mark.parametrize(
  'goal, commands, last',
  [
    (
      HOT_MUG_IN_FRIDGE,
      [
        *TAKE_MUG,
        *('go to microwave 1', 'heat mug 1 with microwave 1'),
        *('go to fridge 1', 'open fridge 1'),
      ],
      'move mug 1 to fridge 1',
    ),
    (
      TWO_APPLES_ON_COUNTERTOP,
      [
        *('go to fridge 1', 'open fridge 1', 'take apple 1 from fridge 1'),
        'go to countertop 1',
      ],
      'move apple 1 to countertop 1',
    ),
    (MUG_UNDER_LAMP, TAKE_MUG, 'use desklamp 1'),
    (
      '(not (inReceptacle mug_bar_1 countertop_bar_1))',
      [TAKE_MUG[0]],
      TAKE_MUG[1],
    ),
    (
      '(forall (?o - object) (or (not (objectType ?o mugType)) (isClean ?o)))',
      [*TAKE_MUG, 'go to sinkbasin 1'],
      'clean mug 1 with sinkbasin 1',
    ),
  ],
)
def test_a_goal_is_reached_with_its_last_condition(goal, commands, last):
  engine, _ = play(goal, *commands)
  assert not engine.won()
  engine.step(last)
  assert engine.won()


@pytest.mark.parametrize(
  'goal, change, undo',
  [
    (
      '(and (isHot mug_bar_1))',
      ('go to microwave 1', 'heat mug 1 with microwave 1'),
      ('go to fridge 1', 'cool mug 1 with fridge 1'),
    ),
    (
      '(and (isCool mug_bar_1))',
      ('go to fridge 1', 'cool mug 1 with fridge 1'),
      ('go to microwave 1', 'heat mug 1 with microwave 1'),
    ),
  ],
)
def test_heat_and_cold_undo_each_other(goal, change, undo):
  assert play(goal, *TAKE_MUG, *change)[0].won()
  assert not play(goal, *TAKE_MUG, *change, *undo)[0].won()


def test_a_clone_goes_its_own_way():
  engine, _ = play(NEVER, 'go to countertop 1')
  clone = engine.clone()
  before = engine.admissible()
  clone.step('take mug 1 from countertop 1')
  clone.step('go to sinkbasin 1')
  clone.step('clean mug 1 with sinkbasin 1')
  assert engine.admissible() == before
  assert engine.step('inventory')[0] == 'You are not carrying anything.'
  assert clone.step('examine mug 1')[0].startswith('This is a normal mug 1.')


@pytest.mark.parametrize(
  'text', ['', '(define', '(define (:objects) (:init))', '{"json": 1}']
)
def test_what_is_no_problem_is_refused_by_name(text):
  with pytest.raises(UserError, match='game 7'):
    Rules(text, 'game 7')
