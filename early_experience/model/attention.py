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
  q_BNTH: jax.Array,
  k_BKSH: jax.Array,
  v_BKSH: jax.Array,
  visible_BTS: jax.Array,
) -> jax.Array:
  """Softmax attention, with scores and their sums in float32.

  Heads come before time in all arrays, so that no product needs a transpose.

  Args:
    q_BNTH: queries; N is a multiple of K, and q head n reads key head n // G.
    k_BKSH: keys.
    v_BKSH: values.
    visible_BTS: bool; every query must see at least one key.

  Returns:
    [B, N, T, H] in the dtype of the values.
  """
  B, N, T, H = q_BNTH.shape
  K = k_BKSH.shape[1]
  q_BKGTH = jax.lax.reshape(
    q_BNTH * H**-0.5,
    (B, K, N // K, T, H),
    out_sharding=spec('batch', 'kv_heads', None, None, None),
  )
  score_BKGTS = jnp.einsum(
    'bkgth,bksh->bkgts', q_BKGTH, k_BKSH, preferred_element_type=jnp.float32
  )
  score_BKGTS = jnp.where(visible_BTS[:, None, None], score_BKGTS, -1e30)
  top_BKGT1 = jax.lax.stop_gradient(score_BKGTS.max(-1, keepdims=True))
  share_BKGTS = jnp.exp(score_BKGTS - top_BKGT1)
  total_BKGT1 = share_BKGTS.sum(-1, keepdims=True)
  # Dividing after the product with the values spares a pass over the scores.
  out_BKGTH = jnp.einsum(
    'bkgts,bksh->bkgth',
    share_BKGTS.astype(v_BKSH.dtype),
    v_BKSH,
    preferred_element_type=jnp.float32,
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
) -> jax.Array:
  """Attention within rows of trees; the same result for every `block`.

  Args:
    q_BNTH: queries.
    k_BKTH: keys.
    v_BKTH: values.
    span_BT: int32, size of each token's subtree.
    block: queries at a time, 0 = all. Each block reads only the keys up to its
      end, and its scores are computed again for the gradient: memory is
      B * N * block * T floats and not B * N * T * T.
  """
  T = q_BNTH.shape[2]
  if not block or block >= T:
    return attend(q_BNTH, k_BKTH, v_BKTH, sees(span_BT, 0, T))

  @jax.checkpoint
  def part(q_BNtH, k_BKSH, v_BKSH, span_BS):
    end, size = k_BKSH.shape[2], q_BNtH.shape[2]
    return attend(q_BNtH, k_BKSH, v_BKSH, sees(span_BS, end - size, size))

  parts = []
  for start in range(0, T, block):
    end = min(start + block, T)
    k, v, span = k_BKTH[:, :, :end], v_BKTH[:, :, :end], span_BT[:, :end]
    parts.append(part(q_BNTH[:, :, start:end], k, v, span))
  return jnp.concatenate(parts, axis=2)
