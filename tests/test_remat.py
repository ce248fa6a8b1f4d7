"""What a layer keeps changes memory and time, but no number."""

import functools
import re

import jax
import numpy as np
import pytest

from early_experience.model import table
from early_experience.model.sharding import put_batch
from early_experience.training import loss
from tests.training_case import batch_of, mesh_of, model_of, rows_of

BY_MEMORY = ('full', 'attention', 'dots', 'none')
BLOCK = 8


def case(**changes):
  cfg = model_of(attention_block=BLOCK, **changes)
  mesh = jax.sharding.get_mesh()
  params = jax.jit(lambda: table.init_params(jax.random.key(0), cfg))()
  step = jax.jit(
    jax.value_and_grad(lambda p, b: loss.sums(p, b, cfg).nll_O.sum())
  )
  return step, params, put_batch(batch_of(rows_of(4, cfg)), mesh)


@pytest.fixture(scope='module')
def kept():
  with jax.set_mesh(mesh_of((1, 1, 1))):
    step, *arguments = case(remat='none')
    return jax.device_get(step(*arguments))


@pytest.mark.parametrize('remat', BY_MEMORY[:-1])
def test_loss_and_gradients_are_the_same(kept, remat):
  with jax.set_mesh(mesh_of((1, 1, 1))):
    step, *arguments = case(remat=remat)
    got = step(*arguments)
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(kept), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * np.abs(b).max())


@functools.cache
def compiled(remat):
  step, *arguments = case(remat=remat, layers=8)
  return step.lower(*arguments).compile()


def test_what_keeps_less_takes_less_memory():
  with jax.set_mesh(mesh_of((1, 1, 1))):
    sizes = [
      compiled(remat).memory_analysis().temp_size_in_bytes
      for remat in BY_MEMORY
    ]
  assert sizes == sorted(set(sizes)), dict(zip(BY_MEMORY, sizes, strict=True))


def test_attention_runs_again_only_where_nothing_is_kept():
  counts = {}
  with jax.set_mesh(mesh_of((1, 1, 1))):
    for remat in BY_MEMORY:
      text = compiled(remat).as_text()
      scores = rf'f32\[2,2,{BLOCK},{BLOCK}\]\S* exponential\('
      counts[remat] = len(re.findall(scores, text))
  # Forward and backward; where nothing is kept, forward once more.
  assert counts == {'full': 3} | dict.fromkeys(BY_MEMORY[1:], 2)
