"""What a layer keeps changes memory and time, but no number."""

import functools
import re

import jax
import pytest

from early_experience.model.sharding import put_batch
from early_experience.training import loss
from tests.close import FLOAT64, assert_exact
from tests.training_case import batch_of, fresh, mesh_of, model_of, rows_of

BY_MEMORY = ('full', 'attention', 'dots', 'none')
BLOCK = 8


@functools.cache
def compiled(remat):
  """The step, and what it is called with."""
  mesh = mesh_of((1, 1, 1))
  with jax.enable_x64(), jax.set_mesh(mesh):
    cfg = model_of(attention_block=BLOCK, layers=8, remat=remat, **FLOAT64)
    params = fresh(cfg)
    batch = put_batch(batch_of(rows_of(4, cfg)), mesh)
    step = jax.jit(
      jax.value_and_grad(lambda p, b: loss.sums(p, b, cfg).nll_O.sum())
    )
    return step.lower(params, batch).compile(), (params, batch)


def outcome(remat):
  step, arguments = compiled(remat)
  with jax.enable_x64():
    return jax.device_get(step(*arguments))


@pytest.mark.parametrize('remat', BY_MEMORY[:-1])
def test_loss_and_gradients_are_the_same(remat):
  assert_exact(outcome(remat), outcome('none'))


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
    scores = rf'f64\[2,2,{BLOCK},{BLOCK}\]\S* exponential\('
    counts[remat] = len(re.findall(scores, text))
  # Forward and backward; where nothing is kept, forward once more.
  assert counts == {'full': 3} | dict.fromkeys(BY_MEMORY[1:], 2)
