"""Attention over trees: one integer a key, its span, is the whole mask.

Letters: B batch, T query time, S key time, N query heads, K key heads,
G = N / K queries that share a key head, H head size.
"""

import jax
import jax.numpy as jnp

from early_experience.model.precision import wide
from early_experience.model.sharding import spec

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
