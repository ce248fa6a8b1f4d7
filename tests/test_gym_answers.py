"""What a user's own environment may leave unsaid, and what it must not say."""

import pytest

from early_experience import config as settings
from early_experience.collect import collect_from
from early_experience.envs.gym import Gym
from early_experience.evaluate import evaluate_in
from early_experience.experience import records
from early_experience.explore import explore_in
from early_experience.runtime.errors import UserError
from tests.test_gym import KWARGS, Box, demonstrations, good, run

CARELESS = 'tests.test_gym_answers:Careless'


class Quiet(Box):
  """Tells of success alone, and is cut short after three steps."""

  def reset(self, seed=None, options=None):
    self._left, self._even = 3, seed % 2 == 0
    return super().reset(seed, options)

  def step(self, action):
    self._left -= 1
    text, reward, _, _, info = super().step(action)
    won = info.pop('won')
    if won or self._even:
      info['won'] = won or None
    return text, reward, won, not self._left, info


class Hasty(Box):
  """Ends with the first action that does nothing, and then says nothing."""

  def step(self, action):
    text, reward, done, cut, info = super().step(action)
    if text == 'No.':
      del info['won']
    return text, reward, done or text == 'No.', cut, info


class Careless(Box):
  """Answers with whatever it is told to."""

  def __init__(self, at, **values):
    super().__init__()
    self._at, self._values = at, values

  def reset(self, seed=None, options=None):
    text, info = super().reset(seed, options)
    return text, self._values['info'] if self._at == 'reset' else info

  def step(self, action):
    names = ('text', 'reward', 'terminated', 'truncated', 'info')
    answer = dict(zip(names, super().step(action), strict=True))
    return tuple({**answer, **self._values}[name] for name in names)


def test_success_that_is_not_told_at_the_end_is_none():
  """Neither an absent key nor None is a fault: all tasks are in the rate."""
  kwargs = KWARGS | {'make': 'tests.test_gym_answers:Quiet'}
  env = Gym(**kwargs | {'tasks': {'train': [0, 1, 10, 11]}})
  for task in env.tasks('train'):
    env.reset(task)
    turns = [env.step(action) for action in ('wait', 'wait', 'wait')]
    assert [turn.done for turn in turns] == [False, False, True]
    assert (turns[-1].success, turns[-1].score) == (False, 0.0)


def test_a_rate_is_over_all_tasks_of_such_an_environment(tmp_path, capsys):
  tasks = {'train': [0], 'test': list(range(100, 150))}
  kwargs = KWARGS | {'make': 'tests.test_gym_answers:Quiet', 'tasks': tasks}
  config = settings.default()
  config.name = config.evaluate.policy = 'random'
  config.evaluate.splits, config.evaluate.tasks = ('test',), 0
  summary = evaluate_in(lambda: Gym(**kwargs), config, str(tmp_path))
  success = summary['splits']['test']['success']
  assert (success['n'], success['set_aside']) == (50, 0)
  assert success['count'] == 0  # seeds above 9 hide nothing
  assert summary['set_aside'] == {}
  assert 'test 0/50 = 0.0% [0.0%, 7.1%]' in capsys.readouterr().out


def test_an_alternative_that_ends_in_failure_is_an_outcome(tmp_path):
  path = demonstrations(tmp_path, *map(good, range(4)))
  kwargs = KWARGS | {'make': 'tests.test_gym_answers:Hasty'}
  env = Gym(**kwargs, demonstrations=path)
  run(collect_from, env, tmp_path)
  summary = run(explore_in, env, tmp_path)
  assert (summary['set_aside'], summary['ended']) == ({}, 8)
  for trajectory in records.read(tmp_path / 'explore'):
    found = [a for step in trajectory.steps for a in step.alternatives]
    assert {(a.action, a.observation, a.done) for a in found} == {
      ('wait', 'No.', True)
    }


def test_a_success_key_that_is_misspelt_is_told_by_the_demonstrations(tmp_path):
  path = demonstrations(tmp_path, *map(good, range(4)))
  env = Gym(**KWARGS | {'success': 'win'}, demonstrations=path)
  with pytest.raises(
    UserError, match="demonstration fails: .*kwargs.success=win; .*'won'"
  ):
    run(collect_from, env, tmp_path)


@pytest.mark.parametrize('nothing', [float('nan'), float('inf'), None, 'much'])
def test_a_reward_that_is_no_number_is_one_line(nothing):
  kwargs = {'make': CARELESS, 'success': 'won'}
  kwargs['kwargs'] = {'at': 'step', 'reward': nothing}
  env = Gym(**KWARGS | kwargs)
  env.reset(env.tasks('train')[1])
  with pytest.raises(UserError) as error:
    env.step('open')
  assert str(error.value) == (
    f'step of {CARELESS} in task 1 returns the reward {nothing!r}, no finite'
    ' number'
  )


@pytest.mark.parametrize('at', ['reset', 'step'])
def test_an_info_of_none_is_empty_and_one_that_is_no_dict_is_named(at):
  def play(info):
    kwargs = {'make': CARELESS, 'tasks': {'train': [0]}}
    env = Gym(**kwargs, kwargs={'at': at, 'info': info})
    env.reset(env.tasks('train')[0])
    return env.step('open')

  assert play(None).observation == 'It opens.'
  with pytest.raises(
    UserError,
    match=f'^{at} of {CARELESS} in task 0 returns an info of list',
  ):
    play([])


@pytest.mark.parametrize('success', [float('nan'), 'yes', {}])
def test_a_success_that_is_no_number_is_named(success):
  kwargs = {'make': CARELESS, 'success': 'won'}
  info = {'goal': '', 'can': [], 'won': success}
  kwargs['kwargs'] = {'at': 'step', 'info': info, 'terminated': True}
  env = Gym(**KWARGS | kwargs)
  env.reset(env.tasks('train')[0])
  with pytest.raises(UserError, match=r"step of .* in task 0 .*info\['won'\]"):
    env.step('open')


def test_the_end_of_an_episode_may_leave_the_lists_out():
  kwargs = {'make': CARELESS, 'valid': 'fine'}
  kwargs['kwargs'] = {'at': 'step', 'info': None, 'truncated': True}
  env = Gym(**KWARGS | kwargs)
  env.reset(env.tasks('train')[0])
  turn = env.step('open')
  assert (turn.done, turn.success, turn.valid) == (True, False, True)
