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


@functools.cache
def compiled(remat):
  """The step, and what it is called with."""
  cfg = model_of(attention_block=BLOCK, layers=8, remat=remat)
  mesh = mesh_of((1, 1, 1))
  with jax.set_mesh(mesh):
    params = jax.jit(lambda: table.init_params(jax.random.key(0), cfg))()
    batch = put_batch(batch_of(rows_of(4, cfg)), mesh)
    step = jax.jit(
      jax.value_and_grad(lambda p, b: loss.sums(p, b, cfg).nll_O.sum())
    )
    return step.lower(params, batch).compile(), (params, batch)


def outcome(remat):
  step, arguments = compiled(remat)
  return jax.tree.leaves(jax.device_get(step(*arguments)))


@pytest.mark.parametrize('remat', BY_MEMORY[:-1])
def test_loss_and_gradients_are_the_same(remat):
  for a, b in zip(outcome(remat), outcome('none'), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * np.abs(b).max())


def test_what_keeps_less_takes_less_memory():
  sizes = [
    compiled(remat)[0].memory_analysis().temp_size_in_bytes
    for remat in BY_MEMORY
  ]
  assert sizes == sorted(set(sizes)), dict(zip(BY_MEMORY, sizes, strict=True))


def test_attention_runs_again_only_where_nothing_is_kept():
  counts = {}
  for remat in BY_MEMORY:
    text = compiled(remat)[0].as_text()
    scores = rf'f32\[2,2,{BLOCK},{BLOCK}\]\S* exponential\('
    counts[remat] = len(re.findall(scores, text))
  # Forward and backward; where nothing is kept, forward once more.
  assert counts == {'full': 3} | dict.fromkeys(BY_MEMORY[1:], 2)
