"""Rotary positions (arXiv 2104.09864), and how they are stretched.

Letters: B batch, T time, N heads, H head size.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from early_experience.model.config import ModelConfig
from early_experience.model.precision import wide

EVERYWHERE = 1 << 30  # the reach of a layer that sees its whole path


@struct.dataclass
class Turns:
  """Cosine and sine of every pair's angle, each [B, 1, T, H/2].

  Attributes:
    everywhere: of layers that see their whole path.
    local: of layers that see a window of it; None where there are none.
  """

  everywhere: tuple[jax.Array, jax.Array]
  local: tuple[jax.Array, jax.Array] | None

  def of(self, reach: jax.Array | int | None) -> tuple[jax.Array, jax.Array]:
    """Those of a layer, by the tokens that it sees; None: all."""
    if reach is None:
      return self.everywhere
    return jax.tree.map(
      lambda local, everywhere: jnp.where(
        reach < EVERYWHERE, local, everywhere
      ),
      self.local,
      self.everywhere,
    )


def turns(depth_BT: jax.Array, cfg: ModelConfig) -> Turns:
  """The angles of all tokens, by their position on their path."""

  def angles(rate_H):
    angle = depth_BT[:, None, :, None].astype(rate_H.dtype) * rate_H
    return jnp.cos(angle), jnp.sin(angle)

  local = angles(_rates(cfg.rope_theta_local, cfg)) if cfg.window else None
  return Turns(angles(scaled_rates(cfg)), local)


def turn(x_BNTH: jax.Array, angles: tuple[jax.Array, jax.Array]) -> jax.Array:
  """Turns dimension i with dimension i + H/2 (the Hugging Face convention)."""
  cos, sin = angles
  a, b = jnp.split(x_BNTH.astype(cos.dtype), 2, axis=-1)
  turned = jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
  return turned.astype(x_BNTH.dtype)


def scaled_rates(cfg: ModelConfig) -> np.ndarray:
  """Radians a token of each pair, [1, 1, 1, H/2] in float32 or wider.

  `linear` divides all rates by the factor. `llama3` divides those of pairs that
  turn less than `rope_low_freq_factor` times within `rope_original_tokens`,
  spares those that turn more than `rope_high_freq_factor` times, and blends in
  between (Llama 3.1's release).
  """
  rate_H = _rates(cfg.rope_theta, cfg)
  if cfg.rope_scaling == 'none':
    return rate_H
  if cfg.rope_scaling == 'linear':
    return rate_H / rate_H.dtype.type(cfg.rope_factor)
  low, high = cfg.rope_low_freq_factor, cfg.rope_high_freq_factor
  rounds_H = cfg.rope_original_tokens * rate_H / (2 * math.pi)
  kept_H = np.clip((rounds_H - low) / (high - low), 0, 1)
  blended_H = (1 - kept_H) * rate_H / cfg.rope_factor + kept_H * rate_H
  return blended_H.astype(rate_H.dtype)


def _rates(theta, cfg):
  half = cfg.head_dim // 2
  rate_H = theta ** (-np.arange(half, dtype=np.float64) / half)
  return rate_H.astype(wide(cfg.dtype))[None, None, None]
