"""The promise: a group's tree has the surrogate and gradients of its episodes.

Here each decision is a row of its own, and its ratio, clip and KL are computed
token by token as papers write them; there all of a group is one tree.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from early_experience import config as config_lib
from early_experience.model import sharding, table
from early_experience.reinforcement import advantages, batches, rows
from early_experience.training import loss, optimizer, surrogate, train_step
from early_experience.training.surrogate import Surrogate
from tests.close import FLOAT64, assert_exact
from tests.rl_case import flat, flat_logp, group, textbook
from tests.test_agent import coder
from tests.training_case import mesh_of, model_of

ROW, BATCH = 96, 16  # trees are cut into windows
OBJECTIVES = {
  'plain': Surrogate(),
  'narrow': Surrogate(clip_low=0.05, clip_high=0.02),
  'dual clip': Surrogate(clip_high=0.1, dual_clip=1.05),
  'KL': Surrogate(kl_weight=0.3),
}
GROUPS, MEMBERS = 3, 4
OF_EPISODES = {
  'plain': Surrogate(groups=GROUPS, clip_low=0.02, clip_high=0.03),
  'narrow': Surrogate(groups=GROUPS, clip_low=0.005, clip_high=0.002),
  'dual clip': Surrogate(
    groups=GROUPS, clip_low=0.02, clip_high=0.02, dual_clip=1.01
  ),
}


@pytest.fixture(scope='module', autouse=True)
def mesh():
  with jax.enable_x64(), jax.set_mesh(mesh_of((1, 1, 1))) as mesh:
    yield mesh


@functools.cache
def model():
  """A policy, the one that sampled, and the one that it all began with."""
  cfg = model_of(vocab_size=coder().vocab_size, **FLOAT64)
  make = jax.jit(lambda key: table.init_params(key, cfg))
  first, *others = (make(jax.random.key(i)) for i in range(4))
  near = lambda a, b: jax.tree.map(lambda x, y: 3 * (x + 0.02 * y), a, b)
  return *(near(first, other) for other in others), cfg


@functools.cache
def groups(step_weight=0.5):
  settings = config_lib.default().rl
  settings.reward, settings.step_discount = 'score', 0.5
  # Both are of single decisions: without them an episode has one advantage.
  settings.step_weight, settings.invalid_penalty = step_weight, step_weight / 2
  records = [r for seed in range(GROUPS) for r in group(seed, MEMBERS)]
  found = advantages.of_groups(records, settings)
  assert len(found.kept) == GROUPS
  # Parts of a power of 2: their sums in float32 are exact in any order.
  return [
    [(record, np.round(values * 1024) / 1024) for record, values in some]
    for some in found.kept
  ]


def scored(layout, cap=0.0, step_weight=0.5, observations=False):
  """A batch in a layout, with what the trainer says of each token."""
  some = groups(step_weight)
  made = rows.make(some, coder(), ROW, layout, observations, MEMBERS)
  assert not made.overlong
  _, old, start, cfg = model()
  put = lambda some: sharding.put_batch(some, jax.sharding.get_mesh())
  batch = put(batches.stack(made.rows, BATCH))
  logps = [np.asarray(logp(p, batch, cfg)) for p in (old, start)]
  batches.add_scores(made.rows, *logps, cap, batches.Scores())
  return put(batches.stack(made.rows, BATCH)), made


@functools.partial(jax.jit, static_argnames='cfg')
def logp(params, batch, cfg):
  return -loss.batch_nll(params, batch, cfg)


@functools.partial(jax.jit, static_argnames='cfg')
def pull(params, batch, d_logp, cfg):
  return jax.vjp(lambda p: -loss.batch_nll(p, batch, cfg), params)[1](d_logp)[0]


@functools.partial(jax.jit, static_argnames='cfg')
def flat_pull(params, tokens, allowed, d_logp, cfg):
  function = lambda p: flat_logp(p, tokens, allowed, cfg)
  return jax.vjp(function, params)[1](d_logp)[0]


def of_rows(batch, how):
  """Value and gradient of the surrogate, by the code under test."""
  params, _, _, cfg = model()

  def value(logp_BT):
    count = batch['policy'][..., 2].sum()
    return how.value(surrogate.sums(logp_BT, batch, how), count)

  found, d_logp = jax.value_and_grad(value)(logp(params, batch, cfg))
  return found, pull(params, batch, d_logp, cfg)


def of_episodes(how, cap=0.0, step_weight=0.5, by_token=False):
  params, old, start, cfg = model()
  found = flat(groups(step_weight), cfg.vocab_size)
  inputs = found.tokens, found.allowed
  now, *others = (flat_logp(p, *inputs, cfg) for p in (params, old, start))
  how = functools.partial(textbook, how=how, cap=cap, by_token=by_token)
  value = lambda logp_ST: how(logp_ST, *others, found)
  value, d_logp = jax.value_and_grad(value)(now)
  return value, flat_pull(params, *inputs, d_logp, cfg)


@pytest.mark.parametrize('name', OBJECTIVES)
def test_the_tree_of_a_group_has_the_surrogate_of_its_episodes(name):
  how = OBJECTIVES[name]
  batch, made = scored('tree')
  assert made.tree_tokens < made.flat_tokens / 1.5
  assert made.packed_tokens > made.tree_tokens  # windows repeat some
  got = of_rows(batch, how)
  assert_exact(got, of_episodes(how), 1e-9)
  sums = surrogate.sums(logp(model()[0], batch, model()[3]), batch, how)
  share = float(sums.clipped / sums.advantage)
  assert 0.05 < share < 0.95  # clips are at work, and are not all there is


def test_importance_weights_are_the_tokens_own():
  got = of_rows(scored('tree', cap=1.5)[0], Surrogate())
  assert_exact(got, of_episodes(Surrogate(), cap=1.5), 1e-6)


@pytest.mark.parametrize('name', OF_EPISODES)
def test_ratios_may_be_those_of_whole_episodes(name):
  """Whose decisions are in several windows, and no path of the tree."""
  how, one = OF_EPISODES[name], {'step_weight': 0.0}  # advantage an episode
  batch, _ = scored('tree', **one)
  assert_exact(of_rows(batch, how), of_episodes(how, **one), 1e-9)
  sums = surrogate.sums(logp(model()[0], batch, model()[3]), batch, how)
  share = float(sums.clipped / sums.advantage)
  assert 0.05 < share < 0.95


def test_a_token_bears_its_own_advantage_and_weight_with_them():
  how = OF_EPISODES['plain']
  got = of_rows(scored('tree', cap=1.5)[0], how)
  assert_exact(got, of_episodes(how, cap=1.5, by_token=True), 1e-6)


def test_episodes_may_be_spread_over_devices():
  how = OF_EPISODES['plain']
  batch = jax.device_get(scored('tree')[0])
  noise_BT = 0.1 * np.random.default_rng(0).normal(size=batch['old'].shape)
  value = jax.jit(
    jax.value_and_grad(
      lambda logp_BT, batch: surrogate.sums(logp_BT, batch, how).surrogate
    )
  )
  batch['logp'] = batch['old'] + noise_BT
  found = []
  for sizes in ((1, 1, 1), (2, 2, 2)):
    mesh = mesh_of(sizes)
    with jax.set_mesh(mesh):
      given = sharding.put_batch(batch, mesh)
      found.append(jax.device_get(value(given.pop('logp'), given)))
  assert_exact(*found, 1e-12)


def updated(batch, how, parts):
  """Three updates on one batch: the parameters after them, and metrics."""
  stage = config_lib.stage(
    weights={'world_model': 0.05}, lr_peak=1e-2, steps=3, decay='constant'
  )
  *_, cfg = model()
  tx = optimizer.make_optimizer(stage, cfg, 'float64')
  step = train_step.make_train_step(cfg, tx, stage, parts, how)
  params = jax.tree.map(jnp.copy, model()[1])  # that which sampled
  state = train_step.new_state(params, cfg, tx, jax.sharding.get_mesh())
  seen = []
  for _ in range(3):
    state, metrics = step(state, batch)
    seen.append(jax.device_get(metrics))
  return jax.device_get(state.params), seen


@pytest.mark.parametrize(
  'how',
  [
    Surrogate(clip_low=0.1, clip_high=0.1, kl_weight=0.1),
    Surrogate(groups=GROUPS, clip_low=0.002, clip_high=0.01, kl_weight=0.1),
  ],
  ids=['of tokens', 'of episodes'],
)
def test_several_updates_on_a_batch_are_those_of_flat_rows(how):
  """With observations scored beside, as ECHO has it; in parts, and whole."""
  (params, seen), (flat_params, flat_seen) = (
    updated(scored(layout, observations=True)[0], how, parts)
    for layout, parts in (('tree', 2), ('flat', 1))
  )
  assert_exact(params, flat_params, 1e-8)
  for one, other in zip(seen, flat_seen, strict=True):
    assert_exact(one['loss'], other['loss'], 1e-9)
    assert_exact(one['nll'], other['nll'], 1e-9)
    assert_exact(one['policy'], other['policy'], 1e-9)
  assert seen[0]['policy'].clipped == 0  # the first update has ratios of 1
  assert seen[2]['policy'].clipped > 0
  assert seen[2]['weight'][1] > 0


def decisions(*rewards, observations=('a', 'b')):
  """Episodes of one task with these rewards, each with these states."""
  step = {'observation': '', 'valid': True}
  return [
    {
      'task_id': 't',
      'member': i,
      'score': score,
      'steps': [step | {'observation': o} for o in observations],
    }
    for i, score in enumerate(rewards)
  ]


def test_an_advantage_is_the_reward_less_the_mean_of_its_group():
  settings = config_lib.default().rl
  settings.reward = 'score'
  (kept,) = advantages.of_groups(decisions(1.0, 0.0, 0.0, 1.0), settings).kept
  assert [list(values) for _, values in kept] == [
    [0.5, 0.5],
    [-0.5, -0.5],
    [-0.5, -0.5],
    [0.5, 0.5],
  ]
  found = advantages.of_groups(decisions(0.3, 0.3, 0.3), settings)
  assert (len(found.kept), len(found.even), found.failed) == (0, 1, 0)
  failed = [*decisions(1.0, 0.0), {'task_id': 't', 'member': 2, 'reason': 'x'}]
  found = advantages.of_groups(failed, settings)
  assert (len(found.kept), len(found.even), found.failed) == (0, 0, 1)
  settings.divide_by_std = True
  (kept,) = advantages.of_groups(decisions(1.0, 0.0), settings).kept
  np.testing.assert_allclose(kept[0][1], 0.5 / (0.5 + 1e-4))


def test_a_rejected_action_costs_its_own_decision_alone():
  settings = config_lib.default().rl
  settings.reward, settings.invalid_penalty = 'score', 0.4
  group = decisions(1.0, 0.0)
  group[1]['steps'][0]['valid'] = False
  (kept,) = advantages.of_groups(group, settings).kept
  # One of four: 0.1 for each, of which the one is 0.4 short.
  np.testing.assert_allclose(
    [values for _, values in kept], [[0.6, 0.6], [-0.8, -0.4]]
  )
  # It also tells episodes apart whose rewards are alike.
  group[0]['score'] = 0.0
  (kept,) = advantages.of_groups(group, settings).kept
  np.testing.assert_allclose(
    [values for _, values in kept], [[0.1, 0.1], [-0.3, 0.1]]
  )
  group[1]['steps'][0]['valid'] = True
  assert not advantages.of_groups(group, settings).kept


def test_a_step_group_is_all_that_saw_the_same():
  settings = config_lib.default().rl
  settings.reward, settings.step_weight = 'score', 2.0
  settings.step_discount = 0.5
  one, other = decisions(1.0), decisions(0.0, observations=('b',))
  other[0]['member'] = 1
  (kept,) = advantages.of_groups(one + other, settings).kept
  # Alone in `a`; in `b` 1 against 0, by 0.5 and twice.
  assert [list(values) for _, values in kept] == [[0.5, 1.5], [-1.5]]


def test_what_differs_of_one_token_shares_nothing():
  said = {'role': 'action', 'ids': [7, 8], 'logps': [-1.0, -2.0]}
  near = said | {'logps': [-1.01, -2.0]}
  other_policy = said | {'logps': [-3.0, -2.0]}
  others = said | {'allowed': [[7, 9], [8, 9]]}
  sequences = rows._Sequences([()])
  for one in (said, near, other_policy, others):
    sequences.add_said([1, 2], one, 1.0)
  assert [len(some) for some in sequences.agreeing] == [2, 1, 1]
