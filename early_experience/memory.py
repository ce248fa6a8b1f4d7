"""The memory that training with a config takes, before anything is allocated.

python -m early_experience.memory --config=configs/llama3_1_8b.py

It needs no device of the mesh: the step is traced, not compiled. With --check
it is compiled as well, for devices of this machine, and XLA's figures stand
beside the estimate. XLA for CPUs fuses less and computes bfloat16 in float32,
so it plans more than accelerators need. What an allocator loses between arrays
is not estimated: leave it room.
"""

import dataclasses
import math
import pathlib

import jax
import jax.numpy as jnp
from absl import flags
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from ml_collections import ConfigDict

from early_experience.config import checked
from early_experience.experience.render import OBJECTIVES
from early_experience.hf import architecture as hf_architecture
from early_experience.model import config as model_config
from early_experience.model import sharding, table, tree_attention
from early_experience.model.config import ModelConfig
from early_experience.runtime import cli
from early_experience.runtime.errors import UserError
from early_experience.training import architecture as checkpoints
from early_experience.training import initial, liveness, optimizer, train_step

DEVICES = flags.DEFINE_integer(
  'devices', 0, 'devices of the cluster, for a -1 in config.mesh'
)
PLATFORM = flags.DEFINE_enum(
  'platform', 'cpu', ['cpu', 'gpu', 'tpu'], "for config.model.attention='auto'"
)
CHECK = flags.DEFINE_bool('check', False, 'compile for devices of this machine')


@dataclasses.dataclass(frozen=True)
class Estimate:
  """Bytes on one device.

  Attributes:
    params: parameters that are trained.
    frozen: parameters that are not.
    opt_state: moments of what is trained.
    batch: of the whole update.
    gradients: of what is trained, float32.
    cast: the layers' parameters in the compute dtype, where that is another:
      XLA makes this copy once, before its loop over the layers.
    kept: activations that wait for the backward pass, as `remat` says.
    layer: the most that one layer has of its own while it is computed.
    chunk: the same of a chunk of the loss.
    temporary: the most that these five, and what is between them, have at one
      time: layer and chunk, for example, do not work at once.
  """

  params: int
  frozen: int
  opt_state: int
  batch: int
  gradients: int
  cast: int
  kept: int
  layer: int
  chunk: int
  temporary: int

  @property
  def total(self) -> int:
    """At the worst moment of an update."""
    fixed = self.params + self.frozen + self.opt_state + self.batch
    return fixed + self.temporary


@checked
def main(config: ConfigDict, workdir: str | None = None) -> Estimate:
  """Prints the estimate of a config, and the check if that is asked for."""
  sizes = mesh_sizes(config.mesh, DEVICES.value)
  if config.model.attention == 'auto':
    way = tree_attention.AUTO.get(PLATFORM.value, 'loops')
    config.model.attention = way
  cfg = architecture(config)
  row_tokens = config.prepare.row_tokens
  found = estimate(cfg, config, sizes, row_tokens)
  _show(found, cfg, config, sizes, row_tokens)
  if CHECK.value:
    _check(found, cfg, config, sizes, row_tokens)
  return found


def mesh_sizes(mesh: ConfigDict, devices: int) -> dict[str, int]:
  """The sizes of a mesh that this machine need not have.

  Raises:
    UserError: they are not known, or do not fit the devices.
  """
  sizes = {axis: mesh[axis] for axis in sharding.AXES}
  text = 'x'.join(map(str, sizes.values()))
  unknown = [axis for axis, size in sizes.items() if size == -1]
  known = math.prod(size for size in sizes.values() if size != -1)
  if len(unknown) > 1 or known < 1:
    raise UserError(f'config.mesh = {text}: sizes are positive, at most one -1')
  if unknown and not devices:
    raise UserError(f'config.mesh = {text}: say how many --devices=N there are')
  if devices and (devices % known or (not unknown and devices != known)):
    raise UserError(f'config.mesh = {text} does not fit {devices} devices')
  return sizes | {axis: devices // known for axis in unknown}


def architecture(config: ConfigDict) -> ModelConfig:
  """The model of a config, whose weights and tokenizer need not be there."""
  model = ConfigDict(config.model.to_dict())
  init = config.init
  if init.checkpoint:
    saved, _ = checkpoints.read(pathlib.Path(init.checkpoint) / initial.FOLDER)
    model.update(initial.fields(saved))
  elif init.hf:
    model.update(hf_architecture.read(init.hf))
  ids = model.vocab_size or config.prepare.vocab_size
  return model_config.from_config(model, ids)


def estimate(
  cfg: ModelConfig, config: ConfigDict, sizes: dict[str, int], row_tokens: int
) -> Estimate:
  """What each device needs for an update.

  Args:
    cfg: of the model.
    config: `train` is used.
    sizes: of the mesh, by axis.
    row_tokens: of every row.

  Raises:
    UserError: rows or parameters cannot be split over the mesh.
  """
  mesh = AbstractMesh(
    tuple(sizes[axis] for axis in sharding.AXES),
    sharding.AXES,
    axis_types=(AxisType.Explicit,) * len(sharding.AXES),
  )
  with jax.sharding.use_abstract_mesh(mesh):
    step, state, batch = _step(cfg, config, mesh, row_tokens)
    traced = jax.make_jaxpr(step)(state, batch)
  peak = liveness.peak(traced.jaxpr)
  cast = _bytes(_cast_layers(state, cfg))
  return Estimate(
    params=_bytes(state.params),
    frozen=_bytes(state.frozen),
    opt_state=_bytes(state.opt_state),
    batch=_bytes(batch),
    gradients=_bytes(state.params, least=4),
    cast=cast,
    kept=peak.kept,
    layer=peak.layer,
    chunk=peak.chunk,
    temporary=peak.total + cast,
  )


def compiled(cfg: ModelConfig, config: ConfigDict, mesh: Mesh, row_tokens: int):
  """The step as XLA compiles it for the devices of a mesh."""
  with jax.set_mesh(mesh):
    step, state, batch = _step(cfg, config, mesh, row_tokens)
    return step.lower(state, batch).compile()


def _step(cfg, config, mesh, row_tokens):
  """The first stage's jitted step, and its abstract arguments."""
  settings = config.train
  stage = settings.stages[0]
  train_step.check_batch(settings, mesh)
  rows, parts = settings.batch_rows, settings.microbatches
  tx = optimizer.make_optimizer(stage, cfg, settings.optimizer_dtype)
  state = train_step.abstract_state(cfg, tx, mesh)
  whole = NamedSharding(mesh, sharding.spec('batch'))
  array = lambda *shape, dtype=jnp.int32: jax.ShapeDtypeStruct(
    (rows, row_tokens, *shape), dtype, sharding=whole
  )
  batch = {name: array() for name in ('tokens', 'depth', 'back', 'span')}
  batch['weights'] = array(len(OBJECTIVES), dtype=jnp.float32)
  return train_step.make_train_step(cfg, tx, stage, parts), state, batch


def _cast_layers(state, cfg):
  dtype = jnp.dtype(cfg.dtype)
  layers = (state.params.get('layers', {}), state.frozen.get('layers', {}))
  return [
    x.update(dtype=dtype) for x in jax.tree.leaves(layers) if x.dtype != dtype
  ]


def _bytes(tree, least=0):
  """Of the parts of all arrays on one device, in `least` or wider numbers."""
  return sum(
    math.prod(x.sharding.shard_shape(x.shape)) * max(least, x.dtype.itemsize)
    for x in jax.tree.leaves(tree)
  )


def _show(found, cfg, config, sizes, row_tokens):
  ways = math.prod(sizes.values())
  rows = config.train.batch_rows // (
    sizes['data'] * sizes['fsdp'] * config.train.microbatches
  )
  mesh = 'x'.join(str(sizes[axis]) for axis in sharding.AXES)
  print(
    f'{table.count(cfg):,} parameters on a mesh of {mesh}; MiB on each of'
    f' {ways} devices, with {rows} rows of {row_tokens:,} tokens at a time;'
    f' attention: {cfg.attention}'
  )
  lines = {
    'parameters': found.params,
    'frozen parameters': found.frozen,
    f'optimizer ({config.train.optimizer_dtype})': found.opt_state,
    'batch': found.batch,
    'the most of what follows at one time': found.temporary,
    '  gradients': found.gradients,
    f'  layers as {cfg.dtype}': found.cast,
    f'  activations kept (remat {cfg.remat})': found.kept,
    '  a layer at work': found.layer,
    '  a chunk of the loss at work': found.chunk,
    'total': found.total,
  }
  _print({name: value for name, value in lines.items() if value})


def _print(lines):
  for name, value in lines.items():
    print(f'  {name:<40}{value / 2**20:12,.1f}')


def _check(found, cfg, config, sizes, row_tokens):
  settings = ConfigDict(sizes)
  step = compiled(cfg, config, sharding.make_mesh(settings), row_tokens)
  by_xla = step.memory_analysis()
  parts = {
    'arguments': by_xla.argument_size_in_bytes,
    'results beside them': by_xla.output_size_in_bytes
    - by_xla.alias_size_in_bytes,
    'temporary': by_xla.temp_size_in_bytes,
  }
  total = sum(parts.values())
  print(f'XLA for {jax.devices()[0].platform}:')
  _print(parts | {'total': total})
  print(f'  {"estimate / XLA":<40}{found.total / total:12.2f}')


if __name__ == '__main__':
  cli.run(main, needs_workdir=False)
