"""Attention over trees: one integer a key, its span, is the whole mask.

Letters: B batch, T query time, S key time, N query heads, K key heads,
G = N / K queries that share a key head, H head size.
"""

import functools

import jax
import jax.numpy as jnp

from early_experience.model.precision import wide
from early_experience.model.sharding import spec
from early_experience.model.tree_attention import attend_row

Window = tuple[jax.Array, jax.Array]  # int32 depth [B, T], int32 reach []


def sees(span_BT: jax.Array, window: Window | None = None) -> jax.Array:
  """Which keys each query of a row sees: bool [B, T, T].

  Query q sees key k exactly when k <= q < k + span[k]: k is an ancestor of q in
  its tree, or q itself. Other trees of the row are never seen. A window leaves
  those keys whose depth is less than `reach` above the query's.
  """
  place_T = jnp.arange(span_BT.shape[1])
  query_T1, key_1S = place_T[:, None], place_T[None]
  end_B1S = (place_T[None] + span_BT)[:, None]
  visible_BTS = (key_1S <= query_T1)[None] & (query_T1[None] < end_B1S)
  if window is None:
    return visible_BTS
  depth_BT, reach = window
  return visible_BTS & (depth_BT[:, :, None] - depth_BT[:, None] < reach)


def attend(
  q_BNTH: jax.Array,
  k_BKSH: jax.Array,
  v_BKSH: jax.Array,
  visible_BTS: jax.Array,
  softcap: float = 0.0,
) -> jax.Array:
  """Softmax attention, with scores and their sums in float32 or wider.

  Heads come before time in all arrays, so that no product needs a transpose.

  Args:
    q_BNTH: queries, scaled; N is a multiple of K, and q head n reads key head
      n // G.
    k_BKSH: keys.
    v_BKSH: values.
    visible_BTS: bool; every query must see at least one key.
    softcap: bounds scores to cap * tanh(score / cap); 0 = none.

  Returns:
    [B, N, T, H] in the dtype of the values.
  """
  B, N, T, H = q_BNTH.shape
  K = k_BKSH.shape[1]
  q_BKGTH = jax.lax.reshape(
    q_BNTH,
    (B, K, N // K, T, H),
    out_sharding=spec('batch', 'kv_heads', None, None, None),
  )
  score_BKGTS = jnp.einsum(
    'bkgth,bksh->bkgts',
    q_BKGTH,
    k_BKSH,
    preferred_element_type=wide(q_BNTH.dtype),
  )
  if softcap:
    score_BKGTS = softcap * jnp.tanh(score_BKGTS / softcap)
  score_BKGTS = jnp.where(visible_BTS[:, None, None], score_BKGTS, -1e30)
  top_BKGT1 = jax.lax.stop_gradient(score_BKGTS.max(-1, keepdims=True))
  share_BKGTS = jnp.exp(score_BKGTS - top_BKGT1)
  total_BKGT1 = share_BKGTS.sum(-1, keepdims=True)
  # Dividing after the product with the values spares a pass over the scores.
  out_BKGTH = jnp.einsum(
    'bkgts,bksh->bkgth',
    share_BKGTS.astype(v_BKSH.dtype),
    v_BKSH,
    preferred_element_type=wide(v_BKSH.dtype),
  )
  return jax.lax.reshape(
    (out_BKGTH / total_BKGT1).astype(v_BKSH.dtype),
    (B, N, T, H),
    out_sharding=spec('batch', 'heads', None, None),
  )


def attend_rows(
  q_BNTH: jax.Array,
  k_BKTH: jax.Array,
  v_BKTH: jax.Array,
  span_BT: jax.Array,
  block: int,
  *,
  window: Window | None = None,
  softcap: float = 0.0,
) -> jax.Array:
  """Attention within rows of trees; the same result for every `block`.

  Args:
    q_BNTH: queries, scaled.
    k_BKTH: keys.
    v_BKTH: values.
    span_BT: int32, size of each token's subtree.
    block: tokens of a block, of which only pairs that see something of each
      other are visited and never more than a pair's scores exist; 0 = dense:
      all scores at once, B * N * T * T floats.
    window: each token's depth, and how many tokens of its path a query sees;
      None: all of them.
    softcap: see `attend`.
  """
  B, N, T, H = q_BNTH.shape
  if not block or block >= T:
    visible_BTS = sees(span_BT, window)
    return attend(q_BNTH, k_BKTH, v_BKTH, visible_BTS, softcap)
  K = k_BKTH.shape[1]
  q_BKGTH = jax.lax.reshape(
    q_BNTH,
    (B, K, N // K, T, H),
    out_sharding=spec('batch', 'kv_heads', None, None, None),
  )
  heads, rows = spec('batch', 'kv_heads'), spec('batch')
  out_BKGTH = jax.shard_map(
    lambda *arrays: _blocked(*arrays, block, softcap),
    in_specs=(heads, heads, heads, rows, window and (rows, spec())),
    out_specs=heads,
  )(q_BKGTH, k_BKTH, v_BKTH, span_BT, window)
  return jax.lax.reshape(
    out_BKGTH, (B, N, T, H), out_sharding=spec('batch', 'heads', None, None)
  )


def _blocked(q_BKGTH, k_BKTH, v_BKTH, span_BT, window, block, softcap):
  """The rows of one device, padded to whole blocks."""
  T = span_BT.shape[1]

  def padded(x, axis, value=0):
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, -T % block)
    return jnp.pad(x, widths, constant_values=value)

  depth_BT, reach = window or (None, None)
  arrays = (
    padded(q_BKGTH, 3),
    padded(k_BKTH, 2),
    padded(v_BKTH, 2),
    padded(span_BT, 1, 1),  # padding sees itself
    None if window is None else padded(depth_BT, 1),
  )

  def row(reach, arrays):
    *qkv_span, depth_T = arrays
    within = None if reach is None else (depth_T, reach)
    return attend_row(*qkv_span, within, block, softcap)

  # Row by row: all rows at once would visit as many pairs as the fullest row
  # has.
  out_BKGTH = jax.lax.map(functools.partial(row, reach), arrays)
  return out_BKGTH[:, :, :, :T]
