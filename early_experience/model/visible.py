"""What queries of a row see, and which of its blocks see something of others.

All of attention walks lists of pairs of blocks. They follow from one integer a
token, are made once for a batch, and serve all of its layers and heads.

Letters: B rows, T tokens, C tokens of a block, U = T / C blocks of a row.
"""

import jax
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class Seen:
  """What the queries of some rows see: query q, keys k with k <= q <= last[k].

  Attributes:
    last_BT: int32, place of the last token of each token's subtree.
    depth_BT: int32, each token's position on its path; None: no window.
    reach: int32 [], and depth[q] - depth[k] < reach; None: no window.
    lists: of pairs of blocks that see something of each other, as one way to
      compute attention made them.
  """

  last_BT: jax.Array
  depth_BT: jax.Array | None
  reach: jax.Array | None
  lists: object = None


def pairs(seen: Seen, block: int) -> jax.Array:
  """Pairs of blocks of which some query may see some key.

  Args:
    seen: of rows whose length is a multiple of `block`.
    block: tokens of a block.

  Returns:
    bool [B, U, U], by block of queries and block of keys. None is missing;
    behind a window there may be one that sees nothing.
  """
  query_U1, key_1U = _places(seen, block)
  last_BU = _parts(seen.last_BT, block).max(-1)
  found_BUU = (key_1U <= query_U1)[None] & (
    (query_U1 * block)[None] <= last_BU[:, None]
  )
  if seen.reach is None:
    return found_BUU
  depth_BUC = _parts(seen.depth_BT, block)
  above_BUU = depth_BUC.min(-1)[:, :, None] - depth_BUC.max(-1)[:, None]
  return found_BUU & (above_BUU < seen.reach)


def whole(seen: Seen, block: int) -> jax.Array:
  """Those of them of which every query sees every key; as `pairs`."""
  query_U1, key_1U = _places(seen, block)
  last_BU = _parts(seen.last_BT, block).min(-1)
  found_BUU = (key_1U < query_U1)[None] & (
    (query_U1 * block + block - 1)[None] <= last_BU[:, None]
  )
  if seen.reach is None:
    return found_BUU
  depth_BUC = _parts(seen.depth_BT, block)
  above_BUU = depth_BUC.max(-1)[:, :, None] - depth_BUC.min(-1)[:, None]
  return found_BUU & (above_BUU < seen.reach)


def first_of(found_BUU: jax.Array) -> tuple[jax.Array, jax.Array]:
  """For each row of a table, the places that are found, and how many.

  Args:
    found_BUU: bool.

  Returns:
    int32 [B, U, U], the places found before the others; and int32 [B, U].
  """
  order_BUU = jnp.argsort(~found_BUU, axis=-1, stable=True).astype(jnp.int32)
  return order_BUU, found_BUU.sum(-1, dtype=jnp.int32)


def _places(seen, block):
  place_U = jnp.arange(seen.last_BT.shape[1] // block)
  return place_U[:, None], place_U[None]


def _parts(x_BT, block):
  return x_BT.reshape(x_BT.shape[0], -1, block)
