"""Attention over rows of trees."""

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding

from early_experience.model.attention import attend, sees
from early_experience.model.sharding import spec
from tests.close import assert_exact
from tests.model_case import make_mesh, make_tree

B, N, K, T, H = 2, 4, 2, 22, 8


@pytest.fixture(autouse=True)
def mesh():
  with jax.enable_x64(), jax.set_mesh(make_mesh()):
    yield


def make_heads(seed=0):
  rng = np.random.default_rng(seed)
  return [
    put(rng.normal(size=(B, heads, T, H)), 'heads') for heads in (N, K, K)
  ]


def put(x, *axes):
  return jax.device_put(x, NamedSharding(make_mesh(), spec('batch', *axes)))


def spans():
  """A tree in each row, of different sizes, and single tokens as padding."""
  trees = [make_tree(seed, 20 - 7 * seed).span for seed in range(B)]
  padding = [np.ones(T - len(span), np.int32) for span in trees]
  rows = [np.concatenate(x) for x in zip(trees, padding, strict=True)]
  return put(np.stack(rows))


def test_a_token_sees_its_ancestors_and_itself():
  tree = make_tree(0, 20)
  visible_TS = np.asarray(sees(tree.span[None]))[0]
  for node in range(20):
    assert list(np.flatnonzero(visible_TS[node])) == tree.path(node)


def test_a_window_counts_positions_on_the_path():
  tree = make_tree(0, 20)
  window = tree.depth[None], 3
  visible_TS = np.asarray(sees(tree.span[None], window))[0]
  for node in range(20):
    assert list(np.flatnonzero(visible_TS[node])) == tree.path(node)[-3:]


def test_padding_sees_itself_alone():
  np.testing.assert_array_equal(sees(spans())[1, 13:, :].sum(-1), 1)


def test_equals_the_softmax_of_each_head():
  q, k, v = make_heads()
  visible = np.asarray(sees(spans()))
  out = np.asarray(attend(q, k, v, visible))
  q, k, v = map(np.asarray, (q, k, v))
  for b in range(B):
    for n in range(N):
      key_head = n // (N // K)
      score = q[b, n] @ k[b, key_head].T
      share = np.exp(np.where(visible[b], score, -np.inf))
      expected = share / share.sum(-1, keepdims=True) @ v[b, key_head]
      assert_exact(out[b, n], expected)


def test_scores_of_any_size_are_finite():
  q, k, v = make_heads()
  out = attend(1e4 * q, 1e4 * k, v, sees(spans()))
  assert np.isfinite(np.asarray(out)).all()
