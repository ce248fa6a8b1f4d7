"""What a training stage's settings mean: optimizer, learning rate, lambdas.

The rates are functions of the update within the stage and live outside the
optimizer's state, so that a stage may keep the moments of the one before it
and still start its own schedules.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from early_experience.experience.render import OBJECTIVES
from early_experience.model import precision, table
from early_experience.model.config import ModelConfig
from early_experience.runtime.errors import UserError

# A float32 scalar, or one for each objective, at an int32 update of the stage.
Schedule = Callable[[jax.Array], jax.Array]


def make_optimizer(
  stage: ConfigDict, cfg: ModelConfig, dtype: str = 'float32'
) -> optax.GradientTransformation:
  """AdamW behind a clip of the global norm, for a learning rate of 1.

  The step multiplies by minus `learning_rate`. The structure of its state is
  the same for all stages.

  Args:
    stage: its settings.
    cfg: says what is decayed.
    dtype: of the moments, `config.train.optimizer_dtype`. They are computed in
      the dtype of the gradients, float32 or wider.

  Raises:
    UserError: JAX would not give that dtype.
  """
  precision.check('train.optimizer_dtype', dtype)
  return optax.chain(
    optax.clip_by_global_norm(stage.clip_norm),
    _scale_by_adam(stage.b1, stage.b2, jnp.dtype(dtype)),
    optax.add_decayed_weights(stage.weight_decay, table.decay_mask(cfg)),
  )


def _scale_by_adam(b1, b2, dtype):
  """optax.scale_by_adam whose moments, both, rest in a dtype of their own."""
  adam = optax.scale_by_adam(b1, b2)

  def stored(state):
    moments = jax.tree.map(lambda x: x.astype(dtype), (state.mu, state.nu))
    return state._replace(mu=moments[0], nu=moments[1])

  def update(grads, state, params=None):
    like = lambda x, grad: x.astype(grad.dtype)
    mu, nu = (jax.tree.map(like, x, grads) for x in (state.mu, state.nu))
    updates, state = adam.update(grads, state._replace(mu=mu, nu=nu), params)
    return updates, stored(state)

  return optax.GradientTransformation(lambda p: stored(adam.init(p)), update)


def learning_rate(stage: ConfigDict) -> Schedule:
  """Linear warmup to the peak, then the decay over the rest of the stage.

  Raises:
    UserError: the warmup is longer than the stage.
  """
  warmup, peak = stage.warmup_steps, stage.lr_peak
  if warmup > stage.steps:
    raise UserError(
      f'{_key("warmup_steps")} = {warmup} does not fit in {stage.steps} steps'
    )
  rest = max(1, stage.steps - warmup)
  decay = _DECAYS[stage.decay](peak, peak * stage.lr_end_share, rest)
  # The first update has a rate above 0: it would be wasted otherwise.
  rise = optax.linear_schedule(peak / (warmup + 1), peak, max(1, warmup))
  return optax.join_schedules([rise, decay], [warmup])


_DECAYS = {
  'cosine': lambda peak, end, steps: optax.cosine_decay_schedule(
    peak, steps, end / peak if peak else 0.0
  ),
  'linear': optax.linear_schedule,
  'constant': lambda peak, end, steps: optax.constant_schedule(peak),
}


def objective_weights(stage: ConfigDict) -> Schedule:
  """The lambdas of all objectives, in the order of OBJECTIVES.

  Raises:
    UserError: a value is neither a number nor a pair of them.
  """
  ends = [_ends(name, stage.weights.get(name, 0.0)) for name in OBJECTIVES]
  last = max(1, stage.steps - 1)

  def lambda_O(step):
    start_O, end_O = jnp.array(ends, jnp.float32).T
    return start_O + (end_O - start_O) * (step / last)

  return lambda_O


def _ends(name, value):
  ends = (value, value) if isinstance(value, int | float) else tuple(value)
  if len(ends) != 2 or not all(isinstance(x, int | float) for x in ends):
    raise UserError(
      f'{_key("weights." + name)} = {value!r} is neither a number nor a pair'
      ' (start, end)'
    )
  return ends


def _key(name):
  return f'config.train.stages[].{name}'
