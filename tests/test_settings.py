"""What settings may be: said where they are defined, checked before a stage."""

import copy
import json
import math
import pathlib
import re
import runpy

import pytest
from ml_collections import ConfigDict

from early_experience.collect import collect
from early_experience.config import OBJECTIVES, default, settled, stage
from early_experience.config.default import define
from early_experience.config.parts import define_stage, row_set
from early_experience.config.rules import Setting, number
from early_experience.experience import records
from early_experience.experience.answer_format import FORMATS
from early_experience.memory import main as memory
from early_experience.quickstart import quickstart
from early_experience.runtime.errors import UserError

ROOT = pathlib.Path(__file__).parents[1]


def changed(key, value):
  config = default()
  *parents, last = key.split('.')
  holder = config
  for parent in parents:
    holder = holder[parent]
  holder[last] = value
  return config


@pytest.mark.parametrize(
  'key, value, message',
  [
    ('seed', -1, 'seed is -1, not a whole number in [0, 4294967296)'),
    ('seed', 1 << 32, 'not a whole number in [0, 4294967296)'),
    ('seed', True, 'seed is True, not a whole number'),
    ('name', '..', "name is '..', not the name of a folder"),
    ('prepare.held_out', -0.1, 'held_out is -0.1, not a number in [0, 1)'),
    ('prepare.held_out', 1.0, 'held_out is 1.0, not a number in [0, 1)'),
    ('evaluate.temperature', 1e-38, 'not a number in {0} or [1e-6, inf)'),
    ('prepare.row_tokens', -5, 'row_tokens is -5, not a whole number in [1,'),
    ('prepare.rows', {'a': {'k': -1}}, 'rows.a.k is -1, not a whole'),
    ('prepare.rows', {'a': {'k': True}}, 'rows.a.k is True, not a whole'),
    ('prepare.rows', {'a': {'kk': 1}}, 'rows.a.kk is no setting; there are: d'),
    ('prepare.rows', {'a': {'datasets': ['b']}}, "datasets is 'b', not one of"),
    ('prepare.rows', {'a': {'datasets': 'b'}}, "datasets is 'b', not a list"),
    ('prepare.rows', {'a': 3}, 'rows.a is 3, not a dictionary'),
    ('evaluate.tasks', -1, 'tasks is -1, not a whole number in [0, inf)'),
    ('evaluate.max_steps', 0, 'max_steps is 0, not a whole number in [1, inf)'),
    ('evaluate.policy', 'best', "'best', not one of: trained, untrained"),
    ('evaluate.temperature', math.nan, 'temperature is nan, not a number'),
    ('explore.temperature', math.inf, 'temperature is inf, not a number'),
    ('explore.k', -1, 'explore.k is -1'),
    ('explore.proposers.uniform', -0.5, 'proposers.uniform is -0.5'),
    ('reflect.openai.concurrency', 0, 'reflect.openai.concurrency is 0'),
    ('reflect.openai.retries', -1, 'openai.retries is -1'),
    ('reflect.openai.max_tokens', 0, 'openai.max_tokens is 0'),
    ('reflect.openai.temperatures', (1.0, -1.0), 'temperatures is -1.0'),
    ('cluster.workers', -1, 'workers is -1'),
    ('cluster.tries', 0, 'tries is 0'),
    ('cluster.unit_timeout_seconds', 0.0, 'unit_timeout_seconds is 0.0'),
    ('benchmark.peers', ('a', 'b'), "'a', not one of: trees, flat"),
    ('benchmark.peers', ('trl,flat',), "given as \"('trl', 'flat')"),
    ('benchmark.peers', (1,), 'benchmark.peers is 1, not one of: trees'),
    ('model.layers', 0, 'model.layers is 0'),
    ('model.remat', 'some', "remat is 'some', not one of: none, dots"),
    ('mesh.data', 0, 'mesh.data is 0, not a whole number in {-1} or [1, inf)'),
    ('budget.joint_share', 1.5, 'joint_share is 1.5, not a number in [0, 1]'),
    ('train.optimizer_dtype', 'float16', "'float16', not one of: float32"),
    ('train.stages', [stage(), stage(b1=1.0)], 'stages[1].b1 is 1.0, not a'),
    ('train.stages', [stage(decay='none')], "decay is 'none', not one of"),
    ('train.stages', [stage(rows={'a': -1})], 'stages[0].rows.a is -1'),
    ('train.stages', [stage(clip_norm=0.0)], 'clip_norm is 0.0'),
    (
      'train.stages',
      [stage(weights={'imitation': (0.0, -1.0)})],
      'weights.imitation is -1.0',
    ),
    (
      'train.stages',
      [stage(weights={'imitaton': 1.0})],
      'weights.imitaton is no setting; there are: imitation, reflection',
    ),
  ],
)
def test_a_setting_that_may_not_be_is_named_with_its_range(key, value, message):
  with pytest.raises(UserError, match=re.escape(message)) as error:
    settled(changed(key, value))
  assert str(error.value).startswith(f'config.{key}')
  assert '\n' not in str(error.value)


def leaves(definitions, prefix=''):
  for key, one in definitions.items():
    if isinstance(one, ConfigDict):
      yield from leaves(one, f'{prefix}{key}.')
    else:
      yield f'{prefix}{key}', one


def test_every_number_has_a_range():
  groups = [define(), define_stage(), row_set()]
  without = [
    key
    for group in groups
    for key, one in leaves(group)
    if isinstance(one, int | float) and not isinstance(one, bool)
  ]
  assert without == []


def test_every_default_and_every_file_in_configs_may_be():
  settled(default())
  for path in (ROOT / 'configs').glob('*.py'):
    settled(runpy.run_path(str(path))['get_config']())


@pytest.mark.parametrize(
  'within, inside, outside',
  [
    ('[0, 1)', (0, 0.5), (-1e-9, 1, math.nan)),
    ('(0, inf]', (1e-9, math.inf), (0, -1)),
    ('(0, inf)', (1e300,), (math.inf,)),
    ('{-1} or [1, inf)', (-1, 1), (0, -2)),
  ],
)
def test_ranges_read_as_in_mathematics(within, inside, outside):
  rule = number(0.0, within).rule
  for one in inside:
    assert rule('x', one) == one
  for one in outside:
    with pytest.raises(UserError, match=re.escape(f'a number in {within}')):
      rule('x', one)


def test_the_words_of_choices_are_those_that_code_knows():
  choices = {key: one for key, one in leaves(define())}
  for name in FORMATS:
    choices['prepare.answer_format'].rule('x', name)
  assert set(define().explore.proposers) == set(records.PROPOSERS)
  assert set(define_stage().weights) == set(OBJECTIVES)
  assert isinstance(choices['env.kwargs'], Setting)


def test_a_config_that_was_json_is_one():
  config = ConfigDict(json.loads(default().to_json()))
  assert settled(config).train.stages[0].weights.imitation == 1.0
  config.train.stages[0]['lr_peak'] = -1.0
  with pytest.raises(UserError, match=r'stages\[0\].lr_peak is -1.0'):
    settled(config)


def test_nothing_begins_with_a_setting_that_may_not_be(tmp_path):
  config = changed('prepare.held_out', -0.1)  # collect does not read it
  for begin in (collect, quickstart):
    with pytest.raises(UserError, match='config.prepare.held_out is -0.1'):
      begin(config, str(tmp_path / 'w'))
  assert not (tmp_path / 'w').exists()
  with pytest.raises(UserError, match='config.prepare.held_out is -0.1'):
    memory(config)


def test_a_recipe_that_cannot_be_ends_quickstart_before_its_first_stage(
  tmp_path,
):
  config = changed('budget.world_model_steps', 2000)  # of 1000
  config.quickstart.recipes = ('world_model_then_imitation',)
  with pytest.raises(UserError, match=r'stages\[1\].steps is -1000'):
    quickstart(config, str(tmp_path / 'w'))
  assert not (tmp_path / 'w').exists()


@pytest.mark.parametrize(
  'text, message',
  [
    ('', 'no get_config.. that returns a config'),
    ('def get_config():\n  return 3', 'no get_config.. that returns a config'),
    ('def get_config():\n  return 3', 'get_config.. takes 0 positional'),
  ],
)
def test_what_comes_first_is_a_config(tmp_path, text, message):
  config = changed('name', 'imitation')
  path = tmp_path / 'first.py'
  path.write_text(text)
  recipe = ':joint' * message.startswith('get_config')
  config.quickstart.first = f'{path}{recipe}'
  config.quickstart.recipes = ('imitation',)
  with pytest.raises(UserError, match=message):
    quickstart(config, str(tmp_path / 'w'))


COMMANDS = re.compile(r'cli\.run\(\s*(?:lambda config, workdir: )?(\w+)')


def test_whatever_a_command_runs_checks_its_settings():
  found = 0
  for path in [
    *(ROOT / 'early_experience').rglob('*.py'),
    ROOT / 'launch/aot.py',
  ]:
    for name in COMMANDS.findall(path.read_text('utf-8')):
      found += 1
      function = re.search(
        rf'^(.*)\ndef {name}\(', path.read_text('utf-8'), re.MULTILINE
      )
      if name == '_run':  # by way of others
        continue
      assert function[1] == '@checked', (path, name)
  assert found >= 13


def test_the_given_config_is_left_as_it_was(monkeypatch):
  monkeypatch.setenv('HOME', '/home/me')
  config = changed('init.hf', '~/model')
  before = copy.deepcopy(config)
  assert settled(config).init.hf == '/home/me/model'
  assert config == before
