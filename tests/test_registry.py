"""Environments by name, and any other class by its path."""

import contextlib
import gc
import importlib.metadata
import weakref

import pytest
from ml_collections import ConfigDict

from early_experience.envs import own, registry
from early_experience.runtime.errors import UserError
from tests.toy_env import ToyEnv


def made(name, **kwargs):
  return registry.make(ConfigDict({'name': name, 'kwargs': kwargs}))


class Halved(ToyEnv):
  install = 'pip install whole'

  def __init__(self):
    importlib.metadata.version('no-such-package')


def test_an_environment_that_failed_is_closed_and_kept_by_nobody():
  config = ConfigDict({'name': 'tests.toy_env:ToyEnv', 'kwargs': {}})
  config.max_observation_chars = 100
  closed, seen = [], []

  def use():
    with own.environment(config.to_json()) as env:
      env._env.close = lambda: closed.append(True)
      seen.append(weakref.ref(env._env))
      raise RuntimeError

  for _ in range(2):
    with contextlib.suppress(RuntimeError):
      use()
  gc.collect()
  assert len(closed) == 2 and [ref() for ref in seen] == [None, None]


def test_any_subclass_is_an_environment_by_its_path():
  env = made('tests.toy_env:ToyEnv', boxes=2)
  assert isinstance(env, ToyEnv)
  assert 'open box 2' in (env.reset(env.tasks('train')[0]), env.admissible())[1]


def test_arguments_are_plain_values_whatever_the_config_made_of_them():
  tasks = {'train': [1], 'a': [2]}
  env = made('gym', make='tests.test_gym:Box', kwargs={'can': []}, tasks=tasks)
  assert env.splits == ('train', 'a')


@pytest.mark.parametrize(
  'name, message',
  [
    (
      'tests.toys:ToyEnv',
      'tests.toys:ToyEnv: there is no module tests.toys here',
    ),
    ('tests.toy_env:ToyEnw', "module tests.toy_env has no 'ToyEnw'"),
    ('tests.test_gym:Box', 'Box is no subclass of Environment'),
    (':Box', 'env.name=:Box: importing it: ValueError'),
    ('toy', "env.name is 'toy', not one of: alfworld, "),
  ],
)
def test_a_name_of_nothing_is_told(name, message):
  with pytest.raises(UserError, match=message):
    made(name)


def test_an_argument_that_is_none_is_told_with_the_nearest():
  with pytest.raises(UserError, match='boxs is no argument .* mean boxes?'):
    made('tests.toy_env:ToyEnv', boxs=2)


def test_a_package_that_is_not_whole_is_told_with_what_installs_it():
  with pytest.raises(UserError, match='no-such-package; run: pip install who'):
    made('tests.test_registry:Halved')
