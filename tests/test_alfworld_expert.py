"""The expert searches: it knows what an agent knows, and gets there."""

import collections
from random import Random

import pytest

from early_experience.envs.alfworld import expert, tables
from early_experience.envs.alfworld.environment import AlfWorld
from early_experience.envs.interface import Turn


def play(env, turn, limit=50):
  """(action, turn) of an expert episode."""
  plan = env.expert(turn)
  action, steps = next(plan), []
  while len(steps) < limit:
    turn = env.step(action)
    steps.append((action, turn))
    try:
      action = plan.send(turn)
    except StopIteration:
      break
  return steps


@pytest.mark.parametrize('split', AlfWorld.splits)
def test_it_solves_nine_of_ten_games_of_every_task_type(split):
  env = AlfWorld(
    source='generated', train_games=60, seen_games=60, unseen_games=60
  )
  wins, rejected, steps = collections.Counter(), 0, 0
  for task in env.tasks(split):
    episode = play(env, env.reset(task))
    wins[task.type] += episode[-1][1].success
    rejected += sum(not turn.valid for _, turn in episode)
    steps += len(episode)
  assert set(wins) == set(tables.TASK_TYPES)
  assert all(count >= 9 for count in wins.values()), wins
  assert rejected < 0.02 * steps


@pytest.mark.parametrize(
  'sentence, errand',
  [
    ('put a mug in desk.', ('pick_and_place_simple', 'mug', 'desk')),
    ('put some mug on desk.', ('pick_and_place_simple', 'mug', 'desk')),
    (
      'Your task is to: put a clean mug in desk.',
      ('pick_clean_then_place_in_recep', 'mug', 'desk'),
    ),
    (
      'clean some mug and put it in desk.',
      ('pick_clean_then_place_in_recep', 'mug', 'desk'),
    ),
    (
      'put a hot egg in fridge',
      ('pick_heat_then_place_in_recep', 'egg', 'fridge'),
    ),
    (
      'cool some egg and put it in fridge.',
      ('pick_cool_then_place_in_recep', 'egg', 'fridge'),
    ),
    ('put two pen in desk.', ('pick_two_obj_and_place', 'pen', 'desk')),
    (
      'find two pen and put them in desk.',
      ('pick_two_obj_and_place', 'pen', 'desk'),
    ),
    (
      'examine the cd with the desklamp.',
      ('look_at_obj_in_light', 'cd', 'desklamp'),
    ),
    (
      'look at cd under the desklamp.',
      ('look_at_obj_in_light', 'cd', 'desklamp'),
    ),
  ],
)
def test_it_understands_every_form_of_instruction(sentence, errand):
  assert expert.understand(sentence) == expert.Errand(*errand)


def test_it_has_no_plan_for_what_it_does_not_understand():
  assert list(expert.act('make me happy', Turn('You see a desk 1.'))) == []


def act_on(answers, instruction, *places):
  """Actions in a world of canned answers, which no engine stands behind."""
  around = ', '.join(f'a {place}' for place in places)
  first = Turn(f'Looking quickly around you, you see {around}.')
  plan = expert.act(instruction, first)
  actions = [next(plan)]
  while True:
    try:
      actions.append(plan.send(Turn(answers[actions[-1]])))
    except StopIteration:
      return actions


def test_it_needs_nothing_but_instruction_and_observations():
  answers = {
    'go to desk 1': 'You arrive at desk 1. On the desk 1, you see a pen 1.',
    'go to shelf 1': 'You arrive at shelf 1. On the shelf 1, you see nothing.',
    'go to drawer 1': 'You arrive at drawer 1. The drawer 1 is closed.',
    'open drawer 1': 'You open the drawer 1. The drawer 1 is open. In it, you'
    ' see a cd 1, and a watch 1.',
    'take watch 1 from drawer 1': 'You pick up the watch 1 from the drawer 1.',
    'move watch 1 to shelf 1': 'You move the watch 1 to the shelf 1.',
  }
  places = 'desk 1', 'drawer 1', 'shelf 1'
  actions = act_on(answers, 'put some watch on shelf.', *places)
  assert sorted(actions[:2]) == ['go to desk 1', 'go to shelf 1']
  assert actions[2:] == [
    'go to drawer 1',
    'open drawer 1',
    'take watch 1 from drawer 1',
    'go to shelf 1',
    'move watch 1 to shelf 1',
  ]


def test_the_second_object_joins_one_that_is_in_its_place_already():
  answers = {
    'go to desk 1': 'You arrive at desk 1. On the desk 1, you see nothing.',
    'go to desk 2': 'You arrive at desk 2. On the desk 2, you see a pen 2.',
    'go to drawer 1': 'You arrive at drawer 1. The drawer 1 is closed.',
    'open drawer 1': 'You open the drawer 1. The drawer 1 is open. In it, you'
    ' see a pen 1.',
    'take pen 1 from drawer 1': 'You pick up the pen 1 from the drawer 1.',
    'move pen 1 to desk 2': 'You move the pen 1 to the desk 2.',
  }
  places = 'desk 2', 'desk 1', 'drawer 1'
  actions = act_on(answers, 'put two pen in desk.', *places)
  assert actions[-1] == 'move pen 1 to desk 2'


def test_it_looks_into_its_hand_before_unlikely_places():
  answers = {
    'go to desk 1': 'You arrive at desk 1. On the desk 1, you see nothing.',
    'inventory': 'You are carrying: a pen 1.',
    'move pen 1 to desk 1': 'You move the pen 1 to the desk 1.',
  }
  actions = act_on(answers, 'put a pen in desk.', 'toilet 1', 'desk 1')
  assert actions == ['go to desk 1', 'inventory', 'move pen 1 to desk 1']


def test_it_avoids_going_to_where_it_stands():
  """Neighbours of a kind share locations; another kind comes in between."""
  answers = {
    f'go to {kind} {i}': f'You arrive at {kind} {i}. On the {kind} {i}, you see'
    ' nothing.'
    for kind in ('shelf', 'desk')
    for i in (1, 2)
  } | {'inventory': 'You are not carrying anything.'}
  places = 'desk 2', 'desk 1', 'shelf 2', 'shelf 1'
  actions = act_on(answers, 'put a pen in drawer.', *places)
  kinds = [action.split()[2] for action in actions[:4]]
  assert all(a != b for a, b in zip(kinds, kinds[1:], strict=False))


def test_it_goes_on_from_the_middle_of_an_episode():
  """Whatever it holds, wherever things were moved to."""
  env = AlfWorld(
    source='generated', train_games=60, rooms=('bathroom', 'bedroom')
  )
  wins = tried = 0
  for number, task in enumerate(env.tasks('train')):
    first = turn = env.reset(task)
    for action, _ in play(env.clone(), first, limit=number % 12):
      turn = env.step(action)
    if not turn.done:
      tried += 1
      wins += play(env, first)[-1][1].success
  assert tried > 20 and wins > 0.9 * tried


def test_it_puts_down_what_it_does_not_need():
  env = AlfWorld(source='generated', rooms=('bathroom',), train_games=30)
  tried = 0
  for task in env.tasks('train'):
    first = env.reset(task)
    other = next((a for a in _takes(env) if _wanted(task) not in a), None)
    if other:
      tried += 1
      env.step(other)
      assert play(env, first)[-1][1].success, task.id
  assert tried > 5


def _takes(env):
  """Walks the surfaces of a room until there is something to take."""
  for action in env.admissible():
    if action.startswith('go to'):
      env.step(action)
      takes = [a for a in env.admissible() if a.startswith('take')]
      if takes:
        return takes
  return []


def _wanted(task):
  return task.id.split('-')[1].lower()


def test_asked_on_its_own_way_it_says_what_it_did():
  env = AlfWorld(source='generated', train_games=30)
  for task in env.tasks('train'):
    first, past = env.reset(task), []
    for action, turn in play(env.clone(), first):
      assert env.advise(first, past) == action, (task.id, len(past))
      past.append((action, turn))


def test_asked_wherever_others_went_it_leads_to_the_end():
  """It remembers what their actions have shown, done and put in the hand."""
  env, rng, wins = AlfWorld(source='generated', train_games=60), Random(0), 0
  tasks = env.tasks('train')
  for task in tasks:
    first = turn = env.reset(task)
    past = []
    while not turn.done and len(past) < 50:
      wild = len(past) < 20 and rng.random() < 0.6
      action = rng.choice(env.admissible()) if wild else env.advise(first, past)
      turn = env.step(action)
      past.append((action, turn))
    wins += turn.success
  assert wins >= 0.95 * len(tasks)
