"""The dtypes that numbers may be kept in, and in which their sums are held."""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from early_experience.runtime.errors import UserError


def check(key: str, dtype: str) -> None:
  """Makes sure that jax would not give another dtype than the one asked for.

  Args:
    key: of the setting, below `config`.
    dtype: its value.

  Raises:
    UserError: it would; the message names the setting.
  """
  if dtype == 'float64' and not jax.config.jax_enable_x64:
    raise UserError(
      f'config.{key} = {dtype!r} needs JAX_ENABLE_X64=1 in the environment'
    )


def wide(dtype: DTypeLike) -> jnp.dtype:
  """Of scores, norms, losses and gradients: float32, or float64 as `dtype`."""
  return jnp.promote_types(dtype, jnp.float32)
