"""Adapters: trained beside parameters that stay as they are."""

import json
import shutil

import jax
import numpy as np
import pytest

from early_experience.model import table
from early_experience.model.transformer import hidden
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import saved
from early_experience.train import train
from early_experience.training import initial, metrics, origin
from tests.close import FLOAT64, assert_exact
from tests.model_case import flat, make_cfg, make_params
from tests.training_case import config_of, mesh_of, prepared, to_numpy

LORA = {'lora_rank': 2, 'lora_alpha': 4.0, 'lora_targets': ('q', 'o', 'down')}


def lora_config(name='adapters', **init):
  config = config_of()
  config.name = name
  config.model.update(LORA, param_dtype='bfloat16')
  config.init.update(init)
  return config


def load(config, workdir, name=None):
  """The parameters of a policy by path, and those it started from."""
  words = saved.load(workdir / 'prepare')
  folder = workdir / 'train' / (name or config.name)
  cfg, source = initial.resolve(config, words, folder)
  mesh = mesh_of((1, 1, 1))
  with jax.set_mesh(mesh):
    before = initial.params(source, cfg, mesh, config.seed)
    after = initial.policy(folder, cfg, mesh, source)
  return table.flat(to_numpy(after)), table.flat(to_numpy(before))


def is_adapter(path):
  return '_lora_' in path


@pytest.fixture(scope='module')
def straight(tmp_path_factory):
  """Two stages of adapters over parameters drawn from the seed."""
  workdir = prepared(tmp_path_factory.mktemp('straight'))
  return train(lora_config(), workdir), workdir


@jax.enable_x64()
def test_attached_adapters_equal_merged_ones():
  plain, cfg = (
    make_cfg(lora_rank=rank, lora_alpha=1.5, **FLOAT64) for rank in (0, 3)
  )
  params = table.flat(make_params(cfg))
  merged = {path: x for path, x in params.items() if not is_adapter(path)}
  for path in merged:
    if f'{path}_lora_a' in params:
      a, b = params[f'{path}_lora_a'], params[f'{path}_lora_b']
      added = np.einsum(
        'lir,lro->lio', a.reshape(2, -1, 3), b.reshape(2, 3, -1)
      )
      merged[path] = merged[path] + 0.5 * added.reshape(merged[path].shape)
  tokens_BT = np.arange(12)[None]
  with jax.set_mesh(mesh_of((1, 1, 1))):
    both = (
      hidden(table.nested(p), tokens_BT, *flat(tokens_BT), c)
      for p, c in ((params, cfg), (merged, plain))
    )
    assert_exact(*both)


def test_only_adapters_move_and_only_they_have_moments(straight):
  summary, workdir = straight
  after, before = load(lora_config(), workdir)
  for path, value in after.items():
    assert (value != before[path]).any() == is_adapter(path), path
    dtype = 'float32' if is_adapter(path) else 'bfloat16'
    assert value.dtype.name == dtype
  adapters = sum(x.size for path, x in after.items() if is_adapter(path))
  assert summary['trained'] == adapters < summary['parameters'] / 5


def test_checkpoints_hold_adapters_alone(straight):
  _, workdir = straight
  folder = workdir / 'train' / 'adapters' / 'checkpoints'
  sizes = [p.stat().st_size for p in folder.rglob('*') if p.is_file()]
  after, _ = load(lora_config(), workdir)
  frozen = sum(x.nbytes for path, x in after.items() if not is_adapter(path))
  # Two checkpoints, each with three copies of the adapters.
  assert sum(sizes) < 2 * frozen


def test_stopped_training_goes_on_bit_for_bit(monkeypatch, straight, tmp_path):
  workdir = prepared(tmp_path)
  add = metrics.Log.add

  class PowerFailure(BaseException):
    pass

  def failing(self, number, *args):
    add(self, number, *args)
    if number == 5:  # in the second stage, which continues the adapters
      raise PowerFailure

  with monkeypatch.context() as patch, pytest.raises(PowerFailure):
    patch.setattr(metrics.Log, 'add', failing)
    train(lora_config(), workdir)
  train(lora_config(), workdir)
  jax.tree.map(
    np.testing.assert_array_equal,
    load(lora_config(), workdir),
    load(lora_config(), straight[1]),
  )


def test_another_training_continues_the_same_adapters(straight):
  _, workdir = straight
  first = str(workdir / 'train' / 'adapters')
  config = lora_config('continued', checkpoint=first)
  train(config, workdir)
  after, before = load(config, workdir)
  earlier, _ = load(lora_config(), workdir)
  jax.tree.map(np.testing.assert_array_equal, before, earlier)
  for path, value in after.items():
    assert (value != earlier[path]).any() == is_adapter(path), path


def test_adapters_stand_beside_another_training(straight, tmp_path):
  workdir = prepared(tmp_path)
  base = config_of()
  base.model.param_dtype = 'bfloat16'
  train(base, workdir)
  config = lora_config(checkpoint=str(workdir / 'train' / base.name))
  train(config, workdir)
  after, _ = load(config, workdir)
  theirs, _ = load(base, workdir)
  for path, value in theirs.items():
    np.testing.assert_array_equal(after[path], value)
  about = workdir / 'train' / 'adapters' / 'checkpoints' / 'architecture.json'
  saved = json.loads(about.read_text())
  saved['source'] = {'seed': 7}  # not what they were trained beside
  about.write_text(json.dumps(saved))
  with pytest.raises(UserError, match='trained beside other parameters'):
    load(config, workdir)


def test_adapters_of_another_rank_are_refused(straight):
  _, workdir = straight
  config = lora_config('wider', checkpoint=str(workdir / 'train' / 'adapters'))
  config.model.lora_rank = 3
  with pytest.raises(UserError, match='adapters of rank 2'):
    train(config, workdir)


def test_targets_that_match_nothing_are_named(straight):
  config = lora_config()
  config.model.lora_targets = ('q', 'query_proj')
  with pytest.raises(UserError, match="'query_proj' matches no matrix"):
    train(config, straight[1])


def new(folder):
  folder.mkdir()
  return folder


def moved(workdir, tmp_path):
  """A copy of a workdir elsewhere, the first one out of the way."""
  hidden = workdir.rename(workdir.with_name(f'{workdir.name}-gone'))
  return hidden, shutil.copytree(hidden, tmp_path / 'copy')


def test_a_moved_workdir_with_its_base_goes_on(tmp_path):
  """Adapters beside another training of the workdir, and those after them."""
  workdir = prepared(new(tmp_path / 'first'))
  base = config_of()
  base.model.param_dtype = 'bfloat16'
  train(base, workdir)
  first = lora_config('first', checkpoint=str(workdir / 'train' / base.name))
  train(first, workdir)
  second = lora_config('second', checkpoint=str(workdir / 'train' / 'first'))
  train(second, workdir)
  want = load(second, workdir)
  _, copy = moved(workdir, tmp_path)
  for config in (first, second):  # finished, whether or not paths are new
    train(config, copy)
  jax.tree.map(np.testing.assert_array_equal, load(second, copy), want)
  second.init.checkpoint = str(copy / 'train' / 'first')
  train(second, copy)
  third = lora_config('third', checkpoint=str(copy / 'train' / 'second'))
  train(third, copy)
  jax.tree.map(np.testing.assert_array_equal, load(third, copy)[1], want[0])


def test_a_chain_knows_what_each_training_began_with(straight, tmp_path):
  """Three trainings of the same adapters, the second of which was moved."""
  first = straight[1] / 'train' / 'adapters'
  workdir = prepared(new(tmp_path / 'run'))
  second = lora_config('second', checkpoint=str(first))
  train(second, workdir)
  at = workdir / 'train' / 'second'
  third = lora_config('third', checkpoint=str(at))
  train(third, workdir)
  want, _ = load(third, workdir)
  about = workdir / 'train' / 'third' / 'checkpoints' / 'architecture.json'
  source = json.loads(about.read_text())['source']
  assert source['contents']['adapters'] == origin.content(at)
  assert origin.content(at) != origin.content(first)
  elsewhere = at.rename(tmp_path / 'elsewhere')
  with pytest.raises(UserError, match='adapters holds other parameters'):
    origin.located(source, (str(first),))
  assert origin.located(source, (str(elsewhere),))['adapters'] == str(elsewhere)
  # It goes on without it, for it has adapters of its own.
  (workdir / 'train' / 'third' / 'summary.json').unlink()
  train(third, workdir)
  words = saved.load(workdir / 'prepare')
  cfg, found = initial.resolve(third, words, workdir / 'train' / 'third')
  mesh = mesh_of((1, 1, 1))
  with jax.set_mesh(mesh):
    after = initial.policy(workdir / 'train' / 'third', cfg, mesh, found)
  jax.tree.map(np.testing.assert_array_equal, table.flat(to_numpy(after)), want)


@pytest.fixture
def apart(tmp_path):
  """A training of adapters, cut short, and the moved folder of its base."""
  workdir, other = (prepared(new(tmp_path / x)) for x in ('run', 'other'))
  base = config_of()
  base.model.param_dtype = 'bfloat16'
  train(base, other)
  config = lora_config(checkpoint=str(other / 'train' / base.name))
  train(config, workdir)
  (workdir / 'train' / config.name / 'summary.json').unlink()
  want = load(config, workdir)
  _, copy = moved(other, tmp_path)
  return workdir, config, copy / 'train' / base.name, want


def test_a_base_that_was_moved_is_named_and_taken_if_it_is_the_same(apart):
  workdir, config, base, want = apart
  gone = config.init.checkpoint
  with pytest.raises(
    UserError, match=f'{gone} is not there, .*init.checkpoint'
  ):
    train(config, workdir)
  config.init.checkpoint = str(base)
  jax.tree.map(np.testing.assert_array_equal, load(config, workdir), want)
  train(config, workdir)
  jax.tree.map(np.testing.assert_array_equal, load(config, workdir), want)


def test_a_base_that_is_another_is_refused(apart):
  workdir, config, base, _ = apart
  other = config_of()
  other.seed, other.name = 1, 'another'
  other.model.param_dtype = 'bfloat16'
  train(other, base.parent.parent)
  config.init.checkpoint = str(base.parent / 'another')
  with pytest.raises(UserError, match='another holds other parameters than'):
    train(config, workdir)


def test_what_older_versions_began_takes_a_moved_base_too(apart):
  """They recorded its path alone; checkpoints know what they stand beside."""
  workdir, config, base, want = apart
  folder = workdir / 'train' / config.name
  about = folder / 'checkpoints' / 'architecture.json'
  old = json.loads(about.read_text())
  del old['source']['contents'], old['source']['home']
  about.write_text(json.dumps(old))
  settings = json.loads((folder / 'settings.json').read_text())
  settings['init'] = {'hf': '', 'checkpoint': config.init.checkpoint}
  (folder / 'settings.json').write_text(json.dumps(settings))
  config.init.checkpoint = str(base)
  train(config, workdir)
  jax.tree.map(np.testing.assert_array_equal, load(config, workdir), want)
