"""Paths that a user gives: expanded, and refused where they are none."""

import pytest
from ml_collections import ConfigDict

from early_experience import chats, convert
from early_experience.config import default, settled
from early_experience.envs import registry
from early_experience.language import __main__ as language
from early_experience.runtime import paths
from early_experience.runtime.errors import UserError
from tests.toy_env import ToyEnv


@pytest.fixture(autouse=True)
def at_home(monkeypatch, tmp_path):
  monkeypatch.setenv('HOME', '/home/me')
  monkeypatch.setenv('PLACE', 'there')
  monkeypatch.delenv('NOWHERE', raising=False)
  monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
  'given, path',
  [
    ('', ''),
    ('runs/x', 'runs/x'),
    ('/a:b/c', '/a:b/c'),
    ('~', '/home/me'),
    ('~/x', '/home/me/x'),
    ('$HOME/${PLACE}', '/home/me/there'),
    ('runs/~x', 'runs/~x'),
  ],
)
def test_home_and_variables_are_expanded(given, path):
  assert paths.given(given, '--workdir') == path


@pytest.mark.parametrize(
  'given, message',
  [
    ('gs://b/x', '--workdir=gs://b/x is a URL: mount the bucket'),
    ('s3://b', 'is a URL'),
    ('hf://a/b', 'is a URL'),
    ('file:///x', 'is a URL'),
    ('~nobody-of-this-name/x', "there is no user 'nobody-of-this-name'"),
    ('$NOWHERE/x', 'the variable $NOWHERE is not set'),
    ('a/${NOWHERE}', 'the variable ${NOWHERE} is not set'),
  ],
)
def test_what_is_no_path_is_refused(given, message):
  with pytest.raises(UserError) as error:
    paths.given(given, '--workdir')
  assert message in str(error.value)


def test_an_id_of_the_hub_is_no_folder(tmp_path):
  name = 'meta-llama/Llama-3.1-8B'
  for key in ('init.hf', 'prepare.tokenizer'):
    config = default()
    config.update_from_flattened_dict({key: name})
    with pytest.raises(
      UserError, match=f'config.{key}={name} is no folder.*hf'
    ):
      settled(config)
  with pytest.raises(UserError, match=f'--hf={name} is no folder'):
    convert._run(['from_hf', f'--hf={name}', '--out=x'])
  (tmp_path / name).mkdir(parents=True)
  assert settled(config).prepare.tokenizer == name


@pytest.mark.parametrize(
  'key',
  [
    'init.hf',
    'init.checkpoint',
    'prepare.tokenizer',
    'explore.policy',
    'explore.openai.cache',
    'reflect.openai.cache',
    'summarise.openai.checkpoint',
  ],
)
def test_settings_that_are_paths(key):
  config = default()
  config.update_from_flattened_dict({key: '~/x'})
  assert settled(config).to_json().count('"/home/me/x"') == 1
  config.update_from_flattened_dict({key: 's3://x'})
  with pytest.raises(UserError, match=f'config.{key}=s3://x is a URL'):
    settled(config)


@pytest.mark.parametrize(
  'command, arguments',
  [
    (chats._run, ['import', '--workdir=gs://x']),
    (chats._run, ['import', '--workdir=x', '--source=gs://x']),
    (chats._run, ['import', '--workdir=x', '--iwm=gs://x']),
    (chats._run, ['export', '--workdir=x', '--out=gs://x']),
    (convert._run, ['from_hf', '--hf=x', '--out=gs://x']),
    (convert._run, ['to_hf', '--checkpoint=gs://x', '--out=x']),
  ],
)
def test_flags_that_are_paths(command, arguments):
  with pytest.raises(UserError, match='--[a-z]+=gs://x is a URL'):
    command(arguments)


def test_answers_of_a_workdir_at_home(monkeypatch):
  monkeypatch.setattr('sys.argv', ['language', '~/x'])
  with pytest.raises(SystemExit):
    language.main()


class Filed(ToyEnv):
  paths = ('data',)

  def __init__(self, data='', name=''):
    super().__init__()
    self.data, self.named = data, name


def test_an_environment_says_which_of_its_arguments_are_paths():
  name = 'tests.test_paths:Filed'
  made = lambda **kwargs: registry.make(
    ConfigDict({'name': name, 'kwargs': kwargs})
  )
  env = made(data='~/x', name='~/x')
  assert (env.data, env.named) == ('/home/me/x', '~/x')
  with pytest.raises(UserError, match='config.env.kwargs.data=gs://x is a URL'):
    made(data='gs://x')


def test_every_path_of_an_environment_is_an_argument():
  for name in registry.ENVIRONMENTS:
    kind = registry.kind_of(name)
    known = kind.__init__.__annotations__
    assert set(kind.paths) <= set(known), name
    files = {'data', 'index', 'trajectories', 'demonstrations'} & set(known)
    assert files == set(kind.paths), name
