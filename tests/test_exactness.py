"""The promise: training on the tree is training on its sequences, exactly.

For any set of sequences the weighted loss sums and every parameter's gradient
of the tree's rows equal those of the flat rows.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from early_experience.experience import rows, tree
from early_experience.model import sharding
from early_experience.training import loss
from tests.close import FLOAT64, assert_exact
from tests.sequences import random_sequences
from tests.training_case import fresh, mesh_of, model_of

MODEL = {'qkv_bias': True, 'qk_norm': True, 'attention_block': 0, **FLOAT64}
ROW, BATCH = 64, 4


@pytest.fixture(scope='module', autouse=True)
def mesh():
  with jax.enable_x64(), jax.set_mesh(mesh_of((1, 1, 1))) as mesh:
    yield mesh


@functools.cache
def model():
  cfg = model_of(vocab_size=50, **MODEL)
  return fresh(cfg), cfg


@functools.partial(jax.jit, static_argnums=2)
def sums_and_gradient(parameters, batch, cfg):
  """Sums of a batch; gradient of all objectives with unequal weights."""

  def total(p):
    found = loss.sums(p, batch, cfg)
    return found.nll_O @ jnp.array([1.0, 0.7, 0.3]), found

  (_, found), gradient = jax.value_and_grad(total, has_aux=True)(parameters)
  return found, gradient


def over_rows(trees):
  """Adds the sums and gradients of all rows, a few rows at a time."""
  made = rows.pack(trees, ROW)
  empty = {k: np.zeros_like(v) for k, v in made[0].items()}
  empty['span'] += 1
  made += [empty] * (-len(made) % BATCH)
  total = None
  for start in range(0, len(made), BATCH):
    part = made[start : start + BATCH]
    batch = {k: np.stack([r[k] for r in part]) for k in empty}
    batch = sharding.put_batch(batch, jax.sharding.get_mesh())
    params, cfg = model()
    found = sums_and_gradient(params, batch, cfg)
    total = found if total is None else jax.tree.map(jnp.add, total, found)
  return total


@pytest.mark.parametrize('seed', range(8))
def test_trees_equal_flat_rows(seed):
  sequences = random_sequences(seed, count=25)
  expected = over_rows([tree.flat(s) for s in sequences])
  merged = tree.merge(sequences)
  assert sum(map(len, merged)) < sum(len(s.ids_T) for s in sequences)
  cut = [w for t in merged for w in tree.windows(t, ROW)]
  assert_exact(over_rows(cut), expected)


@pytest.mark.parametrize('row', [26, 32, 48])
def test_windows_of_any_size_equal_flat_rows(row):
  sequences = random_sequences(100, count=25)
  expected = over_rows([tree.flat(s) for s in sequences])
  cut = [w for t in tree.merge(sequences) for w in tree.windows(t, row)]
  assert len(cut) > len(tree.merge(sequences))
  assert_exact(over_rows(cut), expected)


def test_a_tree_beside_others_equals_itself_alone():
  a, b = (tree.merge(random_sequences(s, count=6, longest=6)) for s in (7, 8))
  alone = jax.tree.map(jnp.add, over_rows(a), over_rows(b))
  assert len(rows.pack([*a, *b], ROW)) < len(a) + len(b)
  assert_exact(over_rows([*a, *b]), alone)
