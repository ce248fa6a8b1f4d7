"""What rows have been fed: keys and values of all layers, and their lengths.

Letters: L layers, B batch, T new tokens, S capacity, W slots of a slab, K key
heads, H head size.
"""

import jax
import jax.numpy as jnp
from flax import struct

from early_experience.model.config import ModelConfig
from early_experience.model.sharding import check_rows, spec

# Of keys and values in a cache, and of those of new tokens.
AXES = ('layer', 'batch', 'kv_heads', None, 'head_dim')


@struct.dataclass
class Cache:
  """Keys and values of what each row has been fed.

  `length_B` counts the tokens of a row and is the next one's position. Setting
  it back (`cache.replace(length_B=...)`) forgets what came after. A row that is
  fed beyond the capacity loses the rest, and its length tells: where
  `length_B > capacity`, what the row says from then on means nothing.
  """

  k: jax.Array  # [L, B, K, S, H]
  v: jax.Array
  length_B: jax.Array  # int32

  @property
  def capacity(self) -> int:
    """Tokens a row can hold."""
    return self.k.shape[3]


def init_cache(cfg: ModelConfig, batch: int, capacity: int) -> Cache:
  """An empty cache of `capacity` tokens a row, in `cfg.dtype`.

  Raises:
    UserError: the rows cannot be split evenly over the mesh.
  """
  check_rows(batch, jax.sharding.get_abstract_mesh())
  length_B = jnp.zeros(batch, jnp.int32, out_sharding=spec('batch'))
  return Cache(*init_keys(cfg, batch, capacity), length_B)


def init_keys(
  cfg: ModelConfig, batch: int, tokens: int
) -> tuple[jax.Array, jax.Array]:
  """Keys and values [L, B, K, tokens, H] of as many tokens, all 0."""
  shape = (cfg.layers, batch, cfg.kv_heads, tokens, cfg.head_dim)
  zeros = lambda: jnp.zeros(shape, cfg.dtype, out_sharding=spec(*AXES))
  return zeros(), zeros()


def append(
  cache: Cache, new: tuple[jax.Array, jax.Array], counts_B: jax.Array
) -> Cache:
  """The cache in which row b has the first `counts_B[b]` of its new tokens.

  Where the cache may be given up, it is written in place: a slab of every row.

  Args:
    cache: within jit.
    new: keys and values [L, B, K, T, H].
    counts_B: int32.
  """
  whole, rows = spec(*AXES), spec('batch')
  write = jax.shard_map(
    _write, in_specs=(whole, whole, rows, rows), out_specs=whole
  )
  k, v = (
    write(old, added, cache.length_B, counts_B)
    for old, added in zip((cache.k, cache.v), new, strict=True)
  )
  return Cache(k, v, cache.length_B + counts_B)


def slot(layer, row, place) -> tuple[jax.Array, ...]:
  """Where a slice of a cache begins, in one dtype, as jax wants it."""
  return tuple(map(jnp.int32, (layer, row, 0, place, 0)))


def _write(old_LBKSH, new_LBKTH, length_B, counts_B):
  L, B, K, S, H = old_LBKSH.shape
  T = new_LBKTH.shape[3]
  W = min(S, T)

  def write_row(row, kept_LBKSH):
    # What is beyond the capacity is dropped: the slab ends there, and its
    # first slots stay as they are.
    length = length_B[row]
    start = jnp.clip(length, 0, S - W)
    corner, shape = slot(0, row, start), (L, 1, K, W, H)
    source_W = jnp.arange(W, dtype=jnp.int32) + start - length
    is_new_W = (source_W >= 0) & (source_W < counts_B[row])
    row_LKTH = jax.lax.dynamic_index_in_dim(new_LBKTH, row, 1)
    slab = jnp.where(
      is_new_W[:, None],
      jnp.roll(row_LKTH, length - start, axis=3)[..., :W, :],
      jax.lax.dynamic_slice(kept_LBKSH, corner, shape),
    )
    return jax.lax.dynamic_update_slice(kept_LBKSH, slab, corner)

  return jax.lax.fori_loop(0, B, write_row, old_LBKSH)
