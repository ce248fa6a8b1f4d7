"""Activations times a matrix, with gradients computed as they lie in memory.

What autodiff makes of the matrix's gradient is that of its transpose, and
XLA for CPUs then turns both activations round: a training step took 1.5 times
as long.
"""

import functools

import jax
import jax.numpy as jnp
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero
from jax.sharding import PartitionSpec


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def product(
  x: jax.Array,
  w: jax.Array,
  axes: tuple[int, ...],
  out_sharding: PartitionSpec | None = None,
) -> jax.Array:
  """Contracts the first axes of a matrix with axes of the activations.

  Args:
    x: the activations; two of its axes are kept.
    w: the matrix, [inner axes, outer axes].
    axes: of `x`, rising, that meet the inner ones.
    out_sharding: needed where a contracted axis is split over the mesh.

  Returns:
    [kept axes of x, outer axes of w].
  """
  return _forward(x, w, axes, out_sharding)


def _forward(x, w, axes, out_sharding):
  contracted = (axes, tuple(range(len(axes))))
  return jax.lax.dot_general(
    x, w, (contracted, ((), ())), out_sharding=out_sharding
  )


def _save(
  x: CustomVJPPrimal,
  w: CustomVJPPrimal,
  axes: tuple[int, ...],
  out_sharding: PartitionSpec | None,
):
  # Beside a frozen matrix the activations need not be kept.
  saved = (
    x.value if w.perturbed else None,
    w.value if x.perturbed else None,
  )
  # Not `product`, which would hide its dot from what remat looks for.
  return _forward(x.value, w.value, axes, out_sharding), saved


def _backward(axes, out_sharding, saved, d_y):
  del out_sharding
  x, w = saved
  if isinstance(d_y, SymbolicZero):
    return None, None
  d_x = d_w = None
  first, second, *outer = _split(d_y)
  outer_axes = tuple(range(2, d_y.ndim))
  if w is not None:
    inner = _split(w)[: len(axes)]
    contracted = (outer_axes, tuple(range(len(axes), w.ndim)))
    d_x = jax.lax.dot_general(
      d_y,
      w,
      (contracted, ((), ())),
      out_sharding=PartitionSpec(first, second, *inner),
    )
    d_x = jnp.moveaxis(d_x, range(2, d_x.ndim), axes)
  if x is not None:
    inner = [_split(x)[axis] for axis in axes]
    kept = tuple(axis for axis in range(x.ndim) if axis not in axes)
    d_w = jax.lax.dot_general(
      x,
      d_y,
      ((kept, (0, 1)), ((), ())),
      out_sharding=PartitionSpec(*inner, *outer),
    )
  return d_x, d_w


def _split(x):
  """Which axes of the mesh each axis of an array is split over."""
  return tuple(jax.typeof(x).sharding.spec)


product.defvjp(_save, _backward, symbolic_zeros=True)
