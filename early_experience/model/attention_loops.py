"""Attention over trees, pair of blocks by pair: the reference, and for CPUs.

A row's mask is mostly empty: a token sees its path and nothing else, and the
layout keeps paths in few runs of tokens. So the pairs of a block of queries and
a block of keys are listed first, and the loops below visit those pairs alone.
Scores of one pair exist at a time, forward and backward.

Letters: B rows, T tokens, K key heads, G queries that share a key head, H head
size, P pairs of blocks, U blocks of a row, C tokens of a block.
"""

import functools

import jax
import jax.numpy as jnp

from early_experience.model.precision import wide
from early_experience.model.visible import Seen, first_of, pairs

HIDDEN = -1e30  # a score that weighs nothing, and whose differences are finite


def block_of(block: int) -> int:
  """Any will do."""
  return block


def lists(seen: Seen, block: int) -> tuple[jax.Array, jax.Array]:
  """Each row's pairs, int32 [B, U * U], as query block * U + key block: those
  that see something first, by query block; and how many these are, int32 [B].
  """
  found_BUU = pairs(seen, block)
  order, count = first_of(found_BUU.reshape(len(found_BUU), 1, -1))
  return order[:, 0], count[:, 0]


def forward(q_BKGTH, k_BKTH, v_BKTH, seen, block, softcap):
  """See `tree_attention.Way`.

  Row by row: all rows at once would visit as many pairs as the fullest has.
  """

  def row(arrays):
    q, k, v, *rest = arrays
    return _forward(q, k, v, _row(rest, seen.reach), block, softcap)

  return jax.lax.map(row, (q_BKGTH, k_BKTH, v_BKTH, *_rows(seen)))


def backward(
  q_BKGTH, k_BKTH, v_BKTH, seen, log_total, common, d_out, block, softcap
):
  """See `tree_attention.Way`."""

  def row(arrays):
    q, k, v, log_total, common, d_out, *rest = arrays
    given = (q, k, v, _row(rest, seen.reach), log_total, common, d_out)
    return _backward(*given, block, softcap)

  return jax.lax.map(
    row, (q_BKGTH, k_BKTH, v_BKTH, log_total, common, d_out, *_rows(seen))
  )


def _rows(seen):
  return seen.last_BT, seen.depth_BT, seen.lists


def _row(arrays, reach):
  last_T, depth_T, lists = arrays
  return Seen(last_T, depth_T, reach, lists)


def _scores(q_KGCH, k_KCH, seen, query, key, softcap):
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
  visible = (key_1S <= query_C1) & (query_C1 <= part(seen.last_BT, key)[None])
  if seen.reach is not None:
    depth_T = seen.depth_BT
    above = part(depth_T, query)[:, None] - part(depth_T, key)[None]
    visible &= above < seen.reach
  return jnp.where(visible[None, None], score, HIDDEN)


def _forward(q_KGTH, k_KTH, v_KTH, seen, block, softcap):
  order_P, count = seen.lists
  blocks, sums = q_KGTH.shape[2] // block, wide(v_KTH.dtype)
  take = functools.partial(
    jax.lax.dynamic_slice_in_dim, slice_size=block, axis=-2
  )

  def visit(p, carry):
    top_KGT1, total_KGT1, out_KGTH = carry
    query = order_P[p] // blocks * block
    key = order_P[p] % blocks * block
    q, k = take(q_KGTH, query), take(k_KTH, key)
    score = _scores(q, k, seen, query, key, softcap)
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
      jnp.full_like(column_KGT1, HIDDEN, sums),
      jnp.zeros_like(column_KGT1, sums),
      jnp.zeros_like(q_KGTH, sums),
    ),
  )
  log_total = top + jnp.log(total)
  return (out / total).astype(v_KTH.dtype), log_total[..., 0]


def _put(whole, part, start):
  return jax.lax.dynamic_update_slice_in_dim(whole, part, start, axis=-2)


def _backward(
  q_KGTH, k_KTH, v_KTH, seen, log_total_KGT, common_KGT, d_out_KGTH, block,
  softcap,
):  # fmt: skip
  order_P, count = seen.lists
  blocks, sums = q_KGTH.shape[2] // block, wide(v_KTH.dtype)
  log_total_KGT1, common_KGT1 = log_total_KGT[..., None], common_KGT[..., None]
  take = functools.partial(
    jax.lax.dynamic_slice_in_dim, slice_size=block, axis=-2
  )
  product = functools.partial(jnp.einsum, preferred_element_type=sums)

  def visit(p, carry):
    d_q, d_k, d_v = carry
    query = order_P[p] // blocks * block
    key = order_P[p] % blocks * block
    q, k, v = take(q_KGTH, query), take(k_KTH, key), take(v_KTH, key)
    score = _scores(q, k, seen, query, key, softcap)
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
  )
