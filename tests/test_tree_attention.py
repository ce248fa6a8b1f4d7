"""Attention over rows of trees, block by block: each way against all at once.

Kernels are interpreted here; test_aot_tpu.py compiles them for TPUs.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from early_experience.model.attention import sees
from early_experience.model.rope import EVERYWHERE
from early_experience.model.sharding import spec
from early_experience.model.tree_attention import attend_rows, look, way_of
from early_experience.model.visible import Seen, pairs, whole
from early_experience.runtime.errors import UserError
from tests.close import assert_exact
from tests.model_case import make_mesh, make_tree

N, K, H = 4, 2, 8


def put(mesh, x, *axes):
  return jax.device_put(x, NamedSharding(mesh, spec('batch', *axes)))


def rows_of(tokens, *rows):
  """Depth and span of rows of random trees, each padded with single tokens."""
  depth_BT = np.zeros((len(rows), tokens), np.int32)
  span_BT = np.ones_like(depth_BT)
  for number, sizes in enumerate(rows):
    place = 0
    for size in sizes:
      tree = make_tree(10 * number + size, size)
      depth_BT[number, place : place + size] = tree.depth
      span_BT[number, place : place + size] = tree.span
      place += size
  return depth_BT, span_BT


def heads_of(mesh, rows, tokens, dtype, size=H):
  rng = np.random.default_rng(0)
  make = lambda heads: rng.normal(size=(rows, heads, tokens, size))
  return [put(mesh, make(heads).astype(dtype), 'heads') for heads in (N, K, K)]


@functools.partial(jax.jit, static_argnums=range(3, 8))
def outcome(heads, depth, span, way, block, window, reach, softcap):
  """The output, and the gradients of something made of it."""
  reach = None if reach is None else jnp.int32(reach)

  def loss(heads):
    sight = look(span, depth, block=block, window=window, attention=way)
    out = attend_rows(*heads, sight, reach=reach, softcap=softcap)
    return jnp.sin(out.astype(jnp.promote_types(out.dtype, 'float32'))).sum()

  return jax.value_and_grad(loss)(heads)


@pytest.mark.parametrize('softcap', [0.0, 2.0])
@pytest.mark.parametrize('reach', [None, 3, EVERYWHERE])
@pytest.mark.parametrize('block', [1, 8, 11, 21])  # 8 leaves a rest of 6
def test_loops_equal_all_scores_at_once(block, reach, softcap):
  mesh = make_mesh()
  with jax.enable_x64(), jax.set_mesh(mesh):
    depth, span = (put(mesh, x) for x in rows_of(22, (20,), (13,)))
    heads = heads_of(mesh, 2, 22, 'float64')
    how = (3 if reach else 0, reach, softcap)
    both = [
      outcome(heads, depth, span, 'loops', size, *how) for size in (0, block)
    ]
  assert_exact(*both)


# Two rows of four trees, of one token too, with padding to no whole block.
SIZES = (180, 60, 1, 20), (250, 9, 9, 1)
TOKENS = 300


def both_ways(way, dtype, block, window, reach, softcap, sizes=(1, 1, 1)):
  """The outcome of a way, and that of all scores at once in float32."""
  mesh = make_mesh(*sizes)
  with jax.set_mesh(mesh):
    depth, span = (put(mesh, x) for x in rows_of(TOKENS, *SIZES))
    heads = heads_of(mesh, 2, TOKENS, dtype)
    exact = [x.astype('float32') for x in heads]
    how = (window, reach, softcap)
    got = outcome(heads, depth, span, way, block, *how)
    want = outcome(exact, depth, span, 'loops', 0, *how)
  return jax.device_get((got, want))


def assert_close(got, want, share):
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
    a, b = np.asarray(a, 'float64'), np.asarray(b, 'float64')
    np.testing.assert_allclose(a, b, rtol=0, atol=share * np.abs(b).max())


WAYS = [('batched', 32), ('tpu', 128)]
WINDOWS = [(0, None, 0.0), (40, 40, 2.0), (40, EVERYWHERE, 0.0)]


@pytest.mark.parametrize('window, reach, softcap', WINDOWS)
@pytest.mark.parametrize('way, block', WAYS)
def test_every_way_equals_all_scores_at_once(
  way, block, window, reach, softcap
):
  got, want = both_ways(way, 'float32', block, window, reach, softcap)
  assert_close(got, want, 1e-5)


@pytest.mark.parametrize('way, block', [('loops', 32), *WAYS])
def test_in_bfloat16_every_way_rounds_as_flash_attention_does(way, block):
  got, want = both_ways(way, 'bfloat16', block, 40, 40, 2.0)
  assert_close(got, want, 2e-2)


@pytest.mark.parametrize('way, block', WAYS)
def test_every_way_is_the_same_on_a_mesh(way, block):
  got, want = both_ways(way, 'float32', block, 40, 40, 2.0, (1, 2, 2))
  assert_close(got, want, 1e-5)


def seen_of(depth, span, reach=None):
  last = np.arange(span.shape[1], dtype=np.int32)[None] + span - 1
  return Seen(jnp.asarray(last), jnp.asarray(depth), reach)


@pytest.mark.parametrize('reach', [None, 3])
def test_pairs_of_blocks_are_those_that_see_something(reach):
  depth, span = rows_of(64, (40, 20), (7, 1, 50))
  window = None if reach is None else (depth, reach)
  visible_BTS = np.asarray(sees(span, window)).reshape(2, 8, 8, 8, 8)
  seen = seen_of(depth, span, reach)
  found, full = np.asarray(pairs(seen, 8)), np.asarray(whole(seen, 8))
  some, every = visible_BTS.any((2, 4)), visible_BTS.all((2, 4))
  assert (found >= some).all() and (full <= every).all()
  if reach is None:
    np.testing.assert_array_equal(found, some)
    np.testing.assert_array_equal(full, every)


def test_a_window_spares_the_blocks_beyond_it():
  depth, span = np.arange(64)[None], np.arange(64, 0, -1)[None]
  counts = [
    int(pairs(seen_of(depth, span, reach), 8).sum()) for reach in (None, 8)
  ]
  assert counts == [8 * 9 // 2, 8 + 7]


def test_a_tpu_is_not_given_more_pairs_than_it_can_hold():
  depth, span = rows_of(TOKENS, *SIZES)
  many = [np.tile(x[:, :256], (100, 300)) for x in (depth, span)]
  with pytest.raises(UserError, match='raise config.model.attention_block'):
    jax.eval_shape(lambda *x: way_of('tpu').lists(seen_of(*x), 128), *many)


@pytest.mark.parametrize('way, block', [('loops', 32), *WAYS])
def test_no_array_has_tokens_by_tokens(way, block):
  mesh = make_mesh()
  with jax.set_mesh(mesh):
    depth, span = (put(mesh, x) for x in rows_of(1024, (700, 300)))
    heads = heads_of(mesh, 1, 1024, 'float32')
    traced = outcome.trace(heads, depth, span, way, block, 0, None, 0.0)
  text = str(traced.jaxpr)
  assert '1024,8]' in text
  assert '1024,1024]' not in text
