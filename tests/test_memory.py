"""The memory of a config, told beforehand, and what XLA says of it."""

import functools
import importlib
import pathlib
import re
import subprocess
import sys

import pytest

from early_experience import config as config_lib
from early_experience import memory
from early_experience.model.sharding import AXES
from early_experience.runtime.errors import UserError
from early_experience.training import architecture
from tests.training_case import mesh_of, model_of

ROOT = pathlib.Path(__file__).parent.parent
CONFIGS = sorted(path.stem for path in (ROOT / 'configs').glob('[a-z]*.py'))
# As deep as the models that people train, and small enough to compile at once.
MODEL = {
  'layers': 32,
  'embed': 1024,
  'heads': 8,
  'kv_heads': 4,
  'head_dim': 128,
  'mlp': 4096,
  'attention_block': 256,
  'loss_chunk': 256,
  'vocab_size': 32_000,
}
# XLA for CPUs computes bfloat16 in float32, with copies that no accelerator
# makes: float32 is what can be compared here. test_memory_tpu.py has the rest.
CASES = {
  'none': {'remat': 'none'},
  'dots, untied, large vocabulary': {
    'remat': 'dots',
    'tied': False,
    'vocab_size': 128_256,
  },
  'attention, long rows': {'remat': 'attention', 'tokens': 8192, 'rows': 1},
  'dots, on a mesh': {'remat': 'dots', 'sizes': (1, 4, 2), 'rows': 8},
  'full, microbatches, rounded moments': {
    'remat': 'full',
    'rows': 4,
    'microbatches': 2,
    'optimizer_dtype': 'bfloat16',
  },
}

FEW = 'attention, long rows', 'full, microbatches, rounded moments'


@functools.cache
def case_of(name):
  settings = dict(CASES[name])
  sizes = settings.pop('sizes', (1, 1, 1))
  tokens = settings.pop('tokens', 2048)
  config = config_lib.default()
  config.train.batch_rows = settings.pop('rows', 2)
  for key in ('microbatches', 'optimizer_dtype'):
    config.train[key] = settings.pop(key, config.train[key])
  return model_of(**MODEL | settings), config, sizes, tokens


def estimate(cfg, config, sizes, tokens):
  return memory.estimate(
    cfg, config, dict(zip(AXES, sizes, strict=True)), tokens
  )


@functools.cache
def compiled(name):
  cfg, config, sizes, tokens = case_of(name)
  return memory.compiled(cfg, config, mesh_of(sizes), tokens)


@pytest.mark.parametrize(
  'name',
  [
    pytest.param(name, marks=() if name in FEW else pytest.mark.slow)
    for name in CASES
  ],
)
def test_the_total_is_within_a_tenth_of_what_xla_plans(name):
  found = estimate(*case_of(name))
  by_xla = compiled(name).memory_analysis()
  arguments = by_xla.argument_size_in_bytes
  assert abs(found.total - found.temporary - arguments) < 1000
  assert by_xla.output_size_in_bytes - by_xla.alias_size_in_bytes < 1000
  total = arguments + by_xla.temp_size_in_bytes
  assert 0.9 < found.total / total < 1.1


def test_no_array_holds_all_scores_of_a_long_row():
  text = compiled('attention, long rows').as_text()
  sizes = re.findall(r'\[([\d,]+)\]', text)
  scores = [s for s in sizes if len(re.findall(r'\b8192\b', s)) > 1]
  assert not scores
  assert any('256,256' in s for s in sizes)  # a pair of blocks


@pytest.mark.parametrize('name', CONFIGS)
def test_every_config_is_estimated_without_weights_or_devices(name):
  config = importlib.import_module(f'configs.{name}').get_config()
  if config.mesh.fsdp == -1:
    config.mesh.fsdp = 2
  sizes = memory.mesh_sizes(config.mesh, 0)
  cfg = memory.architecture(config)
  found = memory.estimate(cfg, config, sizes, config.prepare.row_tokens)
  assert found.total > found.params > 0


def test_the_model_is_that_of_the_checkpoint_it_goes_on_from(tmp_path):
  saved = model_of(embed=64)
  checkpoints = tmp_path / 'train' / 'name' / 'checkpoints'
  checkpoints.mkdir(parents=True)
  architecture.record(checkpoints, saved, 'tokenizer', {})
  config = config_lib.default()
  config.init.checkpoint = str(tmp_path / 'train' / 'name')
  found = memory.architecture(config)
  assert (found.embed, found.layers) == (saved.embed, saved.layers)
  assert found.vocab_size == saved.vocab_size
  config.init.checkpoint = str(tmp_path)
  with pytest.raises(UserError, match='no checkpoint'):
    memory.architecture(config)


def test_adapters_alone_have_gradients_and_moments():
  whole = model_of(param_dtype='bfloat16')
  lora = model_of(param_dtype='bfloat16', lora_rank=4)
  case = config_lib.default(), (1, 1, 1), 256
  a, b = estimate(whole, *case), estimate(lora, *case)
  assert a.frozen == 0 and b.frozen == a.params
  assert b.gradients == b.params < a.params  # adapters are float32
  assert b.opt_state < a.opt_state


def test_dtypes_and_meshes_divide_the_state():
  config = config_lib.default()
  cfg = model_of(param_dtype='bfloat16')
  one, eight = (
    estimate(cfg, config, sizes, 256) for sizes in ((1, 1, 1), (1, 4, 2))
  )
  assert one.params / 8.5 < eight.params < one.params / 7.5
  assert one.gradients == 2 * one.params
  config.train.optimizer_dtype = 'bfloat16'
  rounded = estimate(cfg, config, (1, 1, 1), 256)
  assert abs(2 * rounded.opt_state - one.opt_state) < 100


@pytest.mark.parametrize(
  'mesh, devices, message',
  [
    ({'fsdp': -1}, 0, '--devices'),
    ({'fsdp': -1, 'tensor': 3}, 8, 'does not fit 8'),
    ({'fsdp': 4}, 8, 'does not fit 8'),
    ({'fsdp': -1, 'tensor': -1}, 8, 'at most one'),
    ({'fsdp': 0}, 0, 'positive'),
  ],
)
def test_a_mesh_without_a_size_is_named(mesh, devices, message):
  settings = config_lib.default().mesh
  settings.update(mesh)
  with pytest.raises(UserError, match=f'config.mesh.*{message}'):
    memory.mesh_sizes(settings, devices)


def test_rows_that_cannot_be_split_are_named():
  config = config_lib.default()
  config.train.batch_rows = 6
  with pytest.raises(UserError, match='batch_rows = 6.*4'):
    estimate(model_of(), config, (1, 4, 1), 64)


def test_the_command_prints_estimate_and_check():
  command = 'early_experience.memory --config=configs/tiny.py --check'
  result = subprocess.run(
    [sys.executable, '-m', *command.split(), '--config.mesh.fsdp=2'],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  assert 'mesh of 1x2x1' in result.stdout
  assert 'estimate / XLA' in result.stdout
