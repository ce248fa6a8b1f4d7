"""One table of all parameters, and everything that follows from it.

Parameters are a nested dict of arrays. A path such as `layers/q` names each;
arrays below `layers` hold all layers, stacked on a leading axis L.
"""

import dataclasses
import math
import zlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import traverse_util
from jax.nn.initializers import Initializer, normal, ones, zeros
from jax.sharding import Mesh, NamedSharding

from early_experience.model.config import ModelConfig
from early_experience.model.precision import wide
from early_experience.model.sharding import spec
from early_experience.runtime.errors import UserError


@dataclasses.dataclass(frozen=True)
class Row:
  """One parameter.

  Attributes:
    shape: of the array.
    axes: logical names of its axes.
    initialiser: of its first values.
    decay: whether AdamW decays it.
    dtype: of the array.
    trained: whether it has a gradient; False beside adapters.
  """

  shape: tuple[int, ...]
  axes: tuple[str, ...]
  initialiser: Initializer
  decay: bool
  dtype: str
  trained: bool


# Of each matrix of a layer: the axes it takes in, and those it gives out.
_AXES = {
  'q': ('embed', 'heads head_dim'),
  'k': ('embed', 'kv_heads head_dim'),
  'v': ('embed', 'kv_heads head_dim'),
  'o': ('heads head_dim', 'embed'),
  'gate': ('embed', 'mlp'),
  'up': ('embed', 'mlp'),
  'down': ('mlp', 'embed'),
}
_CLOSING = ('o', 'down')


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
    'rank': cfg.lora_rank,
  }
  trained = cfg.lora_rank == 0

  def row(axes, initialiser, decay=False):
    names = tuple(axes.split())
    shape = tuple(size[name] for name in names)
    return Row(shape, names, initialiser, decay, cfg.param_dtype, trained)

  def adapter(axes, initialiser):
    made = row(axes, initialiser, decay=True)
    return dataclasses.replace(
      made, dtype=wide(cfg.param_dtype).name, trained=True
    )

  def width(axes):
    return math.prod(size[name] for name in axes.split())

  embedding = row('vocab embed', normal(cfg.embed**-0.5), decay=True)
  unit = zeros if cfg.norm_offset else ones
  rows = {'embed': embedding, 'norm': row('embed', unit)}
  if not cfg.tied:
    rows['head'] = embedding
  for name in _norms(cfg):
    axis = 'head_dim' if name in ('q_norm', 'k_norm') else 'embed'
    rows[f'layers/{name}'] = row(f'layer {axis}', unit)
  biased = _biased(cfg)
  for name, (inner, outer) in _AXES.items():
    # What closes a residual branch starts smaller, so that the sum of all
    # branches has the size of one.
    share = (2 * cfg.layers) ** -0.5 if name in _CLOSING else 1.0
    scale = normal(share * width(inner) ** -0.5)
    rows[f'layers/{name}'] = row(f'layer {inner} {outer}', scale, decay=True)
    if name in biased:
      rows[f'layers/{name}_bias'] = row(f'layer {outer}', zeros)
    if cfg.lora_rank and name in cfg.lora_targets:
      # Adapters add nothing at first: one of the two factors is 0
      # (arXiv 2106.09685, section 4.1).
      a, b = normal(width(inner) ** -0.5), zeros
      rows[f'layers/{name}_lora_a'] = adapter(f'layer {inner} rank', a)
      rows[f'layers/{name}_lora_b'] = adapter(f'layer rank {outer}', b)
  return rows


def _norms(cfg):
  names = ['attention_norm', 'mlp_norm']
  if cfg.qk_norm:
    names += ['q_norm', 'k_norm']
  if cfg.post_norms:
    names += ['attention_post_norm', 'mlp_post_norm']
  return names


def _biased(cfg):
  """Names of the matrices that have a bias."""
  names = ['q', 'k', 'v'] if cfg.qkv_bias else []
  names += ['o'] if cfg.o_bias else []
  return names + (['gate', 'up', 'down'] if cfg.mlp_bias else [])


def init_params(key: jax.Array, cfg: ModelConfig) -> dict:
  """Fresh parameters. A parameter's values depend on the key and its path."""

  def init(path, row):
    own = jax.random.fold_in(key, zlib.crc32(path.encode()))
    return row.initialiser(own, row.shape, jnp.dtype(row.dtype))

  return nested({path: init(path, row) for path, row in table(cfg).items()})


def make_params(
  key: jax.Array,
  cfg: ModelConfig,
  mesh: Mesh,
  of: Callable[[str], bool] = lambda path: True,
) -> dict:
  """Fresh parameters over a mesh; no device ever holds the whole.

  Args:
    key: see `init_params`.
    cfg: of the model.
    mesh: to lay them out over.
    of: paths of those to make.
  """

  def some(tree):
    return nested({path: x for path, x in flat(tree).items() if of(path)})

  init = jax.jit(
    lambda key: some(init_params(key, cfg)),
    out_shardings=some(param_shardings(cfg, mesh)),
  )
  return init(key)


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
    path: jax.ShapeDtypeStruct(row.shape, jnp.dtype(row.dtype))
    for path, row in table(cfg).items()
  }
  return jax.tree.map(
    lambda shape, sharding: shape.update(sharding=sharding),
    nested(shapes),
    param_shardings(cfg, mesh),
  )


def count(cfg: ModelConfig, trained: bool = False) -> int:
  """Number of parameters, adapters included; or of the trained ones."""
  rows = table(cfg).values()
  return sum(math.prod(r.shape) for r in rows if r.trained or not trained)


def decay_mask(cfg: ModelConfig) -> dict:
  """The tree of booleans for what is trained: whether weight decay applies."""
  rows = table(cfg)
  return nested({path: row.decay for path, row in rows.items() if row.trained})


def split(tree: dict, cfg: ModelConfig) -> tuple[dict, dict]:
  """A tree of the table's structure as (what is trained, what is frozen)."""
  rows, parts = table(cfg), ({}, {})
  for path, value in flat(tree).items():
    parts[not rows[path].trained][path] = value
  return nested(parts[0]), nested(parts[1])


def merge(trained: dict, frozen: dict) -> dict:
  """The inverse of `split`."""
  return nested(flat(trained) | flat(frozen))


def flat(tree: dict) -> dict[str, object]:
  """Values by path."""
  return traverse_util.flatten_dict(tree, sep='/')


def nested(values: dict[str, object]) -> dict:
  """The tree of values from values by path."""
  return traverse_util.unflatten_dict(values, sep='/')
