"""Kernels for Hopper GPUs: interpreted, and lowered for a GPU not here."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from early_experience.model import attention_hopper
from early_experience.model.attention import sees
from early_experience.model.visible import Seen
from tests.test_tree_attention import assert_close, rows_of

TOKENS, BLOCK = 256, 128


def seen_of(depth, span, reach):
  last = np.arange(TOKENS, dtype=np.int32)[None] + span - 1
  depth = jnp.asarray(depth) if reach else None
  seen = Seen(jnp.asarray(last), depth, reach and jnp.int32(reach))
  return seen.replace(lists=attention_hopper.lists(seen, BLOCK))


@functools.partial(jax.jit, static_argnums=(2, 3))
def by_kernels(heads, rows, reach, softcap):
  """Output, and gradients of its sum with a cotangent; a group of queries."""
  q, k, v, cotangent = heads
  seen = seen_of(*rows, reach)
  out, log_total = attention_hopper.forward(q, k, v, seen, BLOCK, softcap)
  common = (cotangent * out).astype(jnp.float32).sum(-1)
  return out, *attention_hopper.backward(
    q, k, v, seen, log_total, common, cotangent, BLOCK, softcap
  )


def by_all_scores(heads, rows, reach, softcap):
  q, k, v, cotangent = (x.astype(jnp.float32) for x in heads)
  depth, span = rows
  visible = sees(span, (depth, reach) if reach else None)

  def dense(q, k, v):
    score = jnp.einsum('bkgth,bksh->bkgts', q, k)
    if softcap:
      score = softcap * jnp.tanh(score / softcap)
    score = jnp.where(visible[:, None, None], score, -1e30)
    return jnp.einsum('bkgts,bksh->bkgth', jax.nn.softmax(score), v)

  out, back = jax.vjp(dense, q, k, v)
  return out, *back(cotangent)


def heads_of(dtype, size):
  rng = np.random.default_rng(0)
  make = lambda *shape: jnp.asarray(rng.normal(size=shape), dtype)
  q, cotangent = (make(1, 1, 2, TOKENS, size) for _ in range(2))
  k, v = (make(1, 1, TOKENS, size) for _ in range(2))
  return q * size**-0.5, k, v, cotangent


@pytest.mark.slow  # interpreted thread by thread
@pytest.mark.parametrize(
  'dtype, share, reach, softcap',
  [
    ('float32', 1e-5, None, 0.0),
    ('float32', 1e-5, 40, 2.0),
    ('bfloat16', 2e-2, None, 0.0),
  ],
)
def test_they_equal_all_scores_at_once(dtype, share, reach, softcap):
  rows = rows_of(TOKENS, (180, 60, 1, 9))
  heads = heads_of(dtype, 8)
  got = by_kernels(heads, rows, reach, softcap)
  want = by_all_scores(heads, rows, reach, softcap)
  assert_close(got, want, share)


@pytest.mark.parametrize(
  'size, reach, softcap', [(64, 40, 2.0), (128, None, 0)]
)
def test_they_lower_for_a_gpu_that_is_not_here(
  size, reach, softcap, monkeypatch
):
  monkeypatch.setattr(attention_hopper, '_on_gpu', lambda: True)
  heads = heads_of('bfloat16', size)
  rows = rows_of(TOKENS, (180, 60, 1, 9))
  traced = by_kernels.trace(heads, rows, reach, softcap)
  text = traced.lower(lowering_platforms=('cuda',)).as_text()
  assert text.count('custom_call @mosaic_gpu') == 3  # forward, dq, dk and dv
