"""The step: one pure, jitted, donated function from state and rows to state."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from early_experience.model import table
from early_experience.model.config import ModelConfig
from early_experience.model.precision import wide
from early_experience.model.sharding import spec
from early_experience.runtime.errors import UserError
from early_experience.training import loss, optimizer, surrogate

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


@struct.dataclass
class TrainState:
  """All that an update changes.

  Attributes:
    step: int32 [], updates done in this stage. It is the position in the data
      and in the schedules too.
    params: those that are trained: all of the parameter table, or adapters.
    opt_state: of `make_optimizer`.
    frozen: the other parameters; the step hands them through.
  """

  step: jax.Array
  params: dict
  opt_state: optax.OptState
  frozen: dict


def new_state(
  params: dict, cfg: ModelConfig, tx: optax.GradientTransformation, mesh: Mesh
) -> TrainState:
  """The state before the first update.

  Args:
    params: all of the parameter table.
    cfg: says which are trained.
    tx: from `make_optimizer`.
    mesh: that holds the parameters.
  """
  trained, frozen = table.split(params, cfg)
  return TrainState(
    put_step(0, mesh), trained, jax.jit(tx.init)(trained), frozen
  )


def init_state(
  key: jax.Array, cfg: ModelConfig, tx: optax.GradientTransformation, mesh: Mesh
) -> TrainState:
  """Fresh parameters and moments, laid out over the mesh from the start."""
  return new_state(table.make_params(key, cfg, mesh), cfg, tx, mesh)


def abstract_state(
  cfg: ModelConfig, tx: optax.GradientTransformation, mesh: Mesh
) -> TrainState:
  """Shapes, dtypes and shardings of the state, with no memory behind them."""
  params, frozen = table.split(table.abstract_params(cfg, mesh), cfg)

  def placed(leaf):
    partition = leaf.sharding.spec if leaf.sharding else PartitionSpec()
    return leaf.update(sharding=NamedSharding(mesh, partition))

  # Else newer jax forgets how moments are split.
  with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
    opt_state = jax.tree.map(placed, jax.eval_shape(tx.init, params))
  step = placed(jax.ShapeDtypeStruct((), jnp.int32))
  return TrainState(step, params, opt_state, frozen)


def enter_stage(
  state: TrainState, tx: optax.GradientTransformation, reset: bool, mesh: Mesh
) -> TrainState:
  """The state before a stage's first update: reset moments start from zero."""
  opt_state = jax.jit(tx.init)(state.params) if reset else state.opt_state
  return state.replace(step=put_step(0, mesh), opt_state=opt_state)


def put_step(step: int, mesh: Mesh) -> jax.Array:
  """A step count on all devices."""
  return jax.device_put(jnp.int32(step), NamedSharding(mesh, PartitionSpec()))


def check_batch(settings: ConfigDict, mesh: Mesh | AbstractMesh) -> None:
  """Makes sure that each microbatch can be split over the mesh.

  Args:
    settings: `config.train`.
    mesh: to train on.

  Raises:
    UserError: it cannot.
  """
  rows, parts = settings.batch_rows, settings.microbatches
  ways = mesh.shape['data'] * mesh.shape['fsdp']
  if parts < 1 or rows < 1 or rows % (parts * ways):
    raise UserError(
      f'config.train.batch_rows = {rows} cannot be cut into'
      f' config.train.microbatches = {parts} parts over config.mesh data x fsdp'
      f' = {ways} devices; make it a multiple of {max(1, parts) * ways}'
    )


def make_train_step(
  cfg: ModelConfig,
  tx: optax.GradientTransformation,
  stage: ConfigDict,
  microbatches: int,
  policy: surrogate.Surrogate | None = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
  """The jitted update of one stage; it takes over the memory of its state.

  The loss is sum over objectives o of lambda_o(step) * nll_o / weight_o, both
  sums over the whole batch of all devices, however it is cut in microbatches.
  An objective without tokens contributes 0. Where a policy's own episodes are
  in the batch, their surrogate over their tokens is one more term.

  Args:
    cfg: static.
    tx: from `make_optimizer`.
    stage: its schedules.
    microbatches: parts of the batch whose gradients are added.
    policy: how episodes are learnt from; None where there are none.

  Returns:
    step(state, batch) -> (state, metrics): `loss`, `nll` and `weight` by
    objective (sums), `scored` tokens, `grad_norm` before clipping, `lr`; and
    `policy`, sums of the surrogate.
  """
  lambdas = optimizer.objective_weights(stage)
  rate = optimizer.learning_rate(stage)
  total = functools.partial(jnp.sum, axis=(0, 1), dtype=wide(cfg.dtype))

  def step(state, batch):
    weight_O = total(batch['weights'])
    lambda_O = lambdas(state.step)
    # Known before the first microbatch, so every part is scaled for the whole.
    scale_O = jnp.where(weight_O == 0, 0, lambda_O / weight_O)
    sampled = total(batch['policy'])[2] if policy else None
    parts = _split(batch, microbatches)

    def nll(params, part):
      merged = table.merge(params, state.frozen)
      return loss.batch_nll(merged, part, cfg, policy.vocab if policy else 0)

    # An episode's tokens may be in several parts: a pass of its own.
    whole = None
    if policy and policy.groups and microbatches > 1:
      of = lambda part: surrogate.episodes(
        -nll(state.params, part), part, policy
      )
      whole = jax.tree.map(lambda x: x.sum(0), jax.lax.map(of, parts))

    def scaled(params, part):
      nll_BT = nll(params, part)
      nll_O, of_policy = loss.weighted(nll_BT, part['weights']).nll_O, None
      value = jnp.sum(scale_O * nll_O)
      if policy:
        of_policy = surrogate.sums(-nll_BT, part, policy, whole)
        value += policy.value(of_policy, sampled)
      return value, (nll_O, of_policy)

    (value, (nll_O, of_policy)), grads = _accumulate(
      jax.value_and_grad(scaled, has_aux=True),
      state.params,
      parts,
    )
    # Wide whatever the parameters are; they are rounded at the very end.
    exact = jax.tree.map(_widened, state.params)
    updates, opt_state = tx.update(grads, state.opt_state, exact)
    lr = rate(state.step)
    params = jax.tree.map(
      lambda old, x, u: (x - lr * u).astype(old.dtype),
      state.params,
      exact,
      updates,
    )
    metrics = {
      'loss': value,
      'nll': nll_O,
      'weight': weight_O,
      'scored': jnp.sum(jnp.any(batch['weights'] > 0, axis=-1)),
      'grad_norm': optax.tree.norm(grads),
      'lr': jnp.float32(lr),
    }
    if policy:
      metrics['policy'] = of_policy
    step = state.step + 1
    return TrainState(step, params, opt_state, state.frozen), metrics

  return jax.jit(step, donate_argnums=0)


def _accumulate(value_and_grad, params, parts):
  """Adds values, what goes with them, and gradients, in a wide dtype."""
  first = jax.tree.map(lambda x: x[0], parts)
  if len(parts['tokens']) == 1:
    # In a loop, even of one step, XLA for TPUs compiles both passes twice.
    values, grads = value_and_grad(params, first)
    return values, jax.tree.map(_widened, grads)

  def add(total, part):
    return jax.tree.map(jnp.add, total, value_and_grad(params, part)), None

  like, _ = jax.eval_shape(value_and_grad, params, first)
  start = jax.tree.map(lambda x: _widened(jnp.zeros_like(x)), (like, params))
  return jax.lax.scan(add, start, parts)[0]


def _widened(x):
  return x.astype(wide(x.dtype))


def _split(batch, parts):
  """[B, ...] to [parts, B / parts, ...]; no row leaves its device."""

  def split(x):
    rows, rest = x.shape[0] // parts, x.shape[1:]
    whole = (None,) * len(rest)
    x = jax.lax.reshape(
      x, (rows, parts, *rest), out_sharding=spec('batch', None, *whole)
    )
    return jnp.swapaxes(x, 0, 1)

  return jax.tree.map(split, batch)
