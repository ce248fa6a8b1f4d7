"""Attention within a row of trees, block by block, visiting only what is seen.

A row's mask is mostly empty: a token sees its path and nothing else, and the
layout keeps paths in few runs of tokens. So the pairs of a block of queries and
a block of keys are listed first, and the loops below visit those pairs alone.
Scores of one pair exist at a time, forward and backward, with the online
softmax of FlashAttention (arXiv 2205.14135, algorithm 1).

Letters: T tokens, K key heads, G queries that share a key head, H head size,
P pairs of blocks, U blocks of a row, C tokens of a block.
"""

import functools

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from early_experience.model.precision import wide

_HIDDEN = -1e30  # a score that weighs nothing, and whose differences are finite


# int32 depth [T], and the int32 number of tokens of its path that a query sees.
Window = tuple[jax.Array, jax.Array]


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def attend_row(
  q_KGTH: jax.Array,
  k_KTH: jax.Array,
  v_KTH: jax.Array,
  span_T: jax.Array,
  window: Window | None,
  block: int,
  softcap: float,
) -> jax.Array:
  """Softmax attention in one row; scores and their sums in float32 or wider.

  Args:
    q_KGTH: queries, scaled, by the key head that they read.
    k_KTH: keys.
    v_KTH: values.
    span_T: int32 size of each token's subtree; query q sees key k exactly when
      k <= q < k + span[k].
    window: and depth[q] - depth[k] < reach, unless it is None.
    block: tokens of a block; T is a multiple of it.
    softcap: bounds scores to cap * tanh(score / cap); 0 = none.

  Returns:
    [K, G, T, H] in the dtype of the values.
  """
  return _forward(q_KGTH, k_KTH, v_KTH, span_T, window, block, softcap)[0]


def visible_pairs(
  span_T: jax.Array, window: Window | None, block: int
) -> tuple[jax.Array, jax.Array]:
  """Which blocks of keys each block of queries sees something of.

  Returns:
    int32 [U * U], query block * U + key block: the visible pairs first, by
    query block; and their number, int32 [].
  """
  blocks = len(span_T) // block
  end_U = (jnp.arange(len(span_T)) + span_T).reshape(blocks, block).max(-1)
  query_U1, key_1U = jnp.arange(blocks)[:, None], jnp.arange(blocks)[None]
  seen = (key_1U <= query_U1) & (query_U1 * block < end_U[None])
  if window is not None:
    depth_UC, reach = window[0].reshape(blocks, block), window[1]
    seen &= depth_UC.min(-1)[:, None] - depth_UC.max(-1)[None] < reach
  order_P = jnp.argsort(~seen.reshape(-1), stable=True).astype(jnp.int32)
  return order_P, seen.sum(dtype=jnp.int32)


def _scores(q_KGCH, k_KCH, span_T, window, query, key, softcap):
  """Scores of a pair of blocks that begin there, [K, G, C, C]."""
  score = jnp.einsum(
    'kgch,ksh->kgcs',
    q_KGCH,
    k_KCH,
    preferred_element_type=wide(q_KGCH.dtype),
  )
  if softcap:
    score = softcap * jnp.tanh(score / softcap)
  size = k_KCH.shape[-2]
  part = functools.partial(jax.lax.dynamic_slice_in_dim, slice_size=size)
  query_C1 = (query + jnp.arange(size))[:, None]
  key_1S = (key + jnp.arange(size))[None]
  seen = (key_1S <= query_C1) & (query_C1 < key_1S + part(span_T, key)[None])
  if window is not None:
    depth_T, reach = window
    above = part(depth_T, query)[:, None] - part(depth_T, key)[None]
    seen &= above < reach
  return jnp.where(seen[None, None], score, _HIDDEN)


def _forward(q_KGTH, k_KTH, v_KTH, span_T, window, block, softcap):
  """The output, and the log of each query's summed exponentials."""
  order_P, count = visible_pairs(span_T, window, block)
  blocks, sums = len(span_T) // block, wide(v_KTH.dtype)
  take = functools.partial(
    jax.lax.dynamic_slice_in_dim, slice_size=block, axis=-2
  )

  def visit(p, carry):
    top_KGT1, total_KGT1, out_KGTH = carry
    query = order_P[p] // blocks * block
    key = order_P[p] % blocks * block
    q, k = take(q_KGTH, query), take(k_KTH, key)
    score = _scores(q, k, span_T, window, query, key, softcap)
    top = take(top_KGT1, query)
    new_top = jnp.maximum(top, score.max(-1, keepdims=True))
    share = jnp.exp(score - new_top)
    shrink = jnp.exp(top - new_top)
    total = take(total_KGT1, query) * shrink + share.sum(-1, keepdims=True)
    value = jnp.einsum(
      'kgcs,ksh->kgch',
      share.astype(v_KTH.dtype),
      take(v_KTH, key),
      preferred_element_type=sums,
    )
    out = take(out_KGTH, query) * shrink + value
    return (
      _put(top_KGT1, new_top, query),
      _put(total_KGT1, total, query),
      _put(out_KGTH, out, query),
    )

  column_KGT1 = q_KGTH[..., :1]
  top, total, out = jax.lax.fori_loop(
    0,
    count,
    visit,
    (
      jnp.full_like(column_KGT1, _HIDDEN, sums),
      jnp.zeros_like(column_KGT1, sums),
      jnp.zeros_like(q_KGTH, sums),
    ),
  )
  return (out / total).astype(v_KTH.dtype), top + jnp.log(total)


def _put(whole, part, start):
  return jax.lax.dynamic_update_slice_in_dim(whole, part, start, axis=-2)


def _save(q_KGTH, k_KTH, v_KTH, span_T, window, block, softcap):
  inputs = q_KGTH, k_KTH, v_KTH, span_T, window
  # By this name a layer that is computed again may keep what the loops gave.
  out_KGTH, log_total_KGT1 = checkpoint_name(
    _forward(*inputs, block, softcap), 'attention'
  )
  return out_KGTH, (*inputs, out_KGTH, log_total_KGT1)


def _backward(block, softcap, saved, d_out_KGTH):
  q_KGTH, k_KTH, v_KTH, span_T, window, out_KGTH, log_total_KGT1 = saved
  order_P, count = visible_pairs(span_T, window, block)
  blocks, sums = len(span_T) // block, wide(v_KTH.dtype)
  # What the softmax takes from each score's gradient, the same for all keys.
  common_KGT1 = jnp.sum(
    d_out_KGTH.astype(sums) * out_KGTH.astype(sums),
    axis=-1,
    keepdims=True,
  )
  take = functools.partial(
    jax.lax.dynamic_slice_in_dim, slice_size=block, axis=-2
  )
  product = functools.partial(jnp.einsum, preferred_element_type=sums)

  def visit(p, carry):
    d_q, d_k, d_v = carry
    query = order_P[p] // blocks * block
    key = order_P[p] % blocks * block
    q, k, v = take(q_KGTH, query), take(k_KTH, key), take(v_KTH, key)
    score = _scores(q, k, span_T, window, query, key, softcap)
    share = jnp.exp(score - take(log_total_KGT1, query))
    d_out = take(d_out_KGTH, query)
    d_share = product('kgch,ksh->kgcs', d_out, v)
    d_score = share * (d_share - take(common_KGT1, query))
    if softcap:  # a hidden score weighs nothing, but must stay finite
      d_score *= 1 - jnp.square(jnp.maximum(score, -softcap) / softcap)
    # Else XLA for CPUs computes it anew, turned round, for the keys' product.
    d_score = jax.lax.optimization_barrier(d_score.astype(k.dtype))
    d_q_part = product('kgcs,ksh->kgch', d_score, k)
    d_k_part = product('kgcs,kgch->ksh', d_score, q)
    d_v_part = product('kgcs,kgch->ksh', share.astype(v.dtype), d_out)
    return (
      _put(d_q, take(d_q, query) + d_q_part, query),
      _put(d_k, take(d_k, key) + d_k_part, key),
      _put(d_v, take(d_v, key) + d_v_part, key),
    )

  zeros = lambda x: jnp.zeros_like(x, sums)
  d_q, d_k, d_v = jax.lax.fori_loop(
    0, count, visit, (zeros(q_KGTH), zeros(k_KTH), zeros(v_KTH))
  )
  return (
    d_q.astype(q_KGTH.dtype),
    d_k.astype(k_KTH.dtype),
    d_v.astype(v_KTH.dtype),
    None,
    None,
  )


attend_row.defvjp(_save, _backward)
