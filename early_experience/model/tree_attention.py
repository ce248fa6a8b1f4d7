"""Attention within rows of trees: one interface, and a way for each device.

A way lists the pairs of blocks that see something of each other, once a batch,
and visits those alone, layer by layer, with the online softmax of
FlashAttention (arXiv 2205.14135). What a way is, `Way` says. They all agree
with `attention_loops`, which is the one to read first.

Letters: B rows, T tokens, N query heads, K key heads, G = N / K queries that
share a key head, H head size.
"""

import functools
import importlib
from typing import Protocol

import jax
import jax.numpy as jnp
from flax import struct
from jax.ad_checkpoint import checkpoint_name

from early_experience.model.attention import attend, sees
from early_experience.model.precision import wide
from early_experience.model.rope import EVERYWHERE
from early_experience.model.sharding import spec
from early_experience.model.visible import Seen


class Way(Protocol):
  """How attention is computed: a module with these functions.

  All arrays are those of one device; T is a multiple of `block`.
  """

  def block_of(self, block: int) -> int:
    """The block that it can have in place of the one asked for."""

  def lists(self, seen: Seen, block: int) -> object:
    """What the other two walk; arrays that have rows, or so, as first axis."""

  def forward(self, q_BKGTH, k_BKTH, v_BKTH, seen, block, softcap):
    """[B, K, G, T, H] in the dtype of the values, and of each query the log of
    its summed exponentials, [B, K, G, T] in float32 or wider.
    """

  def backward(
    self, q_BKGTH, k_BKTH, v_BKTH, seen, log_total_BKGT, common_BKGT,
    d_out_BKGTH, block, softcap,
  ):  # fmt: skip
    """The gradients of queries, keys and values.

    `common` is what the softmax takes from the gradient of each score of a
    query: the sum of its output times the output's gradient.
    """


AUTO = {'tpu': 'tpu', 'gpu': 'batched'}  # by platform; elsewhere: loops


def way_of(name: str) -> Way:
  """The module of a way; imported when asked for, as kernels' tools are big."""
  return importlib.import_module(f'early_experience.model.attention_{name}')


@struct.dataclass
class Sight:
  """What the tokens of a batch see: made once, for all layers and heads.

  Attributes:
    span_BT: int32 size of each token's subtree; query q sees key k exactly when
      k <= q < k + span[k].
    depth_BT: int32, each token's position on its path.
    everywhere: a way's lists for layers that see all of it; None: no blocks.
    local: for layers that see a window of it; None: there are none.
    way: name of it.
    block: tokens of a block; 0: all scores at once.
  """

  span_BT: jax.Array
  depth_BT: jax.Array
  everywhere: object
  local: object
  way: str = struct.field(pytree_node=False)
  block: int = struct.field(pytree_node=False)


def chosen(setting: str) -> str:
  """The way that `config.model.attention` names, for the mesh's devices."""
  if setting != 'auto':
    return setting
  device = jax.sharding.get_abstract_mesh().abstract_device
  return AUTO.get(device.platform if device else 'cpu', 'loops')


def look(
  span_BT: jax.Array,
  depth_BT: jax.Array,
  *,
  block: int,
  window: int = 0,
  attention: str = 'loops',
) -> Sight:
  """What the tokens of a batch see; it takes O(T + (T / block)^2) a row.

  Args:
    span_BT, depth_BT: see `Sight`.
    block: tokens of a block, of which only pairs that see something of each
      other are visited; 0, or as many as a row has: all scores at once,
      B * N * T * T floats. Any result is the same for every block.
    window: tokens of its path that some layers see; 0: all see all of it.
    attention: as `config.model.attention`.
  """
  way = chosen(attention)
  block = way_of(way).block_of(block)
  if not block or block >= span_BT.shape[1]:
    return Sight(span_BT, depth_BT, None, None, way, 0)

  def lists(reach):
    return jax.shard_map(
      lambda *arrays: way_of(way).lists(_seen(*arrays, reach, block), block),
      in_specs=(spec('batch'), spec('batch')),
      out_specs=spec('batch'),
      check_vma=False,
    )(span_BT, depth_BT)

  everywhere, local = lists(None), lists(window) if window else None
  return Sight(span_BT, depth_BT, everywhere, local, way, block)


def attend_rows(
  q_BNTH: jax.Array,
  k_BKTH: jax.Array,
  v_BKTH: jax.Array,
  sight: Sight,
  *,
  reach: jax.Array | int | None = None,
  softcap: float = 0.0,
) -> jax.Array:
  """Softmax attention within rows of trees; sums in float32 or wider.

  Args:
    q_BNTH: queries, scaled; N is a multiple of K, and q head n reads key head
      n // G.
    k_BKTH: keys.
    v_BKTH: values.
    sight: from `look`.
    reach: tokens of its path that a query sees, the window of `look` or
      EVERYWHERE; None: all of them.
    softcap: bounds scores to cap * tanh(score / cap); 0 = none.

  Returns:
    [B, N, T, H] in the dtype of the values.
  """
  if sight.local is None:
    lists = sight.everywhere
  else:
    lists = jax.tree.map(
      functools.partial(jnp.where, reach < EVERYWHERE),
      sight.local,
      sight.everywhere,
    )
  if lists is None:
    window = None if reach is None else (sight.depth_BT, reach)
    visible_BTS = sees(sight.span_BT, window)
    return attend(q_BNTH, k_BKTH, v_BKTH, visible_BTS, softcap)
  B, N, T, H = q_BNTH.shape
  K = k_BKTH.shape[1]
  q_BKGTH = jax.lax.reshape(
    q_BNTH,
    (B, K, N // K, T, H),
    out_sharding=spec('batch', 'kv_heads', None, None, None),
  )
  heads, rows = spec('batch', 'kv_heads'), spec('batch')

  def local(q_BKGTH, k_BKTH, v_BKTH, span_BT, depth_BT, reach, lists):
    pad = lambda x: jnp.pad(
      x, [(0, 0)] * (x.ndim - 2) + [(0, -T % sight.block), (0, 0)]
    )
    seen = _seen(span_BT, depth_BT, reach, sight.block).replace(lists=lists)
    how = sight.way, sight.block, softcap
    out_BKGTH = _attend(pad(q_BKGTH), pad(k_BKTH), pad(v_BKTH), seen, *how)
    return out_BKGTH[..., :T, :]

  out_BKGTH = jax.shard_map(
    local,
    in_specs=(heads, heads, heads, rows, rows, spec(), rows),
    out_specs=heads,
    check_vma=False,
  )(q_BKGTH, k_BKTH, v_BKTH, sight.span_BT, sight.depth_BT, reach, lists)
  return jax.lax.reshape(
    out_BKGTH, (B, N, T, H), out_sharding=spec('batch', 'heads', None, None)
  )


def _seen(span_BT, depth_BT, reach, block):
  """Of rows padded to whole blocks; padding sees itself."""
  T = span_BT.shape[1]
  pad = (0, 0), (0, -T % block)
  place_T = jnp.arange(T + pad[1][1], dtype=jnp.int32)
  last_BT = place_T[None] + jnp.pad(span_BT - 1, pad)
  depth_BT = None if reach is None else jnp.pad(depth_BT, pad)
  return Seen(last_BT, depth_BT, reach)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def _attend(q_BKGTH, k_BKTH, v_BKTH, seen, way, block, softcap):
  inputs = q_BKGTH, k_BKTH, v_BKTH, seen
  return way_of(way).forward(*inputs, block, softcap)[0]


def _save(q_BKGTH, k_BKTH, v_BKTH, seen, way, block, softcap):
  inputs = q_BKGTH, k_BKTH, v_BKTH, seen
  # By this name a layer that is computed again may keep what it gave.
  out_BKGTH, log_total_BKGT = checkpoint_name(
    way_of(way).forward(*inputs, block, softcap), 'attention'
  )
  return out_BKGTH, (*inputs, out_BKGTH, log_total_BKGT)


def _backward(way, block, softcap, saved, d_out_BKGTH):
  *inputs, out_BKGTH, log_total_BKGT = saved
  sums = wide(out_BKGTH.dtype)
  common_BKGT = jnp.sum(
    d_out_BKGTH.astype(sums) * out_BKGTH.astype(sums), axis=-1
  )
  gradients = way_of(way).backward(
    *inputs, log_total_BKGT, common_BKGT, d_out_BKGTH, block, softcap
  )
  return *gradients, None


_attend.defvjp(_save, _backward)
