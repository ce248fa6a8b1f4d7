"""Attention over trees as Pallas kernels for TPUs.

One list of pairs of blocks is what a kernel's grid walks, for all rows of a
device and for each of its key heads; nothing is started for a pair that sees
nothing. A pair's mask follows in registers from one integer a key, and a pair
that sees all of itself has none. The queries that share a key head are rows of
one product. Splash attention of jax would hold each pair's mask in memory, four
bytes a score, as pairs of trees are hardly ever whole: docs/PERFORMANCE.md.

Letters: B rows, T tokens, K key heads, G queries that share a key head, H head
size, U blocks of a row, C tokens of a block, P pairs of blocks, R = G * C.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from early_experience.model.attention_loops import HIDDEN
from early_experience.model.precision import wide
from early_experience.model.visible import Seen, pairs, whole
from early_experience.runtime.errors import UserError

_LANES = 128
# A pair is one word: 16 bits of the block that stays while others pass, 13 of
# the one that passes, and whether it is the first or the last to pass, and sees
# all of the other.
_FIRST, _LAST, _WHOLE = 1, 2, 4
_STAYS, _PASSES = 16, 3
_MOST = 250_000  # words that fit into a TPU's memory of scalars, 1 MiB
_MEMORY = 48 * 2**20  # of vectors, for a pair's scores; XLA's own limit is 16

_NT = (((1,), (1,)), ((), ()))  # x @ y.T
_NN = (((1,), (0,)), ((), ()))


def block_of(block: int) -> int:
  """Keys of a block lie in the 128 lanes of a register."""
  return -(-block // _LANES) * _LANES


def lists(seen: Seen, block: int):
  """The pairs of all rows: by block of queries, and by block of keys.

  Returns:
    Twice the words of the pairs, int32 [P], and how many there are, int32 [1];
    P is what there could be.

  Raises:
    UserError: these are too many.
  """
  found, all_seen = pairs(seen, block), whole(seen, block)
  turn = lambda x_BUU: x_BUU.swapaxes(1, 2)
  return _list(found, all_seen), _list(turn(found), turn(all_seen))


def _list(found_BUU, whole_BUU):
  B, U, _ = found_BUU.shape
  size = B * U * (U + 1) // 2
  if size > _MOST:
    raise UserError(
      f'{B} rows of {U} blocks have up to {size:,} pairs of blocks, and a TPU'
      f' holds {_MOST:,}: raise config.model.attention_block or'
      ' config.train.microbatches'
    )
  row, stays, passes = jnp.nonzero(found_BUU, size=size, fill_value=0)
  count = found_BUU.sum(dtype=jnp.int32)
  home_P = row * U + stays
  new_P, edge = home_P[1:] != home_P[:-1], jnp.ones(1, bool)
  first_P = jnp.concatenate([edge, new_P])
  last_P = jnp.concatenate([new_P, edge]) | (jnp.arange(size) == count - 1)
  flags_P = (
    first_P * _FIRST + last_P * _LAST + whole_BUU[row, stays, passes] * _WHOLE
  )
  word_P = (home_P << _STAYS) + (passes << _PASSES) + flags_P
  return word_P.astype(jnp.int32), count[None]


def _blocks(word, blocks):
  """Of a pair: its row, the block that stays, and the one that passes."""
  home = jax.lax.shift_right_logical(word, jnp.int32(_STAYS))
  return home // blocks, home % blocks, (word & (1 << _STAYS) - 1) >> _PASSES


def forward(q_BKGTH, k_BKTH, v_BKTH, seen, block, softcap):
  """See `tree_attention.Way`."""
  sizes = B, K, G, T, H = q_BKGTH.shape
  R, sums = G * block, wide(v_BKTH.dtype)
  calls = _Calls(sizes, block, seen, seen.lists[0], home_is_query=True)
  out_BKGTH, log_total = calls(
    functools.partial(_forward, softcap=softcap),
    [(q_BKGTH, calls.queries), (k_BKTH, calls.keys), (v_BKTH, calls.keys)],
    out_shape=[
      jax.ShapeDtypeStruct(q_BKGTH.shape, v_BKTH.dtype),
      jax.ShapeDtypeStruct((B, K, T // block, 1, R), sums),
    ],
    out_specs=[calls.queries, calls.columns],
    scratch=[(R, _LANES), (R, _LANES), (R, H)],
    sums=sums,
  )
  return out_BKGTH, _by_head(log_total, G)


def backward(
  q_BKGTH, k_BKTH, v_BKTH, seen, log_total_BKGT, common_BKGT, d_out_BKGTH,
  block, softcap,
):  # fmt: skip
  """See `tree_attention.Way`."""
  sizes = _, _, G, _, H = q_BKGTH.shape
  R, sums = G * block, wide(v_BKTH.dtype)
  log_total = _by_block(log_total_BKGT, block)
  common = _by_block(common_BKGT, block)

  def run(kernel, home_is_query, like, scratch):
    """With the blocks of queries, or those of keys, at home."""
    listed = seen.lists[0 if home_is_query else 1]
    calls = _Calls(sizes, block, seen, listed, home_is_query)
    spec = calls.queries if home_is_query else calls.keys
    return calls(
      functools.partial(kernel, softcap=softcap),
      [
        (q_BKGTH, calls.queries),
        (k_BKTH, calls.keys),
        (v_BKTH, calls.keys),
        (d_out_BKGTH, calls.queries),
        (log_total, calls.columns),
        (common, calls.columns),
      ],
      out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in like],
      out_specs=[spec] * len(like),
      scratch=scratch,
      sums=sums,
    )

  (d_q,) = run(_d_queries, True, [q_BKGTH], [(R, H)])
  d_k, d_v = run(_d_keys, False, [k_BKTH, v_BKTH], [(block, H)] * 2)
  return d_q, d_k, d_v


class _Calls:
  """A kernel's grid and the blocks of its arrays, along a list of pairs."""

  def __init__(self, sizes, block, seen, listed, home_is_query):
    B, K, G, T, H = sizes
    U = T // block
    self._seen, self._listed, self._heads = seen, listed, K

    def spec(shape, index, query):
      def index_map(k, p, word_P, reach):
        row, stays, passes = _blocks(word_P[p], U)
        return index(k, row, stays if query == home_is_query else passes)

      return pl.BlockSpec(shape, index_map)

    self.queries = spec(
      (None, None, G, block, H), lambda k, row, at: (row, k, 0, at, 0), True
    )
    self.keys = spec(
      (None, None, block, H), lambda k, row, at: (row, k, at, 0), False
    )
    self.columns = spec(
      (None, None, None, 1, G * block),
      lambda k, row, at: (row, k, at, 0, 0),
      True,
    )
    of_row = lambda k, row, at: (row, 0, at)
    self._of_keys = spec((None, 1, block), of_row, False)
    self._of_queries = spec((None, 1, block), of_row, True)
    self._static = {
      'blocks': U,
      'block': block,
      'group': G,
      'home_is_query': home_is_query,
      'windowed': seen.reach is not None,
    }

  def __call__(self, kernel, inputs, out_shape, out_specs, scratch, sums):
    seen, (word_P, count) = self._seen, self._listed
    inputs = [*inputs, (seen.last_BT[:, None], self._of_keys)]
    reach = jnp.zeros(1, jnp.int32)
    if seen.reach is not None:
      depth_B1T = seen.depth_BT[:, None]
      inputs += [(depth_B1T, self._of_queries), (depth_B1T, self._of_keys)]
      reach = jnp.asarray(seen.reach, jnp.int32)[None]
    arrays, in_specs = zip(*inputs, strict=True)
    return pl.pallas_call(
      functools.partial(kernel, **self._static),
      grid_spec=pltpu.PrefetchScalarGridSpec(
        num_scalar_prefetch=2,
        grid=(self._heads, count[0]),
        in_specs=in_specs,
        out_specs=out_specs,
        scratch_shapes=[pltpu.VMEM(shape, sums) for shape in scratch],
      ),
      out_shape=out_shape,
      compiler_params=pltpu.CompilerParams(
        dimension_semantics=('parallel', 'arbitrary'),
        vmem_limit_bytes=_MEMORY,
      ),
      interpret=_interpreted(),
      name=kernel.func.__name__.strip('_'),
    )(word_P, reach, *arrays)


def _interpreted():
  """Elsewhere than on TPUs kernels are interpreted, slowly: for proofs."""
  device = jax.sharding.get_abstract_mesh().abstract_device
  return device is None or device.platform != 'tpu'


def _forward(word_P, reach, q, k, v, *refs, softcap, group, **static):
  *of_pair, out, log_total, top, total, acc = refs
  H = q.shape[-1]
  word = word_P[pl.program_id(1)]

  @pl.when(word & _FIRST != 0)
  def _():
    top[...] = jnp.full_like(top, HIDDEN)
    total[...] = jnp.zeros_like(total)
    acc[...] = jnp.zeros_like(acc)

  def visit(hide):
    score = _product(q[...].reshape(-1, H), k[...], _NT)
    score = hide(_capped(score, softcap))
    new_top = jnp.maximum(top[...], score.max(-1, keepdims=True))
    share = jnp.exp(score - _wide_as(new_top, score.shape[1]))
    shrink = jnp.exp(top[...] - new_top)
    top[...] = new_top
    total[...] = total[...] * shrink + share.sum(-1, keepdims=True)
    value = _product(share.astype(v.dtype), v[...], _NN)
    acc[...] = acc[...] * _wide_as(shrink, H) + value

  _masked(visit, word_P, reach, of_pair, group=group, **static)

  @pl.when(word & _LAST != 0)
  def _():
    mean = acc[...] / _wide_as(total[...], H)
    out[...] = mean.astype(out.dtype).reshape(out.shape)
    log_total[...] = (top[...] + jnp.log(total[...])).T[:1]


def _d_queries(
  word_P, reach, q, k, v, d_out, log_total, common, *refs,
  softcap, group, **static,
):  # fmt: skip
  *of_pair, d_q, acc = refs
  H = q.shape[-1]
  word = word_P[pl.program_id(1)]

  @pl.when(word & _FIRST != 0)
  def _():
    acc[...] = jnp.zeros_like(acc)

  def visit(hide):
    column = lambda row: jnp.expand_dims(row[0], -1)
    score = _capped(_product(q[...].reshape(-1, H), k[...], _NT), softcap)
    share = jnp.exp(hide(score) - column(log_total))
    d_share = _product(d_out[...].reshape(-1, H), v[...], _NT)
    d_score = share * (d_share - column(common))
    if softcap:
      d_score *= 1 - jnp.square(score / softcap)
    acc[...] += _product(d_score.astype(k.dtype), k[...], _NN)

  _masked(visit, word_P, reach, of_pair, group=group, **static)

  @pl.when(word & _LAST != 0)
  def _():
    d_q[...] = acc[...].astype(d_q.dtype).reshape(d_q.shape)


def _d_keys(
  word_P, reach, q, k, v, d_out, log_total, common, *refs,
  softcap, group, **static,
):  # fmt: skip
  """Scores stand with keys in rows, so that no product needs a transpose."""
  *of_pair, d_k, d_v, acc_k, acc_v = refs
  H = q.shape[-1]
  word = word_P[pl.program_id(1)]

  @pl.when(word & _FIRST != 0)
  def _():
    acc_k[...] = jnp.zeros_like(acc_k)
    acc_v[...] = jnp.zeros_like(acc_v)

  def visit(hide):
    q_RH, d_out_RH = q[...].reshape(-1, H), d_out[...].reshape(-1, H)
    score = _capped(_product(k[...], q_RH, _NT), softcap)
    share = jnp.exp(hide(score) - log_total[...])
    acc_v[...] += _product(share.astype(v.dtype), d_out_RH, _NN)
    d_share = _product(v[...], d_out_RH, _NT)
    d_score = share * (d_share - common[...])
    if softcap:
      d_score *= 1 - jnp.square(score / softcap)
    acc_k[...] += _product(d_score.astype(q.dtype), q_RH, _NN)

  _masked(visit, word_P, reach, of_pair, group=group, **static)

  @pl.when(word & _LAST != 0)
  def _():
    d_k[...] = acc_k[...].astype(d_k.dtype)
    d_v[...] = acc_v[...].astype(d_v.dtype)


def _masked(
  visit, word_P, reach, of_pair, *, blocks, block, group,
  home_is_query, windowed,
):  # fmt: skip
  """Visits a pair with what hides its scores; a whole pair hides none."""
  word = word_P[pl.program_id(1)]
  _, stays, passes = _blocks(word, blocks)
  query, key = (stays, passes) if home_is_query else (passes, stays)
  last, *depths = of_pair

  def hide(score):
    axis = 0 if home_is_query else 1  # of queries
    shape = (block, block)
    along_queries = lambda row: _along(row[...], axis)
    along_keys = lambda row: _along(row[...], 1 - axis)
    iota = functools.partial(jax.lax.broadcasted_iota, jnp.int32, shape)
    query_CC, key_CC = query * block + iota(axis), key * block + iota(1 - axis)
    visible = (key_CC <= query_CC) & (query_CC <= along_keys(last))
    if windowed:
      above = along_queries(depths[0]) - along_keys(depths[1])
      visible &= above < reach[0]
    hidden = jnp.where(visible, 0, HIDDEN).astype(score.dtype)
    repeats = (group, 1) if home_is_query else (1, group)
    return score + jnp.tile(hidden, repeats)

  pl.when(word & _WHOLE != 0)(lambda: visit(lambda score: score))
  pl.when(word & _WHOLE == 0)(lambda: visit(hide))


def _along(row_1C, axis):
  return row_1C if axis else jnp.expand_dims(row_1C[0], -1)


def _product(x, y, dims):
  return jax.lax.dot_general(x, y, dims, preferred_element_type=wide(x.dtype))


def _capped(score, softcap):
  return softcap * jnp.tanh(score / softcap) if softcap else score


def _wide_as(x, size):
  """Equal lanes, as many as are wanted."""
  return jnp.tile(x, (1, -(-size // _LANES)))[:, :size]


def _by_block(x_BKGT, block):
  """[B, K, U, 1, R]: a block's numbers lie in lanes, query by query."""
  B, K, G, T = x_BKGT.shape
  parts = x_BKGT.reshape(B, K, G, T // block, block).swapaxes(2, 3)
  return parts.reshape(B, K, T // block, 1, G * block)


def _by_head(x, group):
  B, K, U, _, R = x.shape
  parts = x.reshape(B, K, U, group, R // group).swapaxes(2, 3)
  return parts.reshape(B, K, group, U * (R // group))
