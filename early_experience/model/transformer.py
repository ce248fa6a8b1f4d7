"""The decoder: Llama, Qwen2.5 and Qwen3 by settings; pure functions of a dict.

Letters: B batch, T time, D embed, F mlp, N query heads, K key heads, H head
size, V vocabulary, L layers.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from early_experience.model.attention import attend_rows
from early_experience.model.config import ModelConfig
from early_experience.model.sharding import spec
from early_experience.model.table import table


def hidden(
  params: dict,
  tokens_BT: jax.Array,
  depth_BT: jax.Array,
  span_BT: jax.Array,
  cfg: ModelConfig,
) -> jax.Array:
  """Activations after the final norm, [B, T, D] in `cfg.dtype`.

  Args:
    params: as `table(cfg)` says.
    tokens_BT: int32 ids of rows of trees in depth-first order.
    depth_BT: int32, each token's position on its path: what RoPE sees.
    span_BT: int32, size of each token's subtree: what attention sees.
    cfg: static.
  """
  tokens_BT, depth_BT, span_BT = (
    jax.reshard(x, spec('batch', None)) for x in (tokens_BT, depth_BT, span_BT)
  )
  turns = rope_turns(depth_BT, cfg)

  def attention(q, k, v):
    return attend_rows(q, k, v, span_BT, cfg.attention_block), None

  def layer(x_BTD, weights):
    return block(x_BTD, gathered_layer(weights, cfg), turns, attention, cfg)

  x_BTD = embed(params, tokens_BT, cfg)
  x_BTD, _ = jax.lax.scan(_remat(layer, cfg), x_BTD, params['layers'])
  return final_norm(params, x_BTD, cfg)


def output_head(params: dict, cfg: ModelConfig) -> jax.Array:
  """The unembedding [V, D] in `cfg.dtype`; V may be split over `tensor`."""
  path = 'embed' if cfg.tied else 'head'
  return _gathered(path, params[path], cfg)


def embed(params: dict, tokens_BT: jax.Array, cfg: ModelConfig) -> jax.Array:
  """The embeddings of the tokens, [B, T, D] in `cfg.dtype`."""
  table_VD = _gathered('embed', params['embed'], cfg)
  return table_VD.at[tokens_BT].get(out_sharding=spec('batch', None, None))


def final_norm(params: dict, x_BTD: jax.Array, cfg: ModelConfig) -> jax.Array:
  """The norm between the last layer and the output head."""
  return rms_norm(x_BTD, _gathered('norm', params['norm'], cfg), cfg)


def gathered_layer(weights: dict, cfg: ModelConfig) -> dict:
  """One layer's weights in the compute dtype, gathered over fsdp.

  Args:
    weights: `params['layers']` at one layer.
    cfg: static.
  """
  return {
    name: _gathered(f'layers/{name}', value, cfg)
    for name, value in weights.items()
  }


def block(
  x_BTD: jax.Array,
  w: dict,
  turns: tuple[jax.Array, jax.Array],
  attention: Callable,
  cfg: ModelConfig,
) -> tuple[jax.Array, object]:
  """One layer: attention, then the gated MLP, each added to its input.

  Args:
    x_BTD: the residual stream.
    w: the layer's weights, from `gathered_layer`.
    turns: from `rope_turns`.
    attention: (q_BNTH, k_BKTH, v_BKTH) -> (out_BNTH, what else it returns).
    cfg: static.

  Returns:
    The residual stream, and what else `attention` returned.
  """
  y_BTD = rms_norm(x_BTD, w['attention_norm'], cfg)
  q_BNTH = jnp.einsum('btd,dnh->bnth', y_BTD, w['q'])
  k_BKTH = jnp.einsum('btd,dkh->bkth', y_BTD, w['k'])
  v_BKTH = jnp.einsum('btd,dkh->bkth', y_BTD, w['v'])
  if cfg.qkv_bias:
    q_BNTH += w['q_bias'][None, :, None]
    k_BKTH += w['k_bias'][None, :, None]
    v_BKTH += w['v_bias'][None, :, None]
  if cfg.qk_norm:
    q_BNTH = rms_norm(q_BNTH, w['q_norm'], cfg)
    k_BKTH = rms_norm(k_BKTH, w['k_norm'], cfg)
  out_BNTH, extra = attention(rope(q_BNTH, turns), rope(k_BKTH, turns), v_BKTH)
  stream = spec('batch', None, None)
  x_BTD += jnp.einsum('bnth,nhd->btd', out_BNTH, w['o'], out_sharding=stream)
  y_BTD = rms_norm(x_BTD, w['mlp_norm'], cfg)
  gate_BTF = jax.nn.silu(jnp.einsum('btd,df->btf', y_BTD, w['gate']))
  up_BTF = jnp.einsum('btd,df->btf', y_BTD, w['up'])
  x_BTD += jnp.einsum(
    'btf,fd->btd', gate_BTF * up_BTF, w['down'], out_sharding=stream
  )
  return x_BTD, extra


def rms_norm(x: jax.Array, scale: jax.Array, cfg: ModelConfig) -> jax.Array:
  """Divides the last axis by its root mean square, in float32."""
  x32 = x.astype(jnp.float32)
  mean = jnp.mean(jnp.square(x32), axis=-1, keepdims=True)
  scale = jnp.expand_dims(scale.astype(jnp.float32), range(x.ndim - 1))
  return (x32 * jax.lax.rsqrt(mean + cfg.norm_eps) * scale).astype(x.dtype)


def rope_turns(
  depth_BT: jax.Array, cfg: ModelConfig
) -> tuple[jax.Array, jax.Array]:
  """Cosine and sine of every pair's angle, each [B, 1, T, H/2] float32."""
  half = cfg.head_dim // 2
  rate_H = cfg.rope_theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
  angle = (
    depth_BT[:, None, :, None].astype(jnp.float32) * rate_H[None, None, None]
  )
  return jnp.cos(angle), jnp.sin(angle)


def rope(x_BNTH: jax.Array, turns: tuple[jax.Array, jax.Array]) -> jax.Array:
  """Turns dimension i with dimension i + H/2 (the Hugging Face convention)."""
  cos, sin = turns
  a, b = jnp.split(x_BNTH.astype(jnp.float32), 2, axis=-1)
  turned = jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
  return turned.astype(x_BNTH.dtype)


def _gathered(path, value, cfg):
  """The parameter in the compute dtype, whole but for the `tensor` axis."""
  axes = table(cfg)[path].axes[-value.ndim :]  # a layer's own has no axis L
  kept = (None if axis == 'embed' else axis for axis in axes)
  return jax.reshard(value.astype(cfg.dtype), spec(*kept))


def _remat(layer, cfg):
  if cfg.remat == 'none':
    return layer
  policy = {
    'full': jax.checkpoint_policies.nothing_saveable,
    'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  }[cfg.remat]
  return jax.checkpoint(layer, prevent_cse=False, policy=policy)
