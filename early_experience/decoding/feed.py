"""One pass through the model: tokens in, logits and their keys and values out.

Letters: L layers, B batch, T read tokens, M tokens that a row said before, N
query heads, K key heads, H head size, V vocabulary.
"""

import jax
import jax.numpy as jnp

from early_experience.decoding.attention import attend
from early_experience.decoding.cache import Cache
from early_experience.model import rope
from early_experience.model.config import ModelConfig
from early_experience.model.precision import wide
from early_experience.model.sharding import spec
from early_experience.model.transformer import (
  block,
  capped,
  embed,
  final_norm,
  output_head,
  reaches,
)


def feed(
  params: dict,
  cache: Cache,
  said: tuple[jax.Array, jax.Array, jax.Array] | None,
  tokens_BT: jax.Array,
  counts_B: jax.Array,
  cfg: ModelConfig,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  """Reads tokens behind what the rows hold, which it leaves as it is.

  One layer is compiled, whatever the depth.

  Args:
    params: from `gathered`.
    cache: what the rows hold.
    said: keys and values [L, B, K, M, H] of what follows it, and how many of
      them each row has, int32 []; None: nothing does.
    tokens_BT: int32, to read.
    counts_B: int32, how many of them.
    cfg: static.

  Returns:
    Logits [B, V] after each row's last token, and keys and values
    [L, B, K, T, H] of all.
  """
  T = tokens_BT.shape[1]
  step_T = jnp.arange(T, dtype=jnp.int32)
  *said_keys, done = said or (None, None, 0)
  depth_BT = cache.length_B[:, None] + done + step_T[None]
  turns = rope.turns(depth_BT, cfg)

  def seen(depth_11C, count, reach):
    """Which of the tokens of a row, by their distance to its cache's end."""
    above_1TC = done + step_T[None, :, None] - depth_11C
    seen_1TC = (above_1TC >= 0) & (depth_11C < count)
    return seen_1TC if reach is None else seen_1TC & (above_1TC < reach)

  def layer(x_BTD, inputs):
    number, w, reach, before = inputs

    def attention(q_BNTH, k_BKTH, v_BKTH):
      own = done + step_T[None, None]
      near = [(k_BKTH, v_BKTH, seen(own, done + T, reach))]
      if before is not None:
        slot_11M = jnp.arange(before[0].shape[2])[None, None]
        near.append((*before, seen(slot_11M, done, reach)))
      out_BNTH = attend(
        q_BNTH, near, cache, number, depth_BT, reach, cfg.attention_softcap
      )
      return out_BNTH, (k_BKTH, v_BKTH)

    return block(x_BTD, w, turns.of(reach), attention, cfg)

  layers = (
    jnp.arange(cfg.layers, dtype=jnp.int32),
    params['layers'],
    reaches(cfg),
    said and tuple(said_keys),
  )
  x_BTD = embed(params, tokens_BT, cfg)
  x_BTD, new = jax.lax.scan(layer, x_BTD, layers)
  last_B = jnp.maximum(counts_B - 1, 0)
  h_BD = jax.vmap(lambda x_TD, last: x_TD[last])(x_BTD, last_B)
  h_BD = final_norm(params, h_BD[:, None], cfg)[:, 0]
  logits_BV = jnp.einsum(
    'bd,vd->bv',
    h_BD,
    output_head(params, cfg),
    preferred_element_type=wide(h_BD.dtype),
    out_sharding=spec('batch', None),
  )
  return capped(logits_BV, cfg), new
