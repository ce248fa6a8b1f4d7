"""The cards of pretrained models: their architecture, and that they fit."""

import importlib.util
import operator
import pathlib
import re
import types

import pytest

from configs import smollm2_135m
from early_experience import train
from early_experience.model import config as model_config
from early_experience.model import table

CONFIGS = pathlib.Path(__file__).parent.parent / 'configs'
# Parameters in the published checkpoints; Gemma's without what sees images:
# 4,300,079,472 less 416,866,032 of the tower and 2,950,272 of the projector.
PUBLISHED = {
  'llama3_2_3b': 3_212_749_824,
  'llama3_1_8b': 8_030_261_248,
  'qwen2_5_7b': 7_615_616_512,
  'qwen3_4b': 4_022_468_096,
  'gemma3_4b': 4_300_079_472 - 416_866_032 - 2_950_272,
  'llama3_3_70b_lora': 70_553_706_496,
}


def card(name):
  path = CONFIGS / f'{name}.py'
  spec = importlib.util.spec_from_file_location(name, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.mark.parametrize('name', PUBLISHED)
def test_a_card_has_as_many_parameters_as_the_checkpoint(name):
  config = card(name).get_config()
  cfg = model_config.from_config(config.model, 100_000)
  adapters = table.count(cfg, trained=True) if cfg.lora_rank else 0
  assert table.count(cfg) - adapters == PUBLISHED[name]


@pytest.mark.parametrize('name', PUBLISHED)
def test_a_card_names_its_own_file_a_checkpoint_and_settings_there_are(name):
  text, config = card(name).__doc__, card(name).get_config()
  assert f'--config=configs/{name}.py' in text
  assert '--config.init.hf=/checkpoints/' in text
  for key in re.findall(r'--config\.([\w.]+)=', text):
    operator.attrgetter(key)(config)
  for recipe in re.findall(r'(?<!\w):(\w+)|\.py:(\w+)', text):
    assert card(name).get_config(''.join(recipe)).name == ''.join(recipe)


@pytest.mark.parametrize(
  'path', sorted(CONFIGS.glob('*.py')), ids=lambda path: path.stem
)
def test_commands_name_the_models_that_are_asked(path):
  text, config = card(path.stem).__doc__, card(path.stem).get_config()
  asks = {
    'explore': config.explore.proposers.openai > 0,
    'summarise': config.summarise.enabled,
    'reflect': config.reflect.writer == 'openai',
  }
  for stage, is_asked in asks.items():
    named = [
      f'--config.{stage}.openai.{key}=' in text for key in ('base_url', 'model')
    ]
    assert named in ([True, True], [is_asked, is_asked]), stage


def test_training_says_how_often_it_reads_its_rows(capsys):
  config = smollm2_135m.get_config('joint')
  config.budget.steps = 100
  config.init.hf = '/somewhere'
  count = {'expert': 20, 'joint': 400}
  rows = {
    n: types.SimpleNamespace(manifest={'rows': m}) for n, m in count.items()
  }
  train._tell_epochs(config, rows)
  told = capsys.readouterr()
  assert told.out == (
    'train joint: stage 1, 100 updates of 2 rows: 5.0 epochs of expert (20'
    ' rows), 0.2 epochs of joint (400 rows)\n'
  )
  assert not told.err
  config.budget.steps = 1000
  train._tell_epochs(config, rows)
  assert '50 epochs are many' in capsys.readouterr().err
