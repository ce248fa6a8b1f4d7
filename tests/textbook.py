"""The model as a textbook has it, and settings of the families."""

import jax
import numpy as np


def reference(params, cfg, tokens_T):
  """The model's textbook definition: one sequence, float64, head by head."""
  params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
  T, H = len(tokens_T), cfg.head_dim
  place_T = np.arange(T)

  def norm(x, scale):
    mean = (x**2).mean(-1, keepdims=True)
    return x / np.sqrt(mean + cfg.norm_eps) * (scale + cfg.norm_offset)

  def rates(is_local):
    theta = cfg.rope_theta_local if is_local else cfg.rope_theta
    rate = theta ** (-np.arange(0, H, 2) / H)
    if is_local or cfg.rope_scaling == 'none':
      return rate
    if cfg.rope_scaling == 'linear':
      return rate / cfg.rope_factor
    length = 2 * np.pi / rate  # tokens a turn
    low = cfg.rope_original_tokens / cfg.rope_low_freq_factor
    high = cfg.rope_original_tokens / cfg.rope_high_freq_factor
    blend = (cfg.rope_original_tokens / length - cfg.rope_low_freq_factor) / (
      cfg.rope_high_freq_factor - cfg.rope_low_freq_factor
    )
    middle = (1 - blend) * rate / cfg.rope_factor + blend * rate
    slow = np.where(length > low, rate / cfg.rope_factor, middle)
    return np.where(length < high, rate, slow)

  def turn(x_TH, is_local):
    """Dimension i is the real and i + H/2 the imaginary part of a number."""
    number = x_TH[:, : H // 2] + 1j * x_TH[:, H // 2 :]
    number = number * np.exp(1j * place_T[:, None] * rates(is_local))
    return np.concatenate([number.real, number.imag], -1)

  def capped(x, cap):
    return cap * np.tanh(x / cap) if cap else x

  def linear(y, w, name, head=None):
    pick = (slice(None),) if head is None else (slice(None), head)
    out = y @ w[name][pick]
    if f'{name}_lora_a' in w:
      low = y @ w[f'{name}_lora_a']
      added = low @ w[f'{name}_lora_b'][pick]
      out = out + cfg.lora_alpha / cfg.lora_rank * added
    bias = w.get(f'{name}_bias', np.zeros(1))
    return out + (bias if head is None or bias.ndim == 1 else bias[head])

  def project(y, w, name, head, is_local):
    out = linear(y, w, name, head)
    if cfg.qk_norm and name != 'v':
      out = norm(out, w[f'{name}_norm'])
    return out if name == 'v' else turn(out, is_local)

  def attend(y, w, is_local):
    outs = []
    for head in range(cfg.heads):
      key_head = head // (cfg.heads // cfg.kv_heads)
      q = project(y, w, 'q', head, is_local)
      k = project(y, w, 'k', key_head, is_local)
      v = project(y, w, 'v', key_head, is_local)
      score = q @ k.T / np.sqrt(cfg.query_scale or H)
      above = place_T[:, None] - place_T
      seen = (above >= 0) & (above < (cfg.window if is_local else T))
      score = np.where(seen, capped(score, cfg.attention_softcap), -np.inf)
      share = np.exp(score)
      outs.append(share / share.sum(-1, keepdims=True) @ v)
    merged = {
      name: value.reshape(-1, value.shape[-1])
      if name in ('o', 'o_lora_a')
      else value
      for name, value in w.items()
    }
    return linear(np.concatenate(outs, -1), merged, 'o')

  def gelu(x):
    inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + np.tanh(inner))

  def silu(x):
    return x / (1 + np.exp(-x))

  act = gelu if cfg.activation == 'gelu_tanh' else silu
  x = params['embed'][tokens_T] * (cfg.embed**0.5 if cfg.embed_scale else 1)
  for layer in range(cfg.layers):
    w = {name: value[layer] for name, value in params['layers'].items()}
    is_local = bool(cfg.window and (layer + 1) % cfg.global_every)
    y = attend(norm(x, w['attention_norm']), w, is_local)
    x = x + (norm(y, w['attention_post_norm']) if cfg.post_norms else y)
    y = norm(x, w['mlp_norm'])
    gated = act(linear(y, w, 'gate')) * linear(y, w, 'up')
    y = linear(gated, w, 'down')
    x = x + (norm(y, w['mlp_post_norm']) if cfg.post_norms else y)
  head = params['embed' if cfg.tied else 'head']
  return norm(x, params['norm']) @ head.T


LLAMA3_ROPE = {
  'rope_scaling': 'llama3',
  'rope_factor': 8.0,
  'rope_high_freq_factor': 2.5,  # all three ranges have a pair among four
  'rope_original_tokens': 32,
}
GEMMA3 = {
  'rope_scaling': 'linear',
  'rope_factor': 8.0,
  'window': 5,
  'global_every': 2,
  'rope_theta_local': 50.0,
  'norm_offset': True,
  'post_norms': True,
  'qk_norm': True,
  'activation': 'gelu_tanh',
  'embed_scale': True,
  'query_scale': 12.0,
}
