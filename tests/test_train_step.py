"""One update: sums over everything, the same on every mesh, compiled once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from early_experience import config as config_lib
from early_experience.model.sharding import put_batch
from early_experience.runtime.errors import UserError
from early_experience.training import optimizer, train_step
from tests.close import FLOAT64, assert_exact, assert_rounded
from tests.training_case import (
  batch_of,
  mesh_of,
  model_of,
  rows_of,
  to_numpy,
)

ALL = {'imitation': 1.0, 'world_model': 0.5, 'reflection': 2.0}
CFG = model_of()
# Four ways over `tensor`.
WIDE = {'kv_heads': 4, 'tied': False, 'qk_norm': True, 'qkv_bias': True}
ROWS = rows_of(8, CFG)


def stage_of(**changes):
  return config_lib.stage(
    **{'weights': ALL, 'lr_peak': 1e-2, 'steps': 100, **changes}
  )


def run(stage, batch, sizes=(1, 1, 1), microbatches=1, updates=2, **model):
  """The state and the metrics after some updates on one batch, in float64."""
  mesh = mesh_of(sizes)
  with jax.enable_x64(), jax.set_mesh(mesh):
    cfg = model_of(**FLOAT64, **WIDE, **model)
    tx = optimizer.make_optimizer(stage, cfg, 'float64')
    state = train_step.init_state(jax.random.key(0), cfg, tx, mesh)
    step = train_step.make_train_step(cfg, tx, stage, microbatches)
    batch = put_batch(batch, mesh)
    for _ in range(updates):
      state, metrics = step(state, batch)
    return to_numpy(state), to_numpy(metrics)


def assert_same(a, b):
  for key in ('loss', 'nll', 'weight', 'grad_norm'):
    assert_exact(a[1][key], b[1][key])
  # The first moments are the gradients' mean: they show every one of them.
  assert_exact(*(state.opt_state[1].mu for state, _ in (a, b)))


@pytest.fixture(scope='module')
def plain():
  return run(stage_of(), batch_of(ROWS))


def test_loss_is_the_weighted_sum_of_means_over_scored_tokens(plain):
  _, metrics = plain
  scored = batch_of(ROWS)['weights'].sum((0, 1), np.float64)
  assert_exact(metrics['weight'], scored)
  assert_exact(metrics['loss'], metrics['nll'] / scored @ [1, 0.5, 2])


@pytest.mark.parametrize(
  'sizes, parts, how',
  [
    ((8, 1, 1), 1, {}),
    ((1, 8, 1), 1, {'remat': 'full'}),
    ((2, 2, 2), 2, {'attention_block': 5}),
    ((1, 2, 4), 1, {'remat': 'dots'}),
  ],
)
def test_loss_and_gradients_are_those_of_one_device(plain, sizes, parts, how):
  assert_same(run(stage_of(), batch_of(ROWS), sizes, parts, **how), plain)


def test_microbatches_of_unequal_token_counts_add_up_to_the_whole(plain):
  counts = [row['weights'].sum() for row in ROWS]
  assert len(set(counts)) > 4  # else means would pass too
  assert_same(run(stage_of(), batch_of(ROWS), microbatches=4), plain)


@pytest.mark.parametrize(
  'parts, loops',
  [(1, ['forward', 'backward']), (2, ['microbatches'])],
)
def test_one_microbatch_is_no_loop(parts, loops):
  mesh = mesh_of((1, 1, 1))
  with jax.set_mesh(mesh):
    tx = optimizer.make_optimizer(stage_of(), CFG)
    state = train_step.abstract_state(CFG, tx, mesh)
    step = train_step.make_train_step(CFG, tx, stage_of(), parts)
    batch = put_batch(batch_of(ROWS), mesh)
    (call,) = jax.make_jaxpr(step)(state, batch).eqns
  names = [eqn.primitive.name for eqn in call.params['jaxpr'].eqns]
  assert names.count('scan') == len(loops)


def test_objective_without_lambda_or_without_tokens_contributes_nothing():
  batch = batch_of(ROWS)
  batch['weights'][..., 1] = 0
  _, metrics = run(stage_of(weights={**ALL, 'reflection': 0.0}), batch)
  nll, weight = metrics['nll'], metrics['weight']
  assert weight[1] == 0 and nll[2] > 0
  assert_exact(metrics['loss'], nll[0] / weight[0])
  assert np.isfinite(metrics['grad_norm']) and metrics['grad_norm'] > 0


def test_step_compiles_once_donates_and_moves_nothing_implicitly():
  stage, mesh = stage_of(), mesh_of((2, 2, 2))
  with jax.set_mesh(mesh):
    tx = optimizer.make_optimizer(stage, CFG)
    state = train_step.init_state(jax.random.key(0), CFG, tx, mesh)
    step = train_step.make_train_step(CFG, tx, stage, 2)
    layout = jax.tree.map(jnp.shape, state), jax.tree.map(jax.typeof, state)
    with jax.transfer_guard('disallow'):
      for seed in range(3):
        batch = put_batch(batch_of(rows_of(8, CFG, seed)), mesh)
        before, (state, _) = state, step(state, batch)
        assert all(x.is_deleted() for x in jax.tree.leaves(before))
    assert step._cache_size() == 1
    after = jax.tree.map(jnp.shape, state), jax.tree.map(jax.typeof, state)
    assert after == layout


def test_abstract_state_is_the_shape_and_layout_of_the_state():
  mesh = mesh_of((2, 2, 2))
  with jax.set_mesh(mesh):
    tx = optimizer.make_optimizer(stage_of(), CFG)
    state = train_step.init_state(jax.random.key(0), CFG, tx, mesh)
    abstract = train_step.abstract_state(CFG, tx, mesh)
  for x, y in zip(*map(jax.tree.leaves, (state, abstract)), strict=True):
    assert (x.shape, x.dtype) == (y.shape, y.dtype)
    assert x.sharding.is_equivalent_to(y.sharding, x.ndim)


def test_eight_rows_are_learned_by_heart():
  stage = stage_of(lr_peak=1e-2, steps=80, warmup_steps=5)
  batch = batch_of(ROWS)
  batch['weights'][..., 2] = 0  # two branches of one state cannot both be sure
  _, metrics = run(stage, batch, updates=80)
  assert (metrics['nll'][:2] / metrics['weight'][:2]).max() < 0.05


def test_learning_rate_rises_falls_and_starts_above_zero():
  settings = {'steps': 10, 'lr_peak': 1.0, 'warmup_steps': 4}
  rate = optimizer.learning_rate(
    stage_of(**settings, decay='linear', lr_end_share=0.5)
  )
  rates = [float(rate(i)) for i in (0, 2, 4, 7, 10)]
  assert_rounded(rates, [0.2, 0.6, 1.0, 0.75, 0.5], 1.0)
  cosine = optimizer.learning_rate(stage_of(**settings))
  assert_rounded([cosine(4), cosine(7), cosine(10)], [1.0, 0.5, 0.0], 1.0)
  constant = optimizer.learning_rate(stage_of(**settings, decay='constant'))
  assert constant(4) == constant(10) == 1


def test_lambdas_are_constant_or_interpolated_over_the_stage():
  weights = {'imitation': (0.0, 1.0), 'world_model': 2.0}
  lambdas = optimizer.objective_weights(stage_of(weights=weights, steps=5))
  assert_rounded(lambdas(0), np.array([0, 2, 0]), 2.0)
  assert_rounded(lambdas(2), np.array([0.5, 2, 0]), 2.0)
  assert_rounded(lambdas(4), np.array([1, 2, 0]), 2.0)


@pytest.mark.parametrize(
  'changes, named',
  [
    ({'weights': {'imitaton': 1.0}}, 'imitaton'),
    ({'weights': {'imitation': (1.0,)}}, 'weights.imitation'),
    ({'decay': 'exponential'}, 'decay'),
    ({'warmup_steps': 101}, 'warmup_steps'),
    ({'clip_norm': 0.0}, 'clip_norm'),
    ({'b2': 1.0}, 'b2'),
    ({'lr_peak': -1e-3}, 'lr_peak'),
  ],
)
def test_bad_settings_are_named(changes, named):
  stage, config = stage_of(**changes), config_lib.default()
  config.train.stages = [stage]
  with pytest.raises(UserError, match=named):
    config_lib.settled(config)
    tx = optimizer.make_optimizer(stage, CFG)
    train_step.make_train_step(CFG, tx, stage, 1)
