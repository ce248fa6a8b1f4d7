"""A way to attend shows on its device that it is right, before it is used."""

import dataclasses
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from early_experience.model import sharding
from early_experience.model.config import ModelConfig
from early_experience.model.tree_attention import attend_rows, chosen, look
from early_experience.runtime import distributed

# Of each array's largest number: what flash attention in bfloat16 is off by.
# Products of float32 have no more bits than that on accelerators, by default.
_SHARE = 2e-2


def proven(cfg: ModelConfig) -> ModelConfig:
  """The model, with attention that agrees with the loops where it runs.

  One row of random trees goes through both, forward and backward, on one device
  of each process. Where they differ anywhere the next plainer way is tried
  everywhere, and a line says so. On CPUs, where loops are the choice, nothing
  is done.

  Args:
    cfg: of the model; the mesh is set.
  """
  way = chosen(cfg.attention)
  if way == 'loops' or not cfg.attention_block:
    return cfg
  reason = _difference(cfg, way)
  if distributed.all_agree(not reason):
    return cfg
  plainer = 'batched' if way == 'hopper' else 'loops'
  print(
    f'warning: attention {way!r} is not right on {jax.devices()[0]}'
    f' ({reason or "another process says so"}): {plainer!r} is taken, which may'
    ' be far slower; please report it with your versions of jax and the driver',
    file=sys.stderr,
  )
  return proven(dataclasses.replace(cfg, attention=plainer))


def _difference(cfg, way):
  """What speaks against it; '' = nothing."""
  mesh = sharding.lay_out((1, 1, 1), jax.local_devices()[:1])
  with jax.set_mesh(mesh):
    try:
      got, want = (_outcome(cfg, name, mesh) for name in (way, 'loops'))
    except Exception as error:  # whatever a compiler for kernels may raise
      return ' '.join(str(error).split())[:200] or type(error).__name__
  for name, a, b in zip(('output', 'dq', 'dk', 'dv'), got, want, strict=True):
    off = np.abs(a - b).max() / np.abs(b).max()
    if not off <= _SHARE:  # NaN too
      return f'{name} is off by {off:.1g}'
  return ''


def _outcome(cfg, way, mesh):
  """Output and gradients, as float32 on the host."""
  put = lambda x, *axes: jax.device_put(
    x, NamedSharding(mesh, sharding.spec('batch', *axes))
  )
  rng = np.random.default_rng(0)
  block = cfg.attention_block
  T = 3 * max(block, 128) + 5
  span, depth = map(put, _row(rng, T))
  make = lambda heads: put(
    rng.normal(size=(1, heads, T, cfg.head_dim)).astype(cfg.dtype), 'heads'
  )
  heads = [make(n) for n in (cfg.heads, cfg.kv_heads, cfg.kv_heads)]
  window = min(cfg.window, T // 4)
  cotangent = make(cfg.heads)

  @jax.jit
  def both(span, depth, heads, cotangent):
    sight = look(span, depth, block=block, window=window, attention=way)
    reach = jnp.int32(window) if window else None
    out, back = jax.vjp(
      lambda *heads: attend_rows(
        *heads, sight, reach=reach, softcap=cfg.attention_softcap
      ),
      *heads,
    )
    return out, *back(cotangent)

  return [
    np.asarray(x, np.float32)
    for x in jax.device_get(both(span, depth, heads, cotangent))
  ]


def _row(rng, T):
  """Span and depth, [1, T], of trees with branches of any length."""
  span, depth = np.ones((1, T), np.int32), np.zeros((1, T), np.int32)

  def grow(start, end, above):
    """A path from `start`, and subtrees below its end."""
    while start < end:
      size = int(rng.integers(1, max(2, (end - start) // 2)))
      size = min(size, end - start)
      depth[0, start : start + size] = above + np.arange(size)
      span[0, start : start + size] = end - start - np.arange(size)
      start, above = start + size, above + size
      if end - start > 8 and rng.random() < 0.7:
        middle = int(rng.integers(start + 1, end))
        grow(start, middle, above)
        grow(middle, end, above)
        return

  cut = int(rng.integers(T // 2, T - 8))
  grow(0, cut, 0)
  grow(cut, T - 5, 0)  # and padding
  return span, depth
