"""The mesh: the same numbers however the model is split."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from early_experience.model import sharding, table
from early_experience.model.transformer import hidden, output_head
from early_experience.runtime.errors import UserError
from tests.close import FLOAT64, assert_exact
from tests.model_case import (
  VOCAB,
  make_cfg,
  make_mesh,
  make_params,
  make_tree,
)
from tests.textbook import GEMMA3

ROWS, T = 8, 16


@pytest.fixture(scope='module', autouse=True)
def float64():
  with jax.enable_x64():
    yield


def make_batch():
  trees = [make_tree(seed, T) for seed in range(ROWS)]
  return {
    name: np.stack([getattr(tree, name) for tree in trees])
    for name in ('tokens', 'depth', 'span')
  }


EVERYTHING = {
  **GEMMA3,
  'embed_scale': False,  # larger activations, and nothing to split
  'o_bias': True,
  'mlp_bias': True,
  'attention_softcap': 2.0,
  'lora_rank': 2,
}


def value_and_gradient(mesh, **settings):
  cfg = make_cfg(
    **{'kv_heads': 4, 'tied': False, 'qk_norm': True, 'qkv_bias': True}
    | settings
    | FLOAT64
  )

  def loss(params, batch):
    h = hidden(params, batch['tokens'], batch['depth'], batch['span'], cfg)
    logits = jnp.einsum('btd,vd->btv', h, output_head(params, cfg))
    return jax.nn.logsumexp(logits, axis=-1).mean(), h

  with jax.set_mesh(mesh):
    shardings = table.param_shardings(cfg, mesh)
    params = jax.device_put(make_params(cfg), shardings)
    batch = sharding.put_batch(make_batch(), mesh)
    (_, h), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(
      params, batch
    )
  same = jax.tree.map(
    lambda x, s: x.sharding.is_equivalent_to(s, x.ndim), gradient, shardings
  )
  assert all(jax.tree.leaves(same))  # gradients lie where parameters lie
  return jax.device_get((h, gradient))


def test_sharded_equals_unsharded_with_every_setting():
  meshes = make_mesh(), make_mesh(2, 2, 2)
  assert_exact(*(value_and_gradient(mesh, **EVERYTHING) for mesh in meshes))


def test_parameters_do_not_depend_on_the_mesh():
  cfg = make_cfg(**FLOAT64)
  made = []
  for sizes in ((1, 1, 1), (2, 2, 2)):
    mesh = make_mesh(*sizes)
    with jax.set_mesh(mesh):
      init = jax.jit(
        lambda key: table.init_params(key, cfg),
        out_shardings=table.param_shardings(cfg, mesh),
      )
      made.append(jax.device_get(init(jax.random.key(0))))
  assert_exact(*made)


def test_parameters_are_split_over_fsdp_and_tensor():
  mesh = make_mesh(1, 2, 4)
  cfg = make_cfg(kv_heads=4)
  for path, row in table.table(cfg).items():
    if row.decay:
      split = table.abstract_params(cfg, mesh)
      for name in path.split('/'):
        split = split[name]
      local = split.sharding.shard_shape(split.shape)
      assert np.prod(local) * 8 == np.prod(split.shape), path


def test_a_spec_refuses_to_use_a_mesh_axis_twice():
  assert sharding.spec('batch', None, 'heads') == jax.P(
    ('data', 'fsdp'), None, 'tensor'
  )
  for axes in (('batch', 'time', 'embed'), ('vocab', 'mlp')):
    with pytest.raises(ValueError, match=axes[-1]):
      sharding.spec(*axes)
  with pytest.raises(KeyError, match='embedding'):
    sharding.spec('embedding')


def test_minus_one_takes_what_is_left():
  assert make_mesh(2, -1, 2).shape == {'data': 2, 'fsdp': 2, 'tensor': 2}


@pytest.mark.parametrize(
  'sizes', [(16, 1, 1), (3, -1, 1), (-1, -1, 1), (0, 1, 1), (-1, 1, 16)]
)
def test_a_mesh_that_does_not_fit_is_refused(sizes):
  with pytest.raises(
    UserError, match='config.mesh = ' + 'x'.join(map(str, sizes))
  ):
    make_mesh(*sizes)


@dataclasses.dataclass(frozen=True)
class Chip:
  """What a mesh knows of a TPU v6e, or of a GPU."""

  id: int
  coords: tuple[int, int, int]
  slice_index: int
  platform: str = 'tpu'
  device_kind: str = 'TPU v6 lite'
  core_on_chip: int = 0
  process_index: int = 0


def chips_of(slices, sides=(4, 4), **kind):
  places = itertools.product(range(slices), *map(range, sides))
  return [Chip(i, (x, y, 0), s, **kind) for i, (s, x, y) in enumerate(places)]


def test_data_goes_across_slices():
  mesh = sharding.lay_out((4, 4, 2), chips_of(2))
  slices = [{chip.slice_index for chip in part.flat} for part in mesh.devices]
  assert slices == [{0}, {0}, {1}, {1}]
  with pytest.raises(UserError, match='data = 1 is not a multiple of the 2'):
    sharding.lay_out((1, 16, 2), chips_of(2))


def test_an_axis_of_a_torus_may_be_split():
  mesh = sharding.lay_out((1, 8, 2), chips_of(1))
  assert mesh.shape == {'data': 1, 'fsdp': 8, 'tensor': 2}


def test_hosts_of_gpus_are_no_slices():
  gpus = chips_of(2, (2, 1), platform='gpu', device_kind='NVIDIA H100')
  mesh = sharding.lay_out((1, 2, 2), gpus)
  assert [gpu.id for gpu in mesh.devices.flat] == [0, 1, 2, 3]


def test_sizes_that_cannot_be_split_are_named():
  with pytest.raises(UserError, match='config.mesh.tensor = 4.*kv_heads = 2'):
    table.param_shardings(make_cfg(), make_mesh(1, 1, 4))
  with pytest.raises(UserError, match='6 rows .* 4 devices'):
    sharding.put_batch({'tokens': np.zeros((6, 2))}, make_mesh(2, 2, 2))


def test_a_batch_is_split_over_data_and_fsdp():
  batch = sharding.put_batch(make_batch(), make_mesh(2, 2, 2))
  tokens_BT = batch['tokens']
  assert tokens_BT.sharding.shard_shape(tokens_BT.shape) == (2, T)
  assert int(tokens_BT.max()) < VOCAB
