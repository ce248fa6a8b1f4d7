"""Attention to what a row has read before, a block at a time, and to itself.

Letters: L layers, B batch, T query time, C keys of a block, S capacity, N query
heads, K key heads, G = N / K queries that share a key head, H head size.
"""

import jax
import jax.numpy as jnp

from early_experience.decoding.cache import Cache, slot
from early_experience.model.precision import wide
from early_experience.model.sharding import spec

_BLOCK = 256  # keys of the cache that are read at a time


def attend(
  q_BNTH: jax.Array,
  near: list[tuple[jax.Array, jax.Array, jax.Array]],
  cache: Cache,
  layer: jax.Array,
  depth_BT: jax.Array,
  reach: jax.Array | None,
  softcap: float,
) -> jax.Array:
  """Softmax attention, with scores and their sums in float32 or wider.

  Of the cache as many blocks are read as its longest row fills, and each only
  when it is needed: nothing has the size of the capacity.

  Args:
    q_BNTH: queries, scaled.
    near: what is not in the cache yet, in parts: keys and values [B, K, C, H],
      and which of them each query sees, bool [B, T, C] or alike. Of the first
      part every query must see something.
    cache: of which each query sees all that its row holds.
    layer: int32 [], whose part of the cache is read.
    depth_BT: positions of the queries.
    reach: tokens of its path that a query sees; None: all.
    softcap: bounds scores to cap * tanh(score / cap); 0 = none.

  Returns:
    [B, N, T, H] in the dtype of the values.
  """
  B, N, T, H = q_BNTH.shape
  L, _, K, S, _ = cache.k.shape
  C = min(_BLOCK, S)
  split = spec('batch', 'kv_heads', None, None, None)
  q_BKGTH = jax.lax.reshape(q_BNTH, (B, K, N // K, T, H), out_sharding=split)

  def scores(k_BKCH, seen_BTC):
    score_BKGTC = jnp.einsum(
      'bkgth,bkch->bkgtc',
      q_BKGTH,
      k_BKCH,
      preferred_element_type=wide(q_BNTH.dtype),
    )
    if softcap:
      score_BKGTC = softcap * jnp.tanh(score_BKGTC / softcap)
    return jnp.where(seen_BTC[:, None, None], score_BKGTC, -1e30)

  def weighed(share_BKGTC, v_BKCH):
    return jnp.einsum(
      'bkgtc,bkch->bkgth',
      share_BKGTC.astype(v_BKCH.dtype),
      v_BKCH,
      preferred_element_type=wide(v_BKCH.dtype),
    )

  def add(state, k_BKCH, v_BKCH, seen_BTC):
    """The online softmax (arXiv 2205.14135, algorithm 1)."""
    score_BKGTC = scores(k_BKCH, seen_BTC)
    top_BKGT1 = score_BKGTC.max(-1, keepdims=True)
    if state is None:
      shrink, total, out = 0, 0, 0
    else:
      old_top, total, out = state
      top_BKGT1 = jnp.maximum(top_BKGT1, old_top)
      shrink = jnp.exp(old_top - top_BKGT1)
    share_BKGTC = jnp.exp(score_BKGTC - top_BKGT1)
    total = total * shrink + share_BKGTC.sum(-1, keepdims=True)
    return top_BKGT1, total, out * shrink + weighed(share_BKGTC, v_BKCH)

  def add_block(block, state):
    start = jnp.minimum(block * C, S - C)
    corner = slot(layer, 0, start)
    k_BKCH, v_BKCH = (
      jax.lax.dynamic_slice(x, corner, (1, B, K, C, H))[0]
      for x in (cache.k, cache.v)
    )
    slot_11C = (start + jnp.arange(C))[None, None]
    # The last block of a capacity that is no multiple begins within another.
    seen_BTC = (slot_11C >= block * C) & (
      slot_11C < cache.length_B[:, None, None]
    )
    if reach is not None:
      seen_BTC &= depth_BT[..., None] - slot_11C < reach
    return add(state, k_BKCH, v_BKCH, seen_BTC)

  state = None
  for part in near:
    state = add(state, *part)
  held = jnp.minimum(cache.length_B.max(), S)
  _, total, out = jax.lax.fori_loop(0, -(-held // C), add_block, state)
  return jax.lax.reshape(
    (out / total).astype(cache.v.dtype),
    (B, N, T, H),
    out_sharding=spec('batch', 'heads', None, None),
  )
