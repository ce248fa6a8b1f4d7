"""A user's own environment: read as it is told, and told what is wrong."""

import json
import string

import pytest

from early_experience import config as settings
from early_experience.collect import collect_from
from early_experience.envs.gym import Gym
from early_experience.experience import records
from early_experience.explore import explore_in
from early_experience.runtime import files
from early_experience.runtime.errors import UserError

OPEN = ['open', 'take']


class Box:
  """Open it and take what is there; a seed above 9 hides nothing.

  Args:
    shared: what a copy would have in common with the original.
    **answers: in place of an info's own values.
  """

  def __init__(self, shared=False, observation='', **answers):
    self._state = Shared() if shared else {}
    self._text, self._answers = observation, answers

  def reset(self, seed=None, options=None):
    self._state.clear()
    self._holds = (options or {}).get('holds', 'a coin')
    self._full = seed < 9
    return self._text or f'A box with {self._holds}?', self._info()

  def step(self, action):
    if action == 'kick':
      raise ValueError('it\nbreaks')
    opens = action == 'open' and not self._state.get('open')
    takes = action == 'take' and bool(self._state.get('open'))
    if opens:
      self._state['open'] = True
    if action == 'burn':
      self._state['empty'] = True
    won = takes and self._full and 'empty' not in self._state
    text = 'Yours.' if won else 'It opens.' if opens else 'No.'
    info = {**self._info(), 'won': won, 'fine': opens or takes}
    return text, 0.5 * opens + 0.5 * won, takes, False, info

  def _info(self):
    possible = ['take'] if self._state.get('open') else ['open']
    return {'goal': 'Empty it.', 'can': [*possible, 'wait'], **self._answers}


class Shared(dict):
  """A dictionary that copy.deepcopy does not copy."""

  def __deepcopy__(self, memo):
    return self


class Uncopyable(Box):
  def __deepcopy__(self, memo):
    raise TypeError('no copies')


class Old(Box):
  """The interface of the years before gymnasium."""

  def step(self, action):
    return super().step(action)[:4]


KWARGS = {
  'make': 'tests.test_gym:Box',
  'tasks': {'train': [0, 1, 2, 3, 10], 'test': [100]},
  'success': 'won',
  'instruction': 'goal',
  'admissible': 'can',
}


def demonstrations(tmp_path, *lines):
  path = tmp_path / 'expert.jsonl'
  texts = (x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines)
  path.write_bytes(b'\n'.join(texts))
  return str(path)


def good(task, **more):
  return {'task': task, 'actions': OPEN, **more}


def run(stage, env, workdir):
  config = settings.default()
  config.explore.k = 2
  config.cluster.tries = 1
  return stage(env, config, str(workdir))


def test_demonstrations_become_trajectories_with_their_thoughts(tmp_path):
  path = demonstrations(
    tmp_path, good(0), good('1', thoughts=['Shut.', None]), good(2), good(3)
  )
  env = Gym(**KWARGS | {'tasks': {'train': [0, 1]}}, demonstrations=path)
  run(collect_from, env, tmp_path)
  first, second = records.read(tmp_path / 'collect')
  assert (first.source, first.instruction) == (
    'tests.test_gym:Box',
    'Empty it.',
  )
  assert [step.action for step in first.steps] == OPEN
  assert [step.admissible for step in first.steps] == [
    ('open', 'wait'),
    ('take', 'wait'),
  ]
  assert (first.success, first.final_observation) == (True, 'Yours.')
  assert [step.thought for step in second.steps] == ['Shut.', None]


def test_demonstrations_that_cannot_be_played_are_counted_by_reason(tmp_path):
  path = demonstrations(
    tmp_path,
    good(0),
    b'{"task": 1, "actions": ["op\xff"]}',
    {'task': 2, 'actions': ['open', 'take', 'open']},  # all done before that
    {'task': 3, 'actions': ['take', 'open', 'take']},
    {'task': 4, 'actions': 'open'},
    {'task': 5, 'actions': ['open']},
    good(6, thoughts=['one']),
    good(7),
    good(7),
    good(10),
  )
  env = Gym(
    **KWARGS | {'tasks': {'train': [*range(8), 10]}}, demonstrations=path
  )
  summary = run(collect_from, env, tmp_path)
  assert summary['trajectories'] == 2
  assert summary['set_aside'] == {
    'demonstration ends early': 1,
    'demonstration fails': 1,
    'demonstration malformed': 3,
    'expert action rejected': 1,
    'no demonstration': 1,
  }
  errors = [
    v['error'] for _, v in files.read_jsonl(tmp_path / 'collect', 'set_aside')
  ]
  assert 'lines without a task: 1, as line 2: not JSON in UTF-8' in errors[0]
  assert 'expert.jsonl line 5: "actions" is no list of texts' in errors[2]


@pytest.mark.parametrize('copyable', [False, True])
def test_branches_are_the_same_by_copies_and_by_replays(tmp_path, copyable):
  env = Gym(
    **KWARGS,
    copyable=copyable,
    demonstrations=demonstrations(tmp_path, *map(good, range(4))),
  )
  run(collect_from, env, tmp_path)
  assert run(explore_in, env, tmp_path)['set_aside'] == {}
  for trajectory in records.read(tmp_path / 'explore'):
    assert [
      [(a.action, a.observation) for a in step.alternatives]
      for step in trajectory.steps
    ] == [[('wait', 'No.')], [('wait', 'No.')]]


def test_copies_that_are_not_independent_are_found_out(tmp_path):
  """What burns in the copy burns in the original too, and shows late."""
  path = demonstrations(tmp_path, *map(good, range(4)))
  kwargs = KWARGS | {'kwargs': {'shared': True, 'can': [*OPEN, 'burn']}}
  env = Gym(**kwargs, copyable=True, demonstrations=path)
  run(collect_from, env, tmp_path)
  with pytest.raises(UserError, match='a copy of .* changed the original'):
    run(explore_in, env, tmp_path)


def test_a_fingerprint_changes_with_the_state_alone():
  env = Gym(**KWARGS, copyable=True)
  env.reset(env.tasks('train')[0])
  before = env.fingerprint()
  env.step('wait')
  twin = env.clone()
  twin.step('open')
  assert env.fingerprint() == before != twin.fingerprint()
  hidden = Gym(**KWARGS | {'kwargs': {'why': lambda: None}}, copyable=True)
  hidden.reset(hidden.tasks('train')[0])
  assert hidden.fingerprint() is None  # what it holds cannot be compared
  hidden.clone().step('open')
  assert hidden.step('open').valid


def test_success_may_be_a_sum_of_rewards_and_validity_a_key():
  kwargs = {k: v for k, v in KWARGS.items() if k != 'admissible'}
  env = Gym(**kwargs | {'win_reward': 1.0, 'valid': 'fine'})
  env.reset(env.tasks('train')[0])
  assert env.admissible() is None
  assert not env.step('take').valid
  assert not env.step('open').success
  turn = env.step('take')
  assert (turn.done, turn.success, turn.score, turn.valid) == (
    True,
    True,
    1,
    True,
  )


def test_a_task_may_have_options_and_a_type():
  entry = {
    'id': 'hat',
    'seed': 3,
    'options': {'holds': 'a hat'},
    'type': 'soft',
  }
  env = Gym(**KWARGS | {'tasks': {'train': [entry]}})
  (task,) = env.tasks('train')
  assert (task.id, task.type) == ('hat', 'soft')
  assert env.reset(task).observation == 'A box with a hat?'


@pytest.mark.parametrize(
  'change, message',
  [
    ({'make': ''}, 'make is empty'),
    ({'make': 'nowhere:Box'}, 'make=nowhere:Box: there is no module nowhere'),
    ({'make': 'tests.test_gym:Bx'}, "module tests.test_gym has no 'Bx'"),
    (
      {'kwargs': {'x': 1, 'shared': 1, 'observation': 3, 'self': 2}},
      'TypeError',
    ),
    ({'tasks': {}}, 'tasks is no'),
    ({'tasks': {'train': 3}}, 'tasks.train is 3, no list'),
    ({'tasks': {'train': ['a']}}, "train: 'a' is no seed"),
    ({'tasks': {'train': [{'id': 'a/b'}]}}, 'needs an id of letters'),
    ({'tasks': {'train': [{'id': 'a', 'sed': 1}]}}, 'no object of: id, seed'),
    ({'tasks': {'train': [1], 'test': [1]}}, '1 is there twice, again in test'),
    ({'demonstrations': 'none.jsonl'}, 'there is no file none.jsonl'),
  ],
)
def test_wrong_settings_are_named(change, message):
  with pytest.raises(UserError, match=message):
    Gym(**KWARGS | change)


@pytest.mark.parametrize(
  'change, message',
  [
    ({'instruction': 'gaol'}, "instruction=gaol: .* there are: .*'goal'"),
    ({'admissible': 'goal'}, r"task 0 .* info\['goal'\], which is no list"),
    ({'kwargs': {'can': {'a', 'b'}}}, 'is no list of texts'),
    ({'kwargs': {'observation': ('a', 'b')}}, 'observes tuple, not text'),
    (
      {'make': 'tests.test_gym:Old'},
      'step .* does not return .observation, rew',
    ),
    ({'make': 'tests.test_gym:Uncopyable'}, 'copied: TypeError: no copies'),
  ],
)
def test_an_environment_that_is_not_as_told_is_named(change, message):
  env = Gym(**KWARGS | {'copyable': True} | change)
  with pytest.raises(UserError, match=message):
    env.reset(env.tasks('train')[0])
    env.clone().step('open')
    env.step('open')
    env.step('take')


def test_what_it_raises_is_told_in_a_line_with_the_task():
  env = Gym(**KWARGS)
  env.reset(env.tasks('train')[0])
  with pytest.raises(UserError) as error:
    env.step('kick')
  assert str(error.value) == (
    "step('kick') of tests.test_gym:Box in task 0 raised ValueError: it breaks"
  )


def test_an_id_of_gymnasium_names_one_too():
  gymnasium = pytest.importorskip('gymnasium')

  class Registered(Box, gymnasium.Env):
    observation_space = gymnasium.spaces.Text(99, charset=string.printable)
    action_space = observation_space

  gymnasium.register('tests/Box-v0', entry_point=Registered)
  env = Gym(**KWARGS | {'make': 'tests/Box-v0'}, copyable=True)
  env.reset(env.tasks('train')[0])
  env.clone().step('open')
  assert env.step('open').observation == 'It opens.'
  assert env.step('take').success
  with pytest.raises(UserError, match="make=tests/Bx-v0: .*doesn't exist"):
    Gym(**KWARGS | {'make': 'tests/Bx-v0'})
