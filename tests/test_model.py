"""The decoder: what each position depends on, and every setting of it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from early_experience.config import default
from early_experience.model import config, table
from early_experience.model.transformer import hidden, output_head
from early_experience.runtime.errors import UserError
from tests.close import FLOAT64, assert_exact
from tests.model_case import (
  VOCAB,
  flat,
  make_cfg,
  make_mesh,
  make_params,
  make_tree,
)
from tests.textbook import GEMMA3, LLAMA3_ROPE, reference
from tests.training_case import fresh


@pytest.fixture(autouse=True)
def mesh():
  with jax.enable_x64(), jax.set_mesh(make_mesh()):
    yield


def logits(params, cfg, tokens_BT, depth_BT, span_BT):
  @jax.jit
  def run(params, *row):
    h_BTD = hidden(params, *row, cfg)
    return jnp.einsum('btd,vd->btv', h_BTD, output_head(params, cfg))

  return np.asarray(run(params, tokens_BT, depth_BT, span_BT))


@pytest.mark.parametrize(
  'settings',
  [
    {},  # Llama with a tied head
    {'tied': False, 'rope_theta': 500.0, 'norm_eps': 0.1},
    LLAMA3_ROPE | {'qkv_bias': True, 'o_bias': True, 'mlp_bias': True},
    {'qkv_bias': True, 'attention_block': 5},  # Qwen2.5
    {'qk_norm': True, 'remat': 'full'},  # Qwen3
    GEMMA3,
    GEMMA3 | {'attention_softcap': 2.0, 'attention_block': 5},
    {'lora_rank': 3, 'lora_alpha': 2.0},
  ],
)
def test_equals_its_textbook_definition(settings):
  cfg = make_cfg(**settings, **FLOAT64)
  params = make_params(cfg)
  tokens_BT = np.random.default_rng(0).integers(0, VOCAB, (1, 12))
  ours = logits(params, cfg, tokens_BT, *flat(tokens_BT))[0]
  assert_exact(ours, reference(params, cfg, tokens_BT[0]))


@pytest.mark.parametrize(
  'setting',
  [
    {'qkv_bias': True},
    {'qk_norm': True},
    {'tied': False},
    {'kv_heads': 1},
    {'rope_theta': 100.0},
    {'norm_eps': 0.1},
    {'dtype': 'bfloat16'},
    {'rope_scaling': 'linear', 'rope_factor': 4.0},
    LLAMA3_ROPE,
    {'window': 4, 'global_every': 2},
    {'window': 4, 'global_every': 2, 'rope_theta_local': 10.0},
    {'post_norms': True},
    {'o_bias': True},
    {'mlp_bias': True},
    {'activation': 'gelu_tanh'},
    {'embed_scale': True},
    {'query_scale': 2.0},
    {'attention_softcap': 1.0},
    {'lora_rank': 2},
  ],
)
def test_no_setting_is_ignored(setting):
  tokens_BT = np.arange(12)[None]
  results = []
  for changes in ({}, setting):
    cfg = dataclasses.replace(make_cfg(), **changes)
    results.append(logits(make_params(cfg), cfg, tokens_BT, *flat(tokens_BT)))
  assert np.abs(results[0].astype(np.float32) - results[1]).max() > 1e-3


def test_a_position_depends_on_its_path_and_on_nothing_else():
  """By gradient: every token is another, so each has its embedding alone."""
  cfg = make_cfg(tied=False)
  tree = make_tree(1, 24, tokens=np.arange(24, dtype=np.int32))
  params = make_params(cfg)

  @jax.jit
  @jax.jacrev
  def dependence(embed_VD):
    row = (x[None] for x in (tree.tokens, tree.depth, tree.span))
    h_BTD = hidden({**params, 'embed': embed_VD}, *row, cfg)
    mixed_BTD = jnp.sin(h_BTD * jnp.arange(1.0, 17)[None, None])
    return mixed_BTD.sum((0, 2))

  slope_TT = np.abs(dependence(params['embed'])).sum(-1)[:, :24]
  for node in range(24):
    assert set(np.flatnonzero(slope_TT[node])) == set(tree.path(node))


def test_every_branch_of_a_tree_equals_its_path_alone():
  cfg = make_cfg(qk_norm=True, **FLOAT64)
  params = make_params(cfg)
  tree = make_tree(2, 20)
  assert max(tree.depth) < 19 and len(set(tree.parent)) < 19  # it branches
  row = (x[None] for x in (tree.tokens, tree.depth, tree.span))
  together_TV = logits(params, cfg, *row)[0]
  paths = [tree.path(node) for node in range(20)]
  tokens_BT = np.zeros((20, 20), np.int32)
  for path, tokens_T in zip(paths, tokens_BT, strict=True):
    tokens_T[: len(path)] = tree.tokens[path]
  alone_BTV = logits(params, cfg, tokens_BT, *flat(tokens_BT))
  for node, path in enumerate(paths):
    assert_exact(together_TV[node], alone_BTV[node, len(path) - 1])


def test_packed_trees_equal_themselves_alone():
  cfg = make_cfg(attention_block=8, **FLOAT64)
  params = make_params(cfg)
  trees = [make_tree(seed, size) for seed, size in ((3, 9), (4, 13), (5, 1))]
  row = [
    np.concatenate([getattr(tree, name) for tree in trees])[None]
    for name in ('tokens', 'depth', 'span')
  ]
  packed_TV = logits(params, cfg, *row)[0]
  start = 0
  for tree in trees:
    alone_TV = logits(
      params, cfg, tree.tokens[None], tree.depth[None], tree.span[None]
    )[0]
    end = start + len(alone_TV)
    assert_exact(packed_TV[start:end], alone_TV)
    start = end


def test_dtypes_are_the_configured_ones():
  cfg = make_cfg(dtype='bfloat16', param_dtype='float32')
  params = make_params(cfg)
  tokens_BT = np.arange(12)[None]
  h_BTD = hidden(params, tokens_BT, *flat(tokens_BT), cfg)
  assert h_BTD.dtype == output_head(params, cfg).dtype == jnp.bfloat16
  for dtype in ('float32', 'bfloat16'):
    leaves = jax.tree.leaves(init_shapes(make_cfg(param_dtype=dtype)))
    assert {x.dtype for x in leaves} == {jnp.dtype(dtype)}


def init_shapes(cfg):
  return jax.eval_shape(lambda: table.init_params(jax.random.key(0), cfg))


def test_all_views_of_the_table_agree():
  cfg = make_cfg(qkv_bias=True, qk_norm=True, tied=False)
  params = init_shapes(cfg)
  abstract = table.abstract_params(cfg, make_mesh())
  shape_of = lambda x: (x.shape, x.dtype)
  assert jax.tree.map(shape_of, params) == jax.tree.map(shape_of, abstract)
  assert table.count(cfg) == sum(x.size for x in jax.tree.leaves(params))
  decayed = {
    jax.tree_util.keystr(path, simple=True, separator='/')
    for path, decay in jax.tree_util.tree_leaves_with_path(
      table.decay_mask(cfg)
    )
    if decay
  }
  matrices = {f'layers/{name}' for name in ('q', 'k', 'v', 'o')}
  matrices |= {f'layers/{name}' for name in ('gate', 'up', 'down')}
  assert decayed == matrices | {'embed', 'head'}


def test_beside_adapters_nothing_else_is_trained():
  cfg = make_cfg(
    lora_rank=3, lora_targets=('q', 'down'), param_dtype='bfloat16'
  )
  params = init_shapes(cfg)
  trained, frozen = table.split(params, cfg)
  names = ('q_lora_a', 'q_lora_b', 'down_lora_a', 'down_lora_b')
  assert set(table.flat(trained)) == {f'layers/{name}' for name in names}
  assert {x.dtype.name for x in jax.tree.leaves(trained)} == {'float32'}
  assert {x.dtype.name for x in jax.tree.leaves(frozen)} == {'bfloat16'}
  assert trained['layers']['q_lora_a'].shape == (2, 16, 3)
  assert trained['layers']['down_lora_b'].shape == (2, 3, 16)
  assert set(table.flat(table.decay_mask(cfg))) == set(table.flat(trained))
  merged = table.merge(trained, frozen)
  assert table.flat(merged).keys() == table.flat(params).keys()


def test_fresh_adapters_change_nothing():
  tokens_BT = np.arange(12)[None]
  plain, adapted = make_cfg(**FLOAT64), make_cfg(lora_rank=3, **FLOAT64)
  outs = [
    logits(fresh(cfg), cfg, tokens_BT, *flat(tokens_BT))
    for cfg in (plain, adapted)
  ]
  assert_exact(*outs)


def test_initial_logits_are_near_uniform_and_follow_the_key():
  cfg = make_cfg()
  init = jax.jit(lambda key: table.init_params(key, cfg))
  layers = init(jax.random.key(0))['layers']
  assert (layers['k'] != layers['v']).all()  # of one shape, each its own
  tokens_BT = np.arange(12)[None]
  first, second, again = (
    logits(
      init(jax.random.key(seed)),
      cfg,
      tokens_BT,
      *flat(tokens_BT),
    )
    for seed in (0, 1, 0)
  )
  assert 0.3 < first.std() < 2
  assert (first == again).all() and (first != second).any()


@pytest.mark.parametrize(
  'change, words',
  [
    ({'heads': 3}, 'config.model.kv_heads = 4'),
    ({'head_dim': 7}, 'config.model.head_dim = 7'),
    ({'layers': 0}, 'config.model.layers is 0'),
    ({'norm_eps': 0.0}, 'config.model.norm_eps is 0.0'),
    ({'attention_block': -1}, 'config.model.attention_block is -1'),
    ({'dtype': 'float16'}, 'float32, bfloat16'),
    ({'remat': 'some'}, 'not one of: none, '),
    ({'lairs': 3}, 'config.model.lairs is unknown'),
  ],
)
def test_a_bad_setting_is_named(change, words):
  model = default().model.unlock()
  model.update(change)
  with pytest.raises(UserError, match=words):
    config.from_config(model, VOCAB)
