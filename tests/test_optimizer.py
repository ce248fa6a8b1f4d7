"""Moments rest in a dtype of their own; updates are computed in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from early_experience import config as config_lib
from early_experience.model import table
from early_experience.model.sharding import put_batch
from early_experience.training import optimizer, train_step
from early_experience.training.checkpoint import Checkpoints, Position
from tests.training_case import batch_of, mesh_of, model_of, rows_of, to_numpy

STAGE = config_lib.stage(
  lr_peak=1e-2, steps=40, weight_decay=0.1, decay='constant'
)
DTYPES = ('float32', 'bfloat16')


def tx_of(cfg, dtype):
  return optimizer.make_optimizer(STAGE, cfg, dtype)


def trained(param_dtype, dtype, updates, stage=STAGE):
  """The state, and the loss of each update on one batch."""
  cfg = model_of(param_dtype=param_dtype)
  mesh = mesh_of((1, 1, 1))
  with jax.set_mesh(mesh):
    tx = optimizer.make_optimizer(stage, cfg, dtype)
    state = train_step.init_state(jax.random.key(0), cfg, tx, mesh)
    step = train_step.make_train_step(cfg, tx, stage, 2)
    batch = put_batch(batch_of(rows_of(4, cfg)), mesh)
    losses = []
    for _ in range(updates):
      state, metrics = step(state, batch)
      losses.append(float(metrics['loss']))
  return state, np.array(losses)


def moments(state):
  return jax.tree.leaves((state.opt_state[1].mu, state.opt_state[1].nu))


def size(leaves):
  return sum(x.size * x.dtype.itemsize for x in leaves)


@pytest.mark.parametrize('param_dtype', DTYPES)
def test_moments_have_their_dtype_whatever_the_parameters_have(param_dtype):
  cfg = model_of(param_dtype=param_dtype)
  mesh = mesh_of((2, 2, 2))
  states = {
    dtype: train_step.abstract_state(cfg, tx_of(cfg, dtype), mesh)
    for dtype in DTYPES
  }
  for dtype, state in states.items():
    assert {x.dtype.name for x in moments(state)} == {dtype}
    assert {x.dtype.name for x in jax.tree.leaves(state.params)} == {
      param_dtype
    }
  assert jax.tree.structure(states['float32']) == jax.tree.structure(
    states['bfloat16']
  )
  assert size(moments(states['float32'])) == 2 * size(
    moments(states['bfloat16'])
  )


@pytest.mark.parametrize('param_dtype', DTYPES)
def test_dtypes_stay_over_updates_a_stage_and_a_checkpoint(
  tmp_path, param_dtype
):
  cfg, mesh = model_of(param_dtype=param_dtype), mesh_of((1, 1, 1))
  tx = tx_of(cfg, 'bfloat16')
  state, _ = trained(param_dtype, 'bfloat16', 2)
  open_folder = lambda: Checkpoints(tmp_path / 'saved', cfg, 'abc', 1)
  with jax.set_mesh(mesh):
    like = train_step.abstract_state(cfg, tx, mesh)
    with open_folder() as checkpoints:
      checkpoints.save(state, Position(0, 2, 2))
    with open_folder() as checkpoints:
      restored, _ = checkpoints.restore(like, mesh)
    entered = train_step.enter_stage(restored, tx, True, mesh)
  for x, y, z, w in zip(
    *map(jax.tree.leaves, (state, like, restored, entered)), strict=True
  ):
    assert x.dtype == y.dtype == z.dtype == w.dtype
    np.testing.assert_array_equal(np.float32(x), np.float32(z))


def test_half_precision_moments_learn_as_exact_ones_do():
  _, exact = trained('float32', 'float32', 30)
  _, half = trained('float32', 'bfloat16', 30)
  assert exact[-1] < 0.5 * exact[0]
  assert (half != exact).any()  # else nothing was tested
  np.testing.assert_allclose(half, exact, rtol=0.02)


def test_parameters_are_rounded_once_after_an_exact_update():
  stage = config_lib.stage(**{**STAGE, 'clip_norm': 1e9})
  cfg = model_of(param_dtype='bfloat16')
  key = jax.random.key(0)
  mesh = mesh_of((1, 1, 1))
  with jax.set_mesh(mesh):
    start = train_step.init_state(key, cfg, tx_of(cfg, 'float32'), mesh).params
  state, _ = trained('bfloat16', 'float32', 1, stage)

  def update(old, mu, nu, decay):
    # The first update: bias correction takes the averages back to g, g ** 2.
    old = old.astype(np.float32)
    step = (mu / 0.1) / (np.sqrt(nu / 0.05) + 1e-8)
    return (old - 1e-2 * (step + 0.1 * decay * old)).astype(jnp.bfloat16)

  start, state = to_numpy(start), to_numpy(state)
  want = jax.tree.map(
    update,
    start,
    state.opt_state[1].mu,
    state.opt_state[1].nu,
    table.decay_mask(cfg),
  )
  for got, x in zip(*map(jax.tree.leaves, (state.params, want)), strict=True):
    same = np.mean(got == x)
    assert got.dtype == jnp.bfloat16 and same > 0.99  # but for ties


def test_small_updates_of_half_precision_parameters_are_lost():
  """The trap that the setting's comment names."""
  slow = config_lib.stage(**{**STAGE, 'lr_peak': 1e-6, 'weight_decay': 0.0})
  for dtype, moves in (('float32', True), ('bfloat16', False)):
    states = [trained(dtype, 'float32', n, slow)[0] for n in (0, 3)]
    norms = [state.params['layers']['mlp_norm'] for state in states]
    assert bool((norms[0] != norms[1]).any()) == moves
