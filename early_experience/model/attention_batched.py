"""Attention over trees in plain XLA, many pairs of blocks at a time: for GPUs.

A block of queries that stays at home meets the blocks of keys that it sees, one
after the other, and many homes do so at once, of all rows and heads. Homes are
sorted by how many they meet, and those of a group meet as many as its first
one, so that little is computed for nothing. No sum is added to from two sides:
each run gives the same bits.

Letters: B rows, T tokens, K key heads, G queries that share a key head, H head
size, U blocks of a row, C tokens of a block, W homes of a group, L = B * U
homes, rounded up to whole groups.
"""

import jax
import jax.numpy as jnp

from early_experience.model.attention_loops import HIDDEN
from early_experience.model.precision import wide
from early_experience.model.visible import Seen, first_of, pairs

_HOMES = 16  # of a group


def block_of(block: int) -> int:
  """Any will do."""
  return block


def lists(seen: Seen, block: int):
  """Homes by how many blocks they meet: of queries, and of keys.

  Returns:
    Twice (home, met, count): int32 [L], row * U + block of each home; int32
    [L, U], what it meets first; and int32 [L], how many these are.
  """
  found_BUU = pairs(seen, block)
  return _homes(found_BUU), _homes(found_BUU.swapaxes(1, 2))


def _homes(found_BUU):
  met, count = first_of(found_BUU)
  met, count = met.reshape(-1, met.shape[-1]), count.reshape(-1)
  home_L = jnp.argsort(-count, stable=True).astype(jnp.int32)
  # What fills the last group is the last home once more.
  home_L = jnp.pad(home_L, (0, -len(home_L) % _HOMES), mode='edge')
  return home_L, met[home_L], count[home_L]


def forward(q_BKGTH, k_BKTH, v_BKTH, seen, block, softcap):
  """See `tree_attention.Way`."""
  sums = wide(v_BKTH.dtype)
  q, k, v = (_blocks(x, block) for x in (q_BKGTH, k_BKTH, v_BKTH))

  def group(home_W, meet, count):
    q_W = q[home_W]

    def visit(step, carry):
      top, total, out = carry
      other_W = meet(step)
      score = _scores(q_W, k[other_W], softcap)
      score = _hidden(score, home_W, other_W, seen, block)
      new_top = jnp.maximum(top, score.max(-1, keepdims=True))
      share, shrink = jnp.exp(score - new_top), jnp.exp(top - new_top)
      total = total * shrink + share.sum(-1, keepdims=True)
      value = _product('wkgcs,wksh->wkgch', share.astype(v.dtype), v[other_W])
      return new_top, total, out * shrink + value

    column = jnp.zeros((*q_W.shape[:-1], 1), sums)
    start = column + HIDDEN, column, jnp.zeros(q_W.shape, sums)
    top, total, out = jax.lax.fori_loop(0, count, visit, start)
    return (out / total).astype(v.dtype), top + jnp.log(total)

  out, log_total = _at_home(group, seen.lists[0], seen.last_BT.shape, block)
  return _rows(out), _rows(log_total)[..., 0]


def backward(
  q_BKGTH, k_BKTH, v_BKTH, seen, log_total_BKGT, common_BKGT, d_out_BKGTH,
  block, softcap,
):  # fmt: skip
  """See `tree_attention.Way`."""
  sums = wide(v_BKTH.dtype)
  q, k, v, d_out = (
    _blocks(x, block) for x in (q_BKGTH, k_BKTH, v_BKTH, d_out_BKGTH)
  )
  columns = [
    _blocks(x[..., None], block) for x in (log_total_BKGT, common_BKGT)
  ]

  def gradients(query_W, key_W):
    """Of scores, and the shares that they have."""
    score = _scores(q[query_W], k[key_W], softcap)
    log_total, common = (x[query_W] for x in columns)
    hidden = _hidden(score, query_W, key_W, seen, block)
    share = jnp.exp(hidden - log_total)
    d_share = _product('wkgch,wksh->wkgcs', d_out[query_W], v[key_W])
    d_score = share * (d_share - common)
    if softcap:
      d_score *= 1 - jnp.square(score / softcap)
    return d_score.astype(k.dtype), share.astype(v.dtype)

  def of_queries(home_W, meet, count):
    def visit(step, d_q):
      other_W = meet(step)
      d_score, _ = gradients(home_W, other_W)
      return d_q + _product('wkgcs,wksh->wkgch', d_score, k[other_W])

    start = jnp.zeros(q[home_W].shape, sums)
    return jax.lax.fori_loop(0, count, visit, start).astype(q.dtype)

  def of_keys(home_W, meet, count):
    def visit(step, carry):
      d_k, d_v = carry
      other_W = meet(step)
      d_score, share = gradients(other_W, home_W)
      d_k += _product('wkgcs,wkgch->wksh', d_score, q[other_W])
      return d_k, d_v + _product('wkgcs,wkgch->wksh', share, d_out[other_W])

    start = jnp.zeros(k[home_W].shape, sums)
    found = jax.lax.fori_loop(0, count, visit, (start, start))
    return tuple(x.astype(k.dtype) for x in found)

  by_query, by_key = seen.lists
  d_q = _at_home(of_queries, by_query, seen.last_BT.shape, block)
  d_k, d_v = _at_home(of_keys, by_key, seen.last_BT.shape, block)
  return _rows(d_q), _rows(d_k), _rows(d_v)


def _at_home(group, listed, sizes, block):
  """What all homes get, [B, U, ...], group by group."""
  rows, tokens = sizes
  blocks = tokens // block

  def one(arrays):
    home_W, met_WU, count_W = arrays
    count = count_W[0]  # the most that a home of the group meets

    def meet(step):
      return home_W // blocks * blocks + met_WU[:, step]

    return group(home_W, meet, count)

  parts = jax.tree.map(lambda x: x.reshape(-1, _HOMES, *x.shape[1:]), listed)
  home_L = listed[0]
  found = jax.lax.map(one, parts)
  # Where each home is; what fills the last group is equal to its last one.
  place = (
    jnp.zeros(rows * blocks, jnp.int32)
    .at[home_L]
    .max(jnp.arange(len(home_L), dtype=jnp.int32))
  )
  return jax.tree.map(
    lambda x: x.reshape(-1, *x.shape[2:])[place].reshape(
      rows, blocks, *x.shape[2:]
    ),
    found,
  )


def _scores(q_W, k_W, softcap):
  score = _product('wkgch,wksh->wkgcs', q_W, k_W)
  return softcap * jnp.tanh(score / softcap) if softcap else score


def _hidden(score, query_W, key_W, seen, block):
  """Scores where they are seen; blocks met for nothing see nothing."""
  blocks = seen.last_BT.shape[1] // block
  part = lambda x_BT: x_BT.reshape(-1, block)
  place_C = jnp.arange(block)[None]
  at_WC = lambda home_W: (home_W % blocks * block)[:, None] + place_C
  query, key = at_WC(query_W)[:, :, None], at_WC(key_W)[:, None]
  last = part(seen.last_BT)[key_W][:, None]
  visible = (key <= query) & (query <= last)
  if seen.reach is not None:
    depth = part(seen.depth_BT)
    above = depth[query_W][:, :, None] - depth[key_W][:, None]
    visible &= above < seen.reach
  return jnp.where(visible[:, None, None], score, HIDDEN)


def _product(equation, x, y):
  return jnp.einsum(equation, x, y, preferred_element_type=wide(x.dtype))


def _blocks(x, block):
  """[B * U, K, ..., C, H] of [B, K, ..., T, H]: the blocks of all rows."""
  *heads, T, H = x.shape
  parts = jnp.moveaxis(x.reshape(*heads, T // block, block, H), -3, 1)
  return parts.reshape(-1, *parts.shape[2:])


def _rows(x):
  """[B, K, ..., T, H] of [B, U, K, ..., C, H]."""
  parts = jnp.moveaxis(x, 1, -3)
  return parts.reshape(*parts.shape[:-3], -1, parts.shape[-1])
