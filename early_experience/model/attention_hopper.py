"""Attention over trees as Pallas kernels for Hopper GPUs.

A warpgroup holds 64 queries (or keys) of one head and walks the list of blocks
that these see (or that see them). Blocks come in by TMA, some ahead, and with
those of keys one integer a key, of which the mask follows in registers; a pair
that sees all of itself has none. Keys and values of a group of queries are
never repeated, and no sum is added to from two sides.

Letters: B rows, T tokens, N query heads, K key heads, G = N / K, H head size,
U blocks of a row, L = B * U.
"""

import inspect
import math

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from early_experience.model.attention_loops import HIDDEN
from early_experience.model.visible import Seen, first_of, pairs, whole

_BLOCK, _ROWS = 128, 64  # tokens of a block, and of a warpgroup's product
_AHEAD = 2
_LOG2E = math.log2(math.e)
_LAYOUT = plgpu.Layout.WGMMA
# jax 0.10 wants to be told which part of a reference to load.
_ALL_OF = ((),) if 'idx' in inspect.signature(plgpu.load).parameters else ()
_SHARED = (plgpu.TilingTransform((8, 64)), plgpu.SwizzleTransform(128))


def block_of(block: int) -> int:
  """As a product of matrices wants it, whatever is asked for."""
  return _BLOCK if block else 0


def lists(seen: Seen, block: int):
  """What each block of queries sees, and what sees each block of keys.

  Returns:
    Twice int32 [L, U], the blocks that are met first, times two, plus one if
    all of the pair is seen; and int32 [L], how many these are.
  """
  found, all_seen = pairs(seen, block), whole(seen, block)
  turn = lambda x_BUU: x_BUU.swapaxes(1, 2)
  return _list(found, all_seen), _list(turn(found), turn(all_seen))


def _list(found_BUU, whole_BUU):
  met, count = first_of(found_BUU)
  met = 2 * met + jnp.take_along_axis(whole_BUU, met, axis=-1)
  return met.reshape(-1, met.shape[-1]), count.reshape(-1)


def forward(q_BKGTH, k_BKTH, v_BKTH, seen, block, softcap):
  """See `tree_attention.Way`."""
  call = _Call(q_BKGTH, seen, seen.lists[0], softcap)
  H, dtype = q_BKGTH.shape[-1], q_BKGTH.dtype
  rows = jax.ShapeDtypeStruct((q_BKGTH.size // H, H), dtype)
  logs = jax.ShapeDtypeStruct((q_BKGTH.size // H,), jnp.float32)
  shared = [call.matrix(), plgpu.SMEM((_ROWS,), jnp.float32), plgpu.Barrier()]
  out, log_total = call(
    call.forward, [q_BKGTH, k_BKTH, v_BKTH], [], [rows, logs], shared
  )
  return out.reshape(q_BKGTH.shape), log_total.reshape(q_BKGTH.shape[:-1])


def backward(
  q_BKGTH, k_BKTH, v_BKTH, seen, log_total_BKGT, common_BKGT, d_out_BKGTH,
  block, softcap,
):  # fmt: skip
  """See `tree_attention.Way`."""
  matrices = [q_BKGTH, k_BKTH, v_BKTH, d_out_BKGTH]
  columns = [log_total_BKGT, common_BKGT]
  H = q_BKGTH.shape[-1]
  like = lambda x: jax.ShapeDtypeStruct((x.size // H, H), x.dtype)
  call = _Call(q_BKGTH, seen, seen.lists[0], softcap)
  column = plgpu.SMEM((_ROWS,), jnp.float32)
  shared = [call.matrix(), call.matrix(), column, column, plgpu.Barrier()]
  (d_q,) = call(call.d_queries, matrices, columns, [like(q_BKGTH)], shared)
  call = _Call(q_BKGTH, seen, seen.lists[1], softcap, of_keys=True)
  shared = [call.matrix(), call.matrix(), plgpu.Barrier()]
  d_k, d_v = call(
    call.d_keys, matrices, columns, [like(k_BKTH), like(v_BKTH)], shared
  )
  return (
    d_q.reshape(q_BKGTH.shape),
    d_k.reshape(k_BKTH.shape),
    d_v.reshape(v_BKTH.shape),
  )


class _Call:
  """One kernel, its grid, and what its warpgroups do; matrices are [.., H]."""

  def __init__(self, q_BKGTH, seen, listed, softcap, of_keys=False):
    self._sizes = B, K, G, T, H = q_BKGTH.shape
    self._seen, self._listed, self._softcap = seen, listed, softcap
    self._dtype = q_BKGTH.dtype
    self._windowed = seen.reach is not None
    self._grid = B, K if of_keys else K * G, T // _ROWS
    self._real = _on_gpu()
    self._shared = _SHARED if self._real else ()

  def matrix(self):
    return plgpu.SMEM(
      (_ROWS, self._sizes[-1]), self._dtype, transforms=self._shared
    )

  def __call__(self, kernel, matrices, columns, out, shared):
    seen, H = self._seen, self._sizes[-1]
    of_tokens = [seen.last_BT.reshape(-1)]
    reach = jnp.zeros(1, jnp.int32)
    if self._windowed:
      of_tokens.append(seen.depth_BT.reshape(-1))
      reach = jnp.asarray(seen.reach, jnp.int32)[None]
    arrays = [
      *(x.reshape(-1, H) for x in matrices),
      *(x.reshape(-1) for x in columns),
      *(reach, *self._listed, *of_tokens),
    ]
    how = {} if self._real else {'interpret': _interpreter()}
    return plgpu.kernel(
      kernel,
      out_type=out,
      grid=self._grid,
      grid_names=('row', 'head', 'tile'),
      scratch_types=shared,
      compiler_params=plgpu.CompilerParams(approx_math=True),
      **how,
    )(*arrays)

  def forward(self, q, k, v, reach, met, count, *refs):
    *of_tokens, out, log_total, q_smem, log_smem, barrier = refs
    _, K, G, T, H = self._sizes
    row, head, tile, home = self._place()
    own = pl.ds(((row * K * G + head) * (T // _ROWS) + tile) * _ROWS, _ROWS)
    self._fetch(barrier, q.at[own], q_smem)

    def visit(indices, k_smem, v_smem, *rest):
      *tokens, (acc, top, total) = rest
      score = self._capped(self._product(q_smem, k_smem))
      word = met[home, indices[0]]
      at = tile * _ROWS, word // 2 * _BLOCK
      score = self._masked(score, word, at, of_tokens, tokens, row, reach)
      score *= _LOG2E
      new_top = jnp.maximum(top, score.max(axis=1))
      share = jnp.exp2(score - self._along(new_top, score, 0))
      shrink = jnp.exp2(top - new_top)
      total = total * shrink + share.sum(axis=1)
      acc = self._added(acc * self._along(shrink, acc, 0), share, v_smem)
      return acc, new_top, total

    acc, top, total = plgpu.emit_pipeline(
      visit,
      grid=(count[home],),
      in_specs=[
        *[
          self._spec(
            (_BLOCK, H),
            lambda i: (row * K + head // G) * (T // _BLOCK) + met[home, i] // 2,
          )
        ]
        * 2,
        *[
          self._spec(
            (_BLOCK,), lambda i: row * (T // _BLOCK) + met[home, i] // 2
          )
        ]
        * len(of_tokens),
      ],
      max_concurrent_steps=_AHEAD,
      init_carry=(
        self._full((_ROWS, H), 0.0),
        self._full((_ROWS,), HIDDEN),
        self._full((_ROWS,), 0.0),
      ),
    )(k, v, *of_tokens)
    q_smem[...] = (acc / self._along(total, acc, 0)).astype(self._dtype)
    log_smem[...] = top / _LOG2E + jnp.log(total)
    self._store((q_smem, out.at[own]), (log_smem, log_total.at[own]))

  def d_queries(
    self, q, k, v, d_out, log_total, common, reach, met, count, *refs
  ):
    *of_tokens, d_q, q_smem, d_smem, log_smem, common_smem, barrier = refs
    _, K, G, T, H = self._sizes
    row, head, tile, home = self._place()
    own = pl.ds(((row * K * G + head) * (T // _ROWS) + tile) * _ROWS, _ROWS)
    for source, target in (
      (q, q_smem), (d_out, d_smem), (log_total, log_smem), (common, common_smem)
    ):  # fmt: skip
      self._fetch(barrier, source.at[own], target)
    logs, commons = (self._column(x, 1) for x in (log_smem, common_smem))

    def visit(indices, k_smem, v_smem, *rest):
      *tokens, acc = rest
      word = met[home, indices[0]]
      at = tile * _ROWS, word // 2 * _BLOCK + indices[1] * _ROWS
      score = self._capped(self._product(q_smem, k_smem))
      hidden = self._masked(score, word, at, of_tokens, tokens, row, reach)
      share = jnp.exp2((hidden - self._along(logs, score, 0)) * _LOG2E)
      d_share = self._product(d_smem, v_smem)
      d_score = share * (d_share - self._along(commons, score, 0))
      return self._added(acc, self._uncapped(d_score, score), k_smem)

    half = lambda i, j: met[home, i] // 2 * (_BLOCK // _ROWS) + j
    acc = plgpu.emit_pipeline(
      visit,
      grid=(count[home], _BLOCK // _ROWS),
      in_specs=[
        *[
          self._spec(
            (_ROWS, H),
            lambda i, j: (row * K + head // G) * (T // _ROWS) + half(i, j),
          )
        ]
        * 2,
        *[self._spec((_ROWS,), lambda i, j: row * (T // _ROWS) + half(i, j))]
        * len(of_tokens),
      ],
      max_concurrent_steps=_AHEAD,
      init_carry=self._full((_ROWS, H), 0.0),
    )(k, v, *of_tokens)
    q_smem[...] = acc.astype(self._dtype)
    self._store((q_smem, d_q.at[own]))

  def d_keys(self, q, k, v, d_out, log_total, common, reach, met, count, *refs):
    """Scores stand with keys in rows, so that no product needs a transpose."""
    *of_tokens, d_k, d_v, k_smem, v_smem, barrier = refs
    _, K, G, T, H = self._sizes
    row, head, tile, home = self._place()
    own = pl.ds(((row * K + head) * (T // _ROWS) + tile) * _ROWS, _ROWS)
    for source, target in ((k, k_smem), (v, v_smem)):
      self._fetch(barrier, source.at[own], target)

    def visit(indices, q_smem, d_smem, log_smem, common_smem, *rest):
      *tokens, (acc_k, acc_v) = rest
      word = met[home, indices[0]]
      at = word // 2 * _BLOCK + indices[1] * _ROWS, tile * _ROWS
      logs, commons = (self._column(x, 0) for x in (log_smem, common_smem))
      score = self._capped(self._product(k_smem, q_smem))
      hidden = self._masked(
        score, word, at, of_tokens, tokens, row, reach, turned=True
      )
      share = jnp.exp2((hidden - self._along(logs, score, 1)) * _LOG2E)
      acc_v = self._added(acc_v, share, d_smem)
      d_share = self._product(v_smem, d_smem)
      d_score = share * (d_share - self._along(commons, score, 1))
      acc_k = self._added(acc_k, self._uncapped(d_score, score), q_smem)
      return acc_k, acc_v

    half = lambda i, j: met[home, i] // 2 * (_BLOCK // _ROWS) + j
    of_head = lambda i, j, g: (
      (row * K * G + head * G + g) * (T // _ROWS) + half(i, j)
    )
    acc_k, acc_v = plgpu.emit_pipeline(
      visit,
      grid=(count[home], _BLOCK // _ROWS, G),
      in_specs=[
        *[self._spec((_ROWS, H), of_head)] * 2,
        *[self._spec((_ROWS,), of_head)] * 2,
        *[self._spec((_ROWS,), lambda i, j, g: row * (T // _ROWS) + half(i, j))]
        * (len(of_tokens) - 1),
      ],
      max_concurrent_steps=_AHEAD,
      init_carry=(self._full((_ROWS, H), 0.0), self._full((_ROWS, H), 0.0)),
    )(q, d_out, log_total, common, *of_tokens[1:])
    k_smem[...] = acc_k.astype(self._dtype)
    v_smem[...] = acc_v.astype(self._dtype)
    self._store((k_smem, d_k.at[own]), (v_smem, d_v.at[own]))

  def _place(self):
    row, head, tile = (jax.lax.axis_index(x) for x in ('row', 'head', 'tile'))
    blocks = self._sizes[3] // _BLOCK
    return row, head, tile, row * blocks + tile // (_BLOCK // _ROWS)

  def _spec(self, shape, index):
    rest = (0,) * (len(shape) - 1)
    return plgpu.BlockSpec(
      block_shape=shape,
      index_map=lambda *at: (index(*at), *rest),
      transforms=self._shared if rest else (),
    )

  def _masked(
    self, score, word, at, of_tokens, tokens, row, reach, turned=False
  ):
    """Scores, hidden where they are not seen; `at`: first query and key."""
    T, shape = self._sizes[3], score.shape

    def own(x, start):
      ref = x.at[pl.ds(row * T + start, _ROWS)]
      return self._along(self._column(ref, 1), score, 0)

    def passing(ref):
      return self._along(self._column(ref, 0), score, 1)

    def hide():
      axis = 1 if turned else 0  # of queries
      query = at[0] + self._iota(shape, axis)
      key = at[1] + self._iota(shape, 1 - axis)
      last = own(of_tokens[0], at[1]) if turned else passing(tokens[0])
      visible = (key <= query) & (query <= last)
      if self._windowed:
        start = at[1] if turned else at[0]
        mine, other = own(of_tokens[1], start), passing(tokens[-1])
        above = other - mine if turned else mine - other
        visible &= above < reach[0]
      return jnp.where(visible, score, HIDDEN)

    return jax.lax.cond(word % 2 == 1, lambda: score, hide)

  def _capped(self, score):
    cap = self._softcap
    return cap * jnp.tanh(score / cap) if cap else score

  def _uncapped(self, d_score, score):
    if not self._softcap:
      return d_score
    return d_score * (1 - (score / self._softcap) * (score / self._softcap))

  # What follows differs where a kernel is interpreted, which knows no layouts
  # and fewer products.

  def _product(self, x_ref, y_ref):
    """x @ y.T of shared memory, in float32."""
    if not self._real:
      dims = (((1,), (1,)), ((), ()))
      x, y = (ref[...].astype(jnp.float32) for ref in (x_ref, y_ref))
      return jax.lax.dot_general(x, y, dims)

    def run(acc_ref):
      plgpu.wgmma(acc_ref, x_ref, y_ref.transpose((1, 0)))
      return acc_ref[...]

    shape = x_ref.shape[0], y_ref.shape[0]
    return pl.run_scoped(run, plgpu.ACC(shape, jnp.float32))

  def _added(self, acc, x, y_ref):
    """acc + x @ y, with x rounded."""
    x = x.astype(self._dtype)
    if not self._real:
      y = y_ref[...].astype(jnp.float32)
      return acc + jnp.dot(x.astype(jnp.float32), y)
    run = lambda acc_ref: plgpu.wgmma(acc_ref, x, y_ref)
    return pl.run_state(run)(plgpu.ACC.init(acc))

  def _column(self, ref, gone):
    """A number for each row (the axis 1 is gone) or each column (axis 0)."""
    if not self._real:
      return ref[...]
    layout = _LAYOUT.reduce(gone)
    return plgpu.load(ref, *_ALL_OF, layout=layout, optimized=False)

  def _along(self, x, score, axis):
    return jax.lax.broadcast_in_dim(x, score.shape, [axis])

  def _iota(self, shape, axis):
    if not self._real:
      return jax.lax.broadcasted_iota(jnp.int32, shape, axis)
    return plgpu.broadcasted_iota(jnp.int32, shape, axis, layout=_LAYOUT)

  def _full(self, shape, value):
    made = jnp.full(shape, value, jnp.float32)
    if not self._real:
      return made
    layout = _LAYOUT if len(shape) == 2 else _LAYOUT.reduce(1)
    return plgpu.layout_cast(made, layout)

  def _fetch(self, barrier, source, target):
    plgpu.copy_gmem_to_smem(source, target, barrier)
    plgpu.barrier_wait(barrier)

  def _store(self, *copied):
    plgpu.commit_smem()
    for source, target in copied:
      plgpu.copy_smem_to_gmem(source, target)
    plgpu.wait_smem_to_gmem(0)


def _on_gpu():
  """Elsewhere kernels are interpreted, slowly: for proofs."""
  device = jax.sharding.get_abstract_mesh().abstract_device
  return device is not None and device.platform == 'gpu'


def _interpreter():
  from jax._src.pallas.mosaic_gpu.interpret import params

  return params.InterpretGPUParams()
