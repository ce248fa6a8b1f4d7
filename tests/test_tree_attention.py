"""Attention over rows of trees, block by block: each way against all at once.

Kernels are interpreted here; test_aot_tpu.py compiles them for TPUs.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from early_experience.model.rope import EVERYWHERE
from early_experience.model.sharding import spec
from early_experience.model.tree_attention import WAYS, attend_rows, look
from early_experience.model.visible import Seen, pairs, whole
from early_experience.runtime.errors import UserError
from tests.close import assert_exact, assert_rounded
from tests.model_case import make_mesh, make_tree

N, K, H = 4, 2, 8


def put(mesh, x, *axes):
  return jax.device_put(x, NamedSharding(mesh, spec('batch', *axes)))


def rows_of(tokens, *rows):
  """Depth and span of rows of random trees, each padded with single tokens."""
  found = []
  for number, sizes in enumerate(rows):
    trees = [make_tree(10 * number + i, size) for i, size in enumerate(sizes)]
    rest = (0, tokens - sum(sizes))
    join = lambda name, fill: np.pad(
      np.concatenate([getattr(tree, name) for tree in trees]),
      rest,
      constant_values=fill,
    )
    found.append((join('depth', 0), join('span', 1)))
  return [np.stack(x) for x in zip(*found, strict=True)]


def heads_of(mesh, rows, tokens, dtype, size=H):
  rng = np.random.default_rng(0)
  make = lambda heads: rng.normal(size=(rows, heads, tokens, size))
  return [
    put(mesh, make(heads).astype(dtype), 'heads') for heads in (N, K, K)
  ]


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


WINDOWS = [(0, None, 0.0), (40, 40, 2.0), (40, EVERYWHERE, 0.0)]


@pytest.mark.parametrize('window, reach, softcap', WINDOWS)
@pytest.mark.parametrize('way, block', [('tpu', 128)])
def test_every_way_equals_all_scores_at_once(
  way, block, window, reach, softcap
):
  got, want = both_ways(way, 'float32', block, window, reach, softcap)
  assert_close(got, want, 1e-5)


@pytest.mark.parametrize('way, block', [('tpu', 128)])
def test_in_bfloat16_every_way_rounds_as_flash_attention_does(way, block):
  got, want = both_ways(way, 'bfloat16', block, 40, 40, 2.0)
  assert_close(got, want, 2e-2)


@pytest.mark.parametrize('way, block', [('tpu', 128)])
def test_every_way_is_the_same_on_a_mesh(way, block):
  got, want = both_ways(way, 'float32', block, 40, 40, 2.0, (1, 2, 2))
  assert_close(got, want, 1e-5)
