"""ALFWorld's official engine as an environment, and forks of it."""

import os

import pytest
from ml_collections import ConfigDict

from early_experience.collect import run_expert
from early_experience.envs import registry
from early_experience.exploration import branching, fork
from early_experience.runtime.errors import UserError

GAMES = {'source': 'generated', 'train_games': 6}
_EXTRA = 'needs the official engine: pip install "early_experience[alfworld]"'


def make(name, **kwargs):
  return registry.make(ConfigDict({'name': name, 'kwargs': GAMES | kwargs}))


def test_the_fast_engine_needs_a_walkthrough_in_the_file():
  env = make('alfworld', expert='walkthrough')
  turn = env.reset(env.tasks('train')[0])
  with pytest.raises(UserError, match='has no walkthrough: .*official'):
    env.expert(turn)
  with pytest.raises(UserError, match='env.kwargs.expert is .human.'):
    make('alfworld', expert='human')


@pytest.fixture(scope='module')
def official():
  for module in 'textworld', 'fast_downward', 'tatsu', 'termcolor', 'tqdm':
    pytest.importorskip(module, reason=_EXTRA)
  return make('alfworld_official', expert='walkthrough')


@pytest.fixture(scope='module')
def walked(official):
  """The official engine's first task, its planner's path and all turns."""
  task = official.tasks('train')[0]
  return task, run_expert(official, task, 20)[0]


def test_importing_the_engine_makes_no_folder_in_the_home(
  official, tmp_path, monkeypatch
):
  monkeypatch.setenv('HOME', str(tmp_path))
  monkeypatch.delenv('ALFWORLD_DATA', raising=False)
  make('alfworld_official').reset(official.tasks('train')[0])
  assert not list(tmp_path.iterdir()) and 'ALFWORLD_DATA' not in os.environ


def test_a_walkthrough_wins_in_both_engines(walked):
  task, trajectory = walked
  assert trajectory.success and trajectory.expert == 'walkthrough'
  fast = make('alfworld')
  turn = fast.reset(task)
  assert fast.instruction == trajectory.instruction
  for index, step in enumerate(trajectory.steps):
    assert fast.admissible() == step.admissible
    assert step.action in step.admissible
    turn = fast.step(step.action)
    assert sorted(turn.observation) == sorted(trajectory.outcome(index))
  assert turn.success


def test_forks_of_a_state_are_what_replays_of_it_lead_to(official, walked):
  task, trajectory = walked
  at = len(trajectory.steps) // 2
  others = [a for a in trajectory.steps[at].admissible if a != 'look'][:4]
  others += ['dance', trajectory.steps[at].action]
  branching.arrive(official, task, trajectory, at)
  before = official.fingerprint(), official.admissible()
  step = lambda env, action: env.step(action)
  forked = [fork.peek(official, action, step) for action in others]
  assert (official.fingerprint(), official.admissible()) == before
  assert [turn.valid for turn in forked].count(False) == 1
  for action, turn in zip(others[-3:], forked[-3:], strict=True):
    branching.arrive(official, task, trajectory, at)
    assert official.step(action) == turn
    same = official.fingerprint() == before[0]
    assert same == (action == 'dance')


def test_what_is_not_possible_is_an_answer(official, walked):
  branching.arrive(official, *walked, 0)
  for action in ('', 'put x in y', 'go to\nshelf 1', '\ud800'):
    turn = official.step(action)
    assert not turn.valid and turn.observation == 'Nothing happens.'
