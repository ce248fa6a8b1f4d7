"""A matrix product whose gradients are those of einsum, in a cheaper order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from early_experience.config import default
from early_experience.model import sharding
from early_experience.model.product import product

WHOLE = (None, None)  # more axes that no device splits
# Activations and a matrix, both with their axes' names, the activations' axes
# that are contracted, the same as an einsum, and the result's names where a
# sum crosses devices.
CASES = {
  'into heads': (
    ((8, 5, 6), ('batch', *WHOLE)),
    ((6, 2, 4), (None, 'heads', None)),
    (2,),
    'btd,dnh->btnh',
    None,
  ),
  'out of heads': (
    ((8, 2, 5, 4), ('batch', 'heads', *WHOLE)),
    ((2, 4, 6), ('heads', *WHOLE)),
    (1, 3),
    'bnth,nhd->btd',
    sharding.spec('batch', *WHOLE),
  ),
}


@pytest.fixture(autouse=True)
def mesh():
  settings = default().mesh
  settings.fsdp, settings.tensor = 4, 2
  made = sharding.make_mesh(settings)
  with jax.set_mesh(made):
    yield made


def drawn(case, mesh):
  rng = np.random.default_rng(0)
  *arrays, axes, same, split = CASES[case]
  x, w = (
    jax.device_put(
      rng.normal(size=shape).astype(np.float32),
      NamedSharding(mesh, sharding.spec(*names)),
    )
    for shape, names in arrays
  )
  return x, w, axes, same, split


@pytest.mark.parametrize('case', CASES)
def test_values_and_gradients_are_those_of_einsum(case, mesh):
  x, w, axes, same, split = drawn(case, mesh)

  def ours(x, w):
    return jnp.sum(jnp.sin(product(x, w, axes, split)))

  def theirs(x, w):
    return jnp.sum(jnp.sin(jnp.einsum(same, x, w, out_sharding=split)))

  both = (jax.jit(jax.value_and_grad(f, (0, 1))) for f in (ours, theirs))
  (value, grads), (want, wanted) = (f(x, w) for f in both)
  np.testing.assert_allclose(value, want, rtol=1e-5)
  for grad, expected in zip(grads, wanted, strict=True):
    assert grad.sharding == expected.sharding
    np.testing.assert_allclose(grad, expected, rtol=1e-5, atol=1e-5)


def test_beside_a_frozen_matrix_no_activations_are_kept(mesh):
  x, w, axes, *_ = drawn('into heads', mesh)
  _, pull = jax.vjp(lambda x: product(x, w, axes), x)
  kept = {leaf.shape for leaf in jax.tree.leaves(pull)}
  assert kept == {w.shape}
