"""One table of all parameters, and everything that follows from it.

Parameters are a nested dict of arrays. A path such as `layers/q` names each;
arrays below `layers` hold all layers, stacked on a leading axis L.
"""

import dataclasses
import math
import zlib

import jax
import jax.numpy as jnp
from flax import traverse_util
from jax.nn.initializers import Initializer, normal, ones, zeros
from jax.sharding import Mesh, NamedSharding

from early_experience.errors import UserError
from early_experience.model.config import ModelConfig
from early_experience.model.sharding import spec


@dataclasses.dataclass(frozen=True)
class Row:
  """One parameter. `axes` are logical names; `decay`: by AdamW."""

  shape: tuple[int, ...]
  axes: tuple[str | None, ...]
  initialiser: Initializer
  decay: bool


def table(cfg: ModelConfig) -> dict[str, Row]:
  """Every parameter of the architecture by path."""
  size = {
    'vocab': cfg.vocab_size,
    'embed': cfg.embed,
    'heads': cfg.heads,
    'kv_heads': cfg.kv_heads,
    'head_dim': cfg.head_dim,
    'mlp': cfg.mlp,
    'layer': cfg.layers,
  }

  def row(axes, initialiser, decay=False):
    names = tuple(axes.split())
    return Row(tuple(size[name] for name in names), names, initialiser, decay)

  def matrix(axes, fan_in, share=1.0):
    return row(axes, normal(share * fan_in**-0.5), decay=True)

  # What closes a residual branch starts smaller, so that the sum of all
  # branches has the size of one.
  share = (2 * cfg.layers) ** -0.5
  rows = {
    'embed': matrix('vocab embed', cfg.embed),
    'layers/attention_norm': row('layer embed', ones),
    'layers/q': matrix('layer embed heads head_dim', cfg.embed),
    'layers/k': matrix('layer embed kv_heads head_dim', cfg.embed),
    'layers/v': matrix('layer embed kv_heads head_dim', cfg.embed),
    'layers/o': matrix(
      'layer heads head_dim embed', cfg.heads * cfg.head_dim, share
    ),
    'layers/mlp_norm': row('layer embed', ones),
    'layers/gate': matrix('layer embed mlp', cfg.embed),
    'layers/up': matrix('layer embed mlp', cfg.embed),
    'layers/down': matrix('layer mlp embed', cfg.mlp, share),
    'norm': row('embed', ones),
  }
  if cfg.qkv_bias:
    rows['layers/q_bias'] = row('layer heads head_dim', zeros)
    rows['layers/k_bias'] = row('layer kv_heads head_dim', zeros)
    rows['layers/v_bias'] = row('layer kv_heads head_dim', zeros)
  if cfg.qk_norm:
    rows['layers/q_norm'] = row('layer head_dim', ones)
    rows['layers/k_norm'] = row('layer head_dim', ones)
  if not cfg.tied:
    rows['head'] = matrix('vocab embed', cfg.embed)
  return rows


def init_params(key: jax.Array, cfg: ModelConfig) -> dict:
  """Fresh parameters. A parameter's values depend on the key and its path.

  Jit it with `out_shardings=param_shardings(cfg, mesh)`, so that no device
  ever holds the whole.
  """

  def init(path, row):
    own = jax.random.fold_in(key, zlib.crc32(path.encode()))
    return row.initialiser(own, row.shape, jnp.dtype(cfg.param_dtype))

  return nested({path: init(path, row) for path, row in table(cfg).items()})


def param_shardings(cfg: ModelConfig, mesh: Mesh) -> dict:
  """The tree of NamedShardings.

  Raises:
    UserError: an axis of the mesh does not divide an axis of a parameter.
  """

  def sharding(path, row):
    partition = spec(*row.axes)
    for name, size, axis in zip(row.axes, row.shape, partition, strict=True):
      if axis and size % mesh.shape[axis]:
        raise UserError(
          f'config.mesh.{axis} = {mesh.shape[axis]} does not divide'
          f' {name} = {size} of parameter {path}'
        )
    return NamedSharding(mesh, partition)

  rows = table(cfg)
  return nested({path: sharding(path, row) for path, row in rows.items()})


def abstract_params(cfg: ModelConfig, mesh: Mesh) -> dict:
  """The tree of shapes, dtypes and shardings, with no memory behind it."""
  shapes = {
    path: jax.ShapeDtypeStruct(row.shape, jnp.dtype(cfg.param_dtype))
    for path, row in table(cfg).items()
  }
  return jax.tree.map(
    lambda shape, sharding: shape.update(sharding=sharding),
    nested(shapes),
    param_shardings(cfg, mesh),
  )


def count(cfg: ModelConfig) -> int:
  """Number of parameters."""
  return sum(math.prod(row.shape) for row in table(cfg).values())


def decay_mask(cfg: ModelConfig) -> dict:
  """The tree of booleans: whether weight decay applies."""
  return nested({path: row.decay for path, row in table(cfg).items()})


def nested(flat: dict[str, object]) -> dict:
  """The tree of values from values by path."""
  return traverse_util.unflatten_dict(flat, sep='/')
