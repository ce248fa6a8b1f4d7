"""Attention over trees: one integer a key, its span, is the whole mask.

Letters: B batch, T query time, S key time, N query heads, K key heads,
G = N / K queries that share a key head, H head size.
"""

import jax
import jax.numpy as jnp

from early_experience.model.sharding import spec


def sees(span_BS: jax.Array, start: int, size: int) -> jax.Array:
  """Which keys the queries `start .. start + size - 1` see: bool [B, T, S].

  Query q sees key k exactly when k <= q < k + span[k]: k is an ancestor of q in
  its tree, or q itself. Other trees of the row are never seen.
  """
  query_T1 = start + jnp.arange(size)[:, None]
  key_1S = jnp.arange(span_BS.shape[1])[None, :]
  end_B1S = (key_1S + span_BS)[:, None]
  return (key_1S <= query_T1)[None] & (query_T1[None] < end_B1S)


def attend(
  q_BTNH: jax.Array,
  k_BSKH: jax.Array,
  v_BSKH: jax.Array,
  visible_BTS: jax.Array,
) -> jax.Array:
  """Softmax attention, with scores and their sums in float32.

  Args:
    q_BTNH: queries; N is a multiple of K, and q head n reads key head n // G.
    k_BSKH: keys.
    v_BSKH: values.
    visible_BTS: bool; every query must see at least one key.

  Returns:
    [B, T, N, H] in the dtype of the values.
  """
  B, T, N, H = q_BTNH.shape
  K = k_BSKH.shape[2]
  heads = spec('batch', None, 'kv_heads', None, None)
  q_BTKGH = jax.lax.reshape(q_BTNH, (B, T, K, N // K, H), out_sharding=heads)
  score_BKGTS = jnp.einsum(
    'btkgh,bskh->bkgts',
    q_BTKGH * H**-0.5,
    k_BSKH,
    preferred_element_type=jnp.float32,
  )
  score_BKGTS = jnp.where(visible_BTS[:, None, None], score_BKGTS, -1e30)
  top_BKGT1 = jax.lax.stop_gradient(score_BKGTS.max(-1, keepdims=True))
  # Dividing after the product with the values spares a pass over the scores.
  share_BKGTS = jnp.exp(score_BKGTS - top_BKGT1)
  total_BKGT = share_BKGTS.sum(-1)
  out_BTKGH = jnp.einsum(
    'bkgts,bskh->btkgh', share_BKGTS.astype(v_BSKH.dtype), v_BSKH
  )
  out_BTKGH /= jnp.moveaxis(total_BKGT, 3, 1)[..., None].astype(v_BSKH.dtype)
  return jax.lax.reshape(
    out_BTKGH, (B, T, N, H), out_sharding=spec('batch', None, 'heads', None)
  )


def attend_rows(
  q_BTNH: jax.Array,
  k_BTKH: jax.Array,
  v_BTKH: jax.Array,
  span_BT: jax.Array,
  block: int,
) -> jax.Array:
  """Attention within rows of trees; the same result for every `block`.

  Args:
    q_BTNH: queries.
    k_BTKH: keys.
    v_BTKH: values.
    span_BT: int32, size of each token's subtree.
    block: queries at a time, 0 = all. Each block reads only the keys up to its
      end, and its scores are computed again for the gradient: memory is
      B * N * block * T floats and not B * N * T * T.
  """
  T = q_BTNH.shape[1]
  if not block or block >= T:
    return attend(q_BTNH, k_BTKH, v_BTKH, sees(span_BT, 0, T))

  @jax.checkpoint
  def part(q_BtNH, k_BSKH, v_BSKH, span_BS):
    end, size = k_BSKH.shape[1], q_BtNH.shape[1]
    return attend(q_BtNH, k_BSKH, v_BSKH, sees(span_BS, end - size, size))

  parts = []
  for start in range(0, T, block):
    end = min(start + block, T)
    keys = (x[:, :end] for x in (k_BTKH, v_BTKH, span_BT))
    parts.append(part(q_BTNH[:, start:end], *keys))
  return jnp.concatenate(parts, axis=1)
