"""The whole loop from a Hugging Face checkpoint, and back to one."""

import dataclasses
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

from configs import tiny
from early_experience import convert
from early_experience.collect import collect
from early_experience.evaluate import evaluate
from early_experience.experience import loader
from early_experience.explore import explore
from early_experience.hf import read, write
from early_experience.model import table
from early_experience.prepare import prepare
from early_experience.reflect import reflect
from early_experience.rl import rl
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import saved
from early_experience.train import train
from early_experience.training import initial
from tests.close import assert_rounded
from tests.model_case import make_cfg, make_mesh, make_params

pytest.importorskip('tokenizers')
pytest.importorskip('jinja2')
from tests import tiny_tokenizers  # noqa: E402

SIZES = {'layers': 2, 'embed': 32, 'heads': 4, 'kv_heads': 2, 'head_dim': 8}


@pytest.fixture(scope='module')
def hf(tmp_path_factory):
  """A random Llama in bfloat16 with a chat tokenizer, as the hub has them."""
  folder = tmp_path_factory.mktemp('hub')
  words = tiny_tokenizers.write(folder / 'words', 'llama3', vocab_size=600)
  vocab_size = saved.load(words).vocab_size
  cfg = make_cfg(
    **SIZES, mlp=64, tied=False, vocab_size=vocab_size + 5, norm_eps=1e-5
  )
  with jax.set_mesh(make_mesh()):
    params = make_params(cfg)
    write.write_params(params, cfg, folder / 'hf', 'bfloat16', {}, words)
  return folder / 'hf'


def config_of(hf, name='imitation', **model):
  config = tiny.get_config('imitation')
  config.name = name
  config.init.hf = str(hf)
  config.collect.trajectories = 6
  config.prepare.row_tokens = 2048
  config.prepare.rows = {
    name: config.prepare.rows[name] for name in ('expert', 'joint')
  }
  config.model.update({'max_tokens': 2048, **model})
  config.train.stages[0].steps = 3
  config.train.batch_rows = 8
  config.evaluate.tasks = 2
  config.evaluate.max_steps = 2
  config.evaluate.batch_tasks = 8
  config.evaluate.max_action_tokens = 64
  config.evaluate.world_model_states = 2
  return config


@pytest.fixture(scope='module')
def workdir(hf, tmp_path_factory):
  workdir = str(tmp_path_factory.mktemp('run'))
  config = config_of(hf)
  for stage in (collect, explore, reflect, prepare, train):
    stage(config, workdir)
  return workdir


def params_of(folder, cfg):
  mesh = make_mesh()
  with jax.set_mesh(mesh):
    return table.flat(jax.device_get(read.read_params(folder, cfg, mesh)))


def trained(config, workdir):
  words = saved.load(f'{workdir}/prepare')
  folder = f'{workdir}/train/{config.name}'
  cfg, _ = initial.resolve(config, words, folder)
  mesh = make_mesh()
  with jax.set_mesh(mesh):
    return cfg, table.flat(jax.device_get(initial.policy(folder, cfg, mesh)))


def test_the_checkpoint_decides_architecture_and_tokenizer(hf, workdir):
  cfg, params = trained(config_of(hf), workdir)
  theirs = saved.load(hf)
  assert (cfg.heads, cfg.mlp, cfg.tied) == (4, 64, False)
  assert cfg.vocab_size == theirs.vocab_size + 5
  assert loader.open_rows(workdir, 'joint').manifest['tokenizer'] == theirs.hash
  before = params_of(hf, cfg)
  assert params.keys() == before.keys()
  for path, value in params.items():  # three small updates away
    assert 0 < np.abs(value - before[path]).max() < 0.1, path


def test_the_policy_acts_through_the_chat_template(hf, workdir):
  summary = evaluate(config_of(hf), workdir)
  assert {s['tasks'] for s in summary['splits'].values()} == {2}
  assert all(s['invalid_rate'] == 0 for s in summary['splits'].values())
  assert summary['world_model']['tokens'] > 0


def test_the_export_is_the_policy_with_the_same_tokenizer(
  hf, workdir, tmp_path
):
  convert.to_hf(f'{workdir}/train/imitation', str(tmp_path / 'out'), 'float32')
  cfg, params = trained(config_of(hf), workdir)
  exported = params_of(tmp_path / 'out', cfg)
  for path, value in params.items():
    np.testing.assert_array_equal(exported[path], value)
  ours, theirs = tmp_path / 'out' / 'tokenizer.json', hf / 'tokenizer.json'
  assert ours.read_bytes() == theirs.read_bytes()


def test_adapters_are_trained_beside_it_and_merged_on_export(
  hf, workdir, tmp_path
):
  config = config_of(
    hf, 'adapters', param_dtype='bfloat16', lora_rank=2, lora_targets=('q',)
  )
  train(config, workdir)
  evaluate(config, workdir)
  convert.to_hf(f'{workdir}/train/adapters', str(tmp_path / 'out'), 'float32')
  cfg, params = trained(config, workdir)
  exported = params_of(
    tmp_path / 'out',
    dataclasses.replace(cfg, lora_rank=0, param_dtype='float32'),
  )
  a, b = params.pop('layers/q_lora_a'), params.pop('layers/q_lora_b')
  product = lambda *ab: cfg.lora_alpha / 2 * np.einsum('ldr,lrnh->ldnh', *ab)
  added = {'layers/q': product(np.float64(a), np.float64(b))}
  added_up = {'layers/q': product(np.abs(a), np.abs(b))}
  assert np.abs(added['layers/q']).max() > 0
  for path, value in params.items():
    value = value.astype(np.float32)
    size = np.abs(value) + added_up.get(path, 0)
    assert_rounded(exported[path], value + added.get(path, 0), size)


def test_a_native_copy_of_the_checkpoint_starts_the_same_training(
  hf, workdir, tmp_path
):
  convert.from_hf(str(hf), str(tmp_path / 'native'))
  config = config_of('', 'native')
  config.init.checkpoint = str(tmp_path / 'native')
  train(config, workdir)
  ours, theirs = (trained(c, workdir)[1] for c in (config, config_of(hf)))
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_a_checkpoint_brings_its_tokenizer_and_refuses_another(
  hf, workdir, tmp_path
):
  config = config_of('', 'continued')
  config.init.checkpoint = f'{workdir}/train/imitation'
  config.collect.trajectories = 4
  for stage in (collect, explore, reflect, prepare, train):
    stage(config, str(tmp_path))
  theirs = saved.load(hf)
  assert saved.load(tmp_path / 'prepare').hash == theirs.hash
  other = tiny_tokenizers.write(tmp_path / 'other', 'qwen2', vocab_size=500)
  shutil.rmtree(tmp_path / 'prepare' / 'tokenizer')
  saved.load(other).save(tmp_path / 'prepare')
  config.name = 'another'
  with pytest.raises(UserError, match='with the vocabulary of tokenizer'):
    train(config, str(tmp_path))


def test_what_no_training_could_read_is_not_prepared(hf, workdir, tmp_path):
  shutil.copytree(f'{workdir}/collect', tmp_path / 'collect')
  small = shutil.copytree(hf, tmp_path / 'small')
  about = json.loads((small / 'config.json').read_text())
  (small / 'config.json').write_text(json.dumps(about | {'vocab_size': 100}))
  config = config_of(small)
  config.prepare.rows = {'expert': config.prepare.rows['expert']}
  with pytest.raises(UserError, match=f'of {small} has 100 rows'):
    prepare(config, str(tmp_path))
  assert not (tmp_path / 'prepare').exists()


def test_a_moved_checkpoint_is_the_same_to_what_is_done_and_begun(
  hf, workdir, tmp_path
):
  copy = shutil.copytree(hf, tmp_path / 'copy')
  config = config_of(copy)
  for stage in (prepare, train):
    stage(config, workdir)
  (copy / 'tokenizer_config.json').write_text('{}')
  with pytest.raises(UserError, match='tokenizer was .*copy'):
    prepare(config, workdir)


def test_what_was_prepared_for_parameters_does_not_begin_from_the_seed(
  hf, workdir
):
  config = config_of(hf, 'forgotten')
  config.init.hf = ''
  match = 'with the tokenizer of .*/hf, and config.init names none'
  with pytest.raises(UserError, match=match) as error:
    train(config, workdir)
  assert '\n' not in str(error.value)
  assert not pathlib.Path(workdir, 'train', 'forgotten').exists()
  config.evaluate.policy = 'untrained'
  with pytest.raises(UserError, match=match):
    evaluate(config, workdir)
  config.rl.start = 'init'
  with pytest.raises(UserError, match=match):
    rl(config, workdir)
  assert not pathlib.Path(workdir, 'rl').exists()
  config.prepare.tokenizer = str(hf)  # it is meant
  assert train(config, workdir)['steps'] == 3


def test_a_policy_is_evaluated_whether_or_not_its_source_is_named(hf, workdir):
  there = evaluate(config_of(hf), workdir)
  config = config_of(hf)
  config.init.hf = ''
  config.evaluate.panel = 'dev'
  found = evaluate(config, workdir)
  assert found['world_model'].keys() == there['world_model'].keys()


def test_a_source_that_is_not_there_is_named(hf, workdir):
  config = config_of('/nowhere', 'lost')
  with pytest.raises(UserError, match='/nowhere'):
    train(config, workdir)
  config.init.checkpoint = '/also'
  with pytest.raises(UserError, match='config.init has both'):
    train(config, workdir)
