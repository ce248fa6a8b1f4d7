"""Sums of all bits of trees of arrays, by which what was saved is known again.

A file that was damaged may still be read without an error.
"""

import jax
import jax.numpy as jnp


def of(**trees: dict) -> dict[str, int]:
  """The sum modulo 2^32 of all words of each tree: the same on any mesh."""
  return {name: int(_sum(tree)) for name, tree in trees.items()}


def difference(saved: dict[str, int], **trees: dict) -> str:
  """Names the first tree whose sum is not what was saved; '' where all are.

  Args:
    saved: from `of`.
    trees: some of those.
  """
  for name, value in of(**trees).items():
    if value != saved[name]:
      return f'{name} are not what was saved'
  return ''


@jax.jit
def _sum(tree):
  def words(x):
    word = jnp.uint16 if x.dtype.itemsize == 2 else jnp.uint32
    x = jax.lax.bitcast_convert_type(x, word)  # of float64 two a number
    return jnp.sum(x.astype(jnp.uint32), dtype=jnp.uint32)

  return sum(map(words, jax.tree.leaves(tree)), jnp.uint32(0))
