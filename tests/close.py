"""How near two ways to one number must come, on every machine.

A CPU chooses in which order it sums: by the width of its vectors, its threads,
its fused products. In float32 each order rounds by 6e-8 times the sum of all
*absolute* contributions. Where these cancel no share of the result bounds that,
and a tolerance found by trying holds where it was tried. So what is equal by
mathematics is computed in float64, under `jax.enable_x64()`, where the same
rounding is 1e-16 and 1e-10 leaves room for any cancellation, but for no term
that is left out, counted twice or cast to float32 on its way. What must stay in
a narrower dtype is bound by the size of what was added up.
"""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np

FLOAT64 = {'dtype': 'float64', 'param_dtype': 'float64'}  # of a model


@contextlib.contextmanager
def float64_in_all_threads():
  """`jax.enable_x64()` for what restores checkpoints: orbax has threads."""
  jax.config.update('jax_enable_x64', True)
  try:
    yield
  finally:
    jax.config.update('jax_enable_x64', False)


def in_float64(config):
  """The config of a training, made to keep and compute all in float64."""
  config.model.update(FLOAT64)
  config.train.optimizer_dtype = 'float64'
  return config


def assert_exact(got, want, share=1e-10):
  """Trees of float64 are equal, to a share of each array's largest number."""
  for path, a, b in _pairs(got, want):
    assert a.dtype == b.dtype == np.float64, (path, a.dtype, b.dtype)
    most = np.abs(b).max(initial=0)
    np.testing.assert_allclose(a, b, rtol=0, atol=share * most, err_msg=path)


def assert_rounded(got, want, size, dtype='float32', roundings=16):
  """Trees are equal but for some roundings of numbers of this size.

  Args:
    got: arrays or numbers.
    want: the same, at best in float64.
    size: the sum of the absolute values of what was added up: a number, or a
      tree like `want`.
    dtype: in which `got` was computed.
    roundings: how many of that size there may be.
  """
  step = float(jnp.finfo(dtype).eps)
  if not isinstance(size, dict | list | tuple):
    size = jax.tree.map(lambda _: size, want)
  bounds = jax.tree.leaves(size)
  for (path, a, b), most in zip(_pairs(got, want), bounds, strict=True):
    excess = np.abs(a.astype(float) - b) - roundings * step * np.asarray(most)
    assert (excess <= 0).all(), (path, a, b, roundings * step * most)


def _pairs(got, want):
  """(path, array, array) of two trees of one structure."""
  leaves, structure = jax.tree_util.tree_flatten_with_path(want)
  others = structure.flatten_up_to(got)
  for (path, b), a in zip(leaves, others, strict=True):
    yield jax.tree_util.keystr(path), np.asarray(a), np.asarray(b)
