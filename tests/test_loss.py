"""The chunked loss equals the plain one, and never holds all logits."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from early_experience.model import table
from early_experience.model.sharding import put_batch, spec
from early_experience.training import loss
from tests.training_case import batch_of, mesh_of, model_of, rows_of

MESHES = ((1, 1, 1), (2, 2, 2))


def dense_nll(hidden, head, tokens, back):
  """The definition, with every logit at once."""
  source = np.arange(tokens.shape[1]) - back
  logits = jnp.take_along_axis(hidden, source[..., None], axis=1) @ head.T
  logp = jax.nn.log_softmax(logits)
  return -jnp.take_along_axis(logp, tokens[..., None], axis=-1)[..., 0]


@pytest.mark.parametrize('sizes', MESHES)
@pytest.mark.parametrize('chunk', [7, 10_000])
def test_chunks_equal_the_dense_definition_in_value_and_gradient(sizes, chunk):
  rng = np.random.default_rng(0)
  hidden = rng.normal(size=(8, 11, 6)).astype(np.float32)
  head = rng.normal(size=(32, 6)).astype(np.float32)
  tokens = rng.integers(0, 32, (8, 11), np.int32)
  back = rng.integers(0, np.arange(11) + 1, (8, 11)).astype(np.int32)
  weight = rng.normal(size=(8, 11)).astype(np.float32)

  def weighted(nll):
    return lambda hidden, head, *rest: (nll(hidden, head, *rest) * weight).sum()

  grad = lambda nll: jax.value_and_grad(weighted(nll), argnums=(0, 1))
  want = grad(dense_nll)(hidden, head, tokens, back)
  mesh = mesh_of(sizes)
  with jax.set_mesh(mesh):
    rows = {'hidden': hidden, 'tokens': tokens, 'back': back}
    rows = put_batch(rows, mesh)
    head = jax.device_put(head, NamedSharding(mesh, spec('vocab')))
    chunked = lambda *args: loss.token_nll(*args, chunk=chunk)
    got = jax.jit(grad(chunked))(
      rows['hidden'], head, rows['tokens'], rows['back']
    )
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
    np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


def test_compiled_step_has_no_array_of_all_logits():
  cfg = model_of(vocab_size=1000, loss_chunk=16)
  mesh = mesh_of((1, 1, 1))
  with jax.set_mesh(mesh):
    params = table.init_params(jax.random.key(0), cfg)
    batch = put_batch(batch_of(rows_of(8, cfg)), mesh)
    text = (
      jax.jit(jax.grad(lambda p, b: loss.sums(p, b, cfg).nll_O.sum()))
      .lower(params, batch)
      .compile()
      .as_text()
    )
  tokens = batch['tokens'].size
  sizes = {
    int(np.prod([int(n) for n in shape.split(',')]))
    for shape in re.findall(r'f32\[([\d,]*1000[\d,]*)\]', text)
  }
  assert 16 * 1000 in sizes  # a chunk's
  assert max(sizes) < tokens * 1000


def test_a_position_predicts_all_its_branches():
  # root 0, then 1 and its sibling 3 both predicted at position 0.
  cfg = model_of()
  tree = {
    'tokens': np.array([[1, 5, 6, 7]], np.int32),
    'depth': np.array([[0, 1, 2, 1]], np.int32),
    'back': np.array([[0, 1, 1, 3]], np.int32),
    'span': np.array([[4, 2, 1, 1]], np.int32),
    'weights': np.zeros((1, 4, 3), np.float32),
  }
  tree['weights'][0, 1:, 0] = 1
  flat = []
  for ids in ([1, 5, 6], [1, 7]):
    n = len(ids)
    flat.append(
      {
        'tokens': np.array([ids], np.int32),
        'depth': np.arange(n, dtype=np.int32)[None],
        'back': np.minimum(1, np.arange(n, dtype=np.int32))[None],
        'span': np.arange(n, 0, -1, dtype=np.int32)[None],
        'weights': np.float32(np.arange(n) > 0)[None, :, None]
        * np.eye(3, dtype=np.float32)[0],
      }
    )
  mesh = mesh_of((1, 1, 1))
  with jax.set_mesh(mesh):
    params = table.init_params(jax.random.key(0), cfg)
    parts = [loss.sums(params, put_batch(row, mesh), cfg) for row in flat]
    got = loss.sums(params, put_batch(tree, mesh), cfg)
  want = sum(part.nll_O for part in parts)
  np.testing.assert_allclose(got.nll_O, want, rtol=1e-6)
  np.testing.assert_array_equal(got.weight_O, [3, 0, 0])
