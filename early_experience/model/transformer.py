"""The decoder: Llama, Qwen and Gemma by settings; pure functions of a dict.

Letters: B batch, T time, D embed, F mlp, N query heads, K key heads, H head
size, V vocabulary, L layers, R rank of adapters.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from early_experience.model import rope
from early_experience.model.config import ModelConfig
from early_experience.model.precision import wide
from early_experience.model.product import product
from early_experience.model.sharding import spec
from early_experience.model.table import flat, nested, table
from early_experience.model.tree_attention import attend_rows, look

# Axes that each matrix of a layer takes in, and gives out; the output's.
_MATRICES = {
  'q': ('btd', 'd', 'nh', 'bnth'),
  'k': ('btd', 'd', 'kh', 'bkth'),
  'v': ('btd', 'd', 'kh', 'bkth'),
  'o': ('bnth', 'nh', 'd', 'btd'),
  'gate': ('btd', 'd', 'f', 'btf'),
  'up': ('btd', 'd', 'f', 'btf'),
  'down': ('btf', 'f', 'd', 'btd'),
}
_ACTIVATIONS = {
  'silu': jax.nn.silu,
  'gelu_tanh': lambda x: jax.nn.gelu(x, approximate=True),
}


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
  turns = rope.turns(depth_BT, cfg)
  reach_L = reaches(cfg)
  sight = look(
    span_BT,
    depth_BT,
    block=cfg.attention_block,
    window=cfg.window,
    attention=cfg.attention,
  )

  def layer(x_BTD, inputs):
    weights, reach = inputs

    def attention(q, k, v):
      cap = cfg.attention_softcap
      return attend_rows(q, k, v, sight, reach=reach, softcap=cap), None

    w = gathered_layer(weights, cfg)
    return block(x_BTD, w, turns.of(reach), attention, cfg)

  x_BTD = embed(params, tokens_BT, cfg)
  x_BTD, _ = jax.lax.scan(
    _remat(layer, cfg), x_BTD, (params['layers'], reach_L)
  )
  return final_norm(params, x_BTD, cfg)


def output_head(params: dict, cfg: ModelConfig) -> jax.Array:
  """The unembedding [V, D] in `cfg.dtype`; V may be split over `tensor`."""
  path = 'embed' if cfg.tied else 'head'
  return _gathered(path, params[path], cfg)


def capped(logits: jax.Array, cfg: ModelConfig) -> jax.Array:
  """Logits within the model's soft cap, if it has one (Gemma)."""
  cap = cfg.logit_softcap
  return cap * jnp.tanh(logits / cap) if cap else logits


def embed(params: dict, tokens_BT: jax.Array, cfg: ModelConfig) -> jax.Array:
  """The embeddings of the tokens, [B, T, D] in `cfg.dtype`."""
  table_VD = _gathered('embed', params['embed'], cfg)
  x_BTD = table_VD.at[tokens_BT].get(out_sharding=spec('batch', None, None))
  if cfg.embed_scale:
    x_BTD *= jnp.asarray(cfg.embed**0.5, x_BTD.dtype)
  return x_BTD


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


def gathered(params: dict, cfg: ModelConfig) -> dict:
  """All parameters in the compute dtype, gathered over fsdp."""
  whole = {path: _gathered(path, x, cfg) for path, x in flat(params).items()}
  return nested(whole)


def reaches(cfg: ModelConfig) -> np.ndarray | None:
  """Tokens of its path that each layer sees, int32 [L]; None: all of them."""
  if not cfg.window:
    return None
  number_L = np.arange(1, cfg.layers + 1)
  reach_L = np.where(number_L % cfg.global_every, cfg.window, rope.EVERYWHERE)
  return reach_L.astype(np.int32)


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
    turns: of this layer, from `rope.turns`.
    attention: (q_BNTH, scaled, k_BKTH, v_BKTH) -> (out_BNTH, what else it
      returns).
    cfg: static.

  Returns:
    The residual stream, and what else `attention` returned.
  """
  y_BTD = rms_norm(x_BTD, w['attention_norm'], cfg)
  q_BNTH = _project(y_BTD, w, 'q', cfg)
  k_BKTH = _project(y_BTD, w, 'k', cfg)
  v_BKTH = _project(y_BTD, w, 'v', cfg)
  if cfg.qk_norm:
    q_BNTH = rms_norm(q_BNTH, w['q_norm'], cfg)
    k_BKTH = rms_norm(k_BKTH, w['k_norm'], cfg)
  scale = (cfg.query_scale or cfg.head_dim) ** -0.5
  out_BNTH, extra = attention(
    rope.turn(q_BNTH, turns) * scale, rope.turn(k_BKTH, turns), v_BKTH
  )
  y_BTD = _project(out_BNTH, w, 'o', cfg)
  if cfg.post_norms:
    y_BTD = rms_norm(y_BTD, w['attention_post_norm'], cfg)
  x_BTD += y_BTD
  y_BTD = rms_norm(x_BTD, w['mlp_norm'], cfg)
  gate_BTF = _ACTIVATIONS[cfg.activation](_project(y_BTD, w, 'gate', cfg))
  y_BTD = _project(gate_BTF * _project(y_BTD, w, 'up', cfg), w, 'down', cfg)
  if cfg.post_norms:
    y_BTD = rms_norm(y_BTD, w['mlp_post_norm'], cfg)
  return x_BTD + y_BTD, extra


def _project(x, w, name, cfg):
  """x times a matrix of the layer, with its adapter and its bias if any."""
  given, inner, outer, result = _MATRICES[name]
  axes = tuple(map(given.index, inner))
  # Where the contracted axis is split over `tensor`, the sum crosses devices.
  whole = spec('batch', None, None) if outer == 'd' else None
  y = product(x, w[name], axes, whole)
  if f'{name}_lora_a' in w:
    low_BTR = product(x, w[f'{name}_lora_a'], axes, spec('batch', None, None))
    added = product(low_BTR, w[f'{name}_lora_b'], (2,), whole)
    y += added * (cfg.lora_alpha / cfg.lora_rank)
  if f'{name}_bias' in w:
    y += jnp.expand_dims(w[f'{name}_bias'], (0, 1))
  # Heads come before time.
  return y if result == f'bt{outer}' else jnp.moveaxis(y, 2, 1)


def rms_norm(x: jax.Array, scale: jax.Array, cfg: ModelConfig) -> jax.Array:
  """Divides the last axis by its root mean square, in float32 or wider."""
  exact = x.astype(wide(x.dtype))
  mean = jnp.mean(jnp.square(exact), axis=-1, keepdims=True)
  scale = jnp.expand_dims(scale.astype(exact.dtype), range(x.ndim - 1))
  if cfg.norm_offset:
    scale += 1
  return (exact * jax.lax.rsqrt(mean + cfg.norm_eps) * scale).astype(x.dtype)


def _gathered(path, value, cfg):
  """The parameter in the compute dtype, whole but for the `tensor` axis."""
  axes = table(cfg)[path].axes[-value.ndim :]  # a layer's own has no axis L
  kept = (None if axis == 'embed' else axis for axis in axes)
  return jax.reshard(value.astype(cfg.dtype), spec(*kept))


def _remat(layer, cfg):
  """The layer, told what to keep for the backward pass but its input."""
  if cfg.remat == 'none':
    return layer
  policies = jax.checkpoint_policies
  attention = policies.save_only_these_names('attention')
  policy = {
    'full': policies.nothing_saveable,
    'attention': attention,
    'dots': policies.save_from_both_policies(
      policies.dots_with_no_batch_dims_saveable, attention
    ),
  }[cfg.remat]
  return jax.checkpoint(layer, prevent_cse=False, policy=policy)
