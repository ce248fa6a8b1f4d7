"""What a stage reads is held by its folder, and decides who shares it.

Every stage runs on a config that notes what is read of it.
"""

import copy
import json
import shutil

import pytest
from ml_collections import ConfigDict

from early_experience import (
  collect,
  evaluate,
  explore,
  prepare,
  reflect,
  rl,
  summarise,
  train,
)
from early_experience.config import absent, default, reads, stage
from early_experience.config.reads import (
  FREE_ENDPOINT,
  FREE_MODEL,
  FREE_RL,
  FREE_TRAIN,
)
from early_experience.runtime import stage as stage_lib
from early_experience.runtime.errors import UserError
from early_experience.sweeps.runs import Run, shareable
from tests.fake_endpoint import FakeEndpoint
from tests.test_evaluate import config_of
from tests.toy_env import ToyEnv

STAGES = ('collect', 'explore', 'summarise', 'reflect', 'prepare', 'train')
# What no output depends on: who does the work, and how hard.
ASIDE = {'cluster', 'mesh', 'name', 'evaluate.batch_tasks'}
ASIDE |= {f'train.{key}' for key in FREE_TRAIN}
ASIDE |= {f'model.{key}' for key in FREE_MODEL}
ASIDE |= {f'rl.{key}' for key in FREE_RL}
ASIDE |= {
  f'{stage}.openai.{key}'
  for stage in ('explore', 'summarise', 'reflect')
  for key in FREE_ENDPOINT
}


class Watched(ConfigDict):
  """Notes the settings that are read, by their place."""

  @classmethod
  def of(cls, config, seen, place=''):
    made = cls()
    object.__setattr__(made, '_seen', (seen, place))
    for key, value in config.items(preserve_field_references=True):
      made._fields[key] = _watched(value, seen, f'{place}{key}')
    return made

  def __getitem__(self, key):
    value = super().__getitem__(key)
    self._note(key, value)
    return value

  def _note(self, key, value):
    seen, place = self._seen
    if not isinstance(value, ConfigDict | list):
      seen.add(f'{place}{key}')

  def _whole(self):
    for key, value in self._fields.items():
      for each in value if isinstance(value, list) else [value]:
        each._whole() if isinstance(each, Watched) else self._note(key, each)
    return ConfigDict(_plain(self))

  def to_dict(self, *args, **kwargs):
    return self._whole().to_dict(*args, **kwargs)

  def to_json(self, *args, **kwargs):
    return self._whole().to_json(*args, **kwargs)

  def __deepcopy__(self, _):
    return Watched.of(self, *self._seen)


def _watched(value, seen, place):
  if isinstance(value, ConfigDict):
    return Watched.of(value, seen, f'{place}.')
  if isinstance(value, list):
    return [_watched(v, seen, f'{place}[{i}]') for i, v in enumerate(value)]
  return value


def _plain(value):
  if isinstance(value, ConfigDict):
    return {key: _plain(one) for key, one in value._fields.items()}
  if isinstance(value, list):
    return [_plain(one) for one in value]
  return value.get() if hasattr(value, 'get') else value


RUN = {
  'collect': lambda *args: collect.collect_from.__wrapped__(ToyEnv(), *args),
  'explore': lambda *args: explore.explore_in.__wrapped__(ToyEnv(), *args),
  'summarise': summarise.summarise.__wrapped__,
  'reflect': reflect.reflect.__wrapped__,
  'prepare': prepare.prepare.__wrapped__,
  'train': train.train.__wrapped__,
  'rl': lambda *args: rl.rl_in.__wrapped__(ToyEnv, *args),
  'evaluate': lambda *args: evaluate.evaluate_in.__wrapped__(ToyEnv, *args),
}


def seen_by(function, config):
  """The settings that a function reads, but those that are aside."""
  seen = set()
  function(Watched.of(config, seen))
  return {
    key
    for key in seen
    if not ASIDE & {key, *(key[:i] for i in range(len(key)) if key[i] == '.')}
  }


def settings(**evaluated):
  config = config_of(**evaluated)
  config.collect.trajectories = 4
  config.prepare.held_out = 0.0
  config.train.stages = [
    stage(steps=1, weights={'imitation': 1.0, 'world_model': 1.0})
  ]
  config.rl.update(iterations=1, tasks=2, group=2, panel_tasks=2, batch_rows=1)
  return config


def endpoints(config, url):
  config.explore.proposers.openai = 0.5
  config.summarise.enabled = True
  config.reflect.writer = 'openai'
  for one in ('explore', 'summarise', 'reflect'):
    config[one].openai.update(base_url=url, model='tiny', retries=0)
  config.prepare.rows = {'reflect': {'datasets': ('imitation', 'reflection')}}
  return config


def test_how_a_model_is_computed_does_not_bind_an_evaluation():
  config = settings()
  before = {}
  for policy in ('trained', 'random'):
    config.evaluate.policy = policy
    before[policy] = reads('evaluate', config)
  config.model.remat, config.model.loss_chunk = 'full', 64
  config.evaluate.batch_tasks = 1
  for policy, old in before.items():
    config.evaluate.policy = policy
    assert reads('evaluate', config) == old
  config.model.embed *= 2
  assert reads('evaluate', config) == before['random']
  config.evaluate.policy = 'trained'
  assert reads('evaluate', config) != before['trained']


def unnoted(config, workdir, names):
  """What stages read and `reads` does not say, by stage; runs them."""
  found, said = {}, set()
  for name in names:
    if name == 'train':  # rows tell what they are
      said = set()
    run = lambda watched, name=name: RUN[name](watched, workdir)
    said |= seen_by(lambda watched, name=name: reads(name, watched), config)
    found[name] = seen_by(run, config) - said
  return {name: keys for name, keys in found.items() if keys}


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A workdir in which every stage ran, and what they did not note."""
  workdir = tmp_path_factory.mktemp('run')
  names = ['collect', 'explore', 'reflect', 'prepare', 'train', 'rl']
  names.append('evaluate')
  return workdir, unnoted(settings(), workdir, names)


@pytest.fixture
def workdir(run):
  return run[0]


def test_no_stage_reads_more_than_is_noted(run):
  workdir, found = run
  assert found == {}
  names = ['collect', 'explore', 'reflect', 'prepare', 'evaluate']
  for policy in ('untrained', 'random'):
    assert unnoted(settings(policy=policy), workdir, names) == {}


def test_nor_where_a_policy_proposes(workdir, tmp_path):
  config = settings()
  config.explore.proposers.policy = 0.5
  config.explore.policy = str(workdir / 'train' / 'trained')
  assert unnoted(config, tmp_path, ('collect', 'explore')) == {}


def test_nor_where_language_models_answer(tmp_path, monkeypatch):
  pytest.importorskip('openai')
  monkeypatch.setenv('OPENAI_API_KEY', 'none')
  with FakeEndpoint(lambda *_: 'look') as server:
    config = endpoints(settings(), server.url)
    assert unnoted(config, tmp_path, STAGES[:5]) == {}


def test_nor_where_a_checkpoint_brings_its_tokenizer(workdir, tmp_path):
  config = settings()
  config.init.checkpoint = str(workdir / 'train' / 'trained')
  assert unnoted(config, tmp_path, ('collect', 'explore', 'prepare')) == {}
  beside = json.loads((tmp_path / 'prepare' / 'settings.json').read_text())
  assert beside['tokenizer']['path'] == str(workdir / 'prepare')


def test_a_checkpoint_that_is_not_there_ends_prepare(workdir):
  config = settings()
  config.init.checkpoint = 'nowhere'
  with pytest.raises(UserError, match='config.init.checkpoint=nowhere: there'):
    prepare.prepare(config, workdir)


def test_rows_of_this_folder_are_as_they_were_where_a_training_goes_on(workdir):
  """What a refusal of more steps advises."""
  config = settings()
  config.train.stages[0].steps = 2
  advised = str(workdir / 'train' / 'trained')
  with pytest.raises(UserError, match=f'--config.init.checkpoint={advised};'):
    train.train(config, workdir)
  config.name, config.init.checkpoint = 'longer', advised
  prepare.prepare(config, workdir)
  assert train.train(config, workdir)['steps'] == 2


def test_an_untrained_policy_is_of_the_parameters_that_it_was(workdir):
  config = settings(policy='untrained', name='before')
  config.init.checkpoint = str(workdir / 'train' / 'trained')
  found = evaluate.evaluate_in(ToyEnv, config, workdir)
  shutil.copytree(workdir / 'train' / 'trained', workdir / 'train' / 'copy')
  config.init.checkpoint = str(workdir / 'train' / 'copy')
  again = evaluate.evaluate_in(ToyEnv, config, workdir)
  assert again['splits'] == found['splits']
  config.init.checkpoint = ''
  with pytest.raises(UserError, match='beside.init.checkpoint was'):
    evaluate.evaluate_in(ToyEnv, config, workdir)


def test_the_watch_sees_what_is_not_noted(monkeypatch, tmp_path):
  config = settings()
  seen = seen_by(lambda watched: watched.prepare.rows.expert.datasets, config)
  assert seen == {'prepare.rows.expert.datasets'}
  seen = seen_by(lambda watched: copy.deepcopy(watched).init.to_dict(), config)
  assert seen == {'init.hf', 'init.round', 'init.checkpoint'}
  seen = seen_by(lambda watched: watched.train.stages[0].steps, config)
  assert seen == {'train.stages[0].steps'}


def test_checkpoints_that_differ_share_no_rows():
  runs = []
  for name in ('a', 'b'):
    config = default()
    config.init.checkpoint = name
    runs.append(Run(name, {}, (), config))
  assert 'reflect' in shareable(runs)
  assert 'prepare' not in shareable(runs)
  for run in runs:  # whose adapters stand beside one model
    run.config.init.hf = 'one'
  assert 'prepare' not in shareable(runs)
  for run in runs:
    run.config.prepare.tokenizer = 'one'  # then neither is read
  assert 'prepare' in shareable(runs)


@pytest.mark.parametrize('name', [*STAGES, 'rl', 'evaluate'])
def test_an_old_workdir_goes_on_after_a_new_setting(tmp_path, name):
  """Each setting once, as if an older version had not had it."""
  config = settings()
  config.train.stages = [stage(), stage(steps=3)]
  to_json = lambda value: json.loads(json.dumps(value))
  usual = to_json(reads(name, default()))
  usual.get('stages', {})['1'] = usual.get('stages', {}).get('0')
  for *parents, last in _places(usual):
    if {'rows', 'weights'} & {*parents}:  # free: their keys have no default
      continue
    old, new = to_json(reads(name, config)), to_json(reads(name, config))
    before, after, default_of = old, new, usual
    for key in parents:
      before, after = before[key], after[key]
      default_of = default_of[key]
    del before[last]
    after[last] = default_of[last]
    folder = tmp_path / '.'.join([*parents, last])
    stage_lib.begin(folder, name, old)
    stage_lib.begin(folder, name, new, absent=absent(name, config))


def _places(value, before=()):
  for key, one in value.items():
    if isinstance(one, dict):
      yield from _places(one, (*before, key))
    else:
      yield (*before, key)


def test_an_absent_setting_is_its_default_and_no_other(tmp_path):
  old = {'k': 8, 'deep': {'a': 1}}
  new = {'k': 8, 'deep': {'a': 1, 'b': 2}, 'free': {}}
  usual = {'deep': {'b': 2}, 'free': {}}
  stage_lib.begin(tmp_path, 'x', old)
  stage_lib.begin(tmp_path, 'x', new, absent=usual)
  new['deep']['b'] = 3
  with pytest.raises(UserError, match='deep.b was 2, is 3'):
    stage_lib.begin(tmp_path, 'x', new, absent=usual)
  new['free']['c'] = 1
  with pytest.raises(UserError, match=r"free.c was '\(absent\)', is 1"):
    stage_lib.begin(tmp_path, 'x', new, absent=usual)
