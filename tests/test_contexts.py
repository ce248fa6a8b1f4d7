"""What a context is fed, and in which pieces."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from early_experience.decoding import decode
from early_experience.decoding.contexts import Contexts
from tests.model_case import VOCAB, make_cfg, make_mesh, make_params

WORDS = types.SimpleNamespace(stop_ids=(2,), vocab_size=VOCAB)


@pytest.fixture
def fed(monkeypatch):
  """What `decode.extend` is given: tokens of each row, and all arguments."""
  calls = []

  def extend(params, cache, tokens_BT, counts_B, cfg):
    rows = zip(np.asarray(tokens_BT), np.asarray(counts_B), strict=True)
    calls.append(([row[:count].tolist() for row, count in rows], params))
    sizes.append(tokens_BT.shape[1])
    return jnp.zeros((len(tokens_BT), VOCAB)), cache

  sizes = []
  monkeypatch.setattr(decode, 'extend', extend)
  with jax.set_mesh(make_mesh()):
    yield types.SimpleNamespace(calls=calls, sizes=sizes)


def make(rows, **changes):
  cfg = make_cfg(**changes)
  return Contexts(make_params(cfg), cfg, WORDS, make_mesh(), rows)


@pytest.mark.parametrize(
  ('tokens', 'sizes'),
  [(7, [16]), (30, [32]), (40, [32, 16]), (60, [64]), (300, [256, 32, 16])],
)
def test_no_piece_is_much_larger_than_what_is_left(fed, tokens, sizes):
  prompt = np.arange(tokens).tolist()
  make(1).read([prompt], patience=1.0)
  assert fed.sizes == sizes
  assert sum((texts[0] for texts, _ in fed.calls), []) == prompt


def test_what_is_held_is_not_fed_again(fed):
  contexts = make(2)
  contexts.read([[5, 6, 7], [8]], patience=1.0)
  contexts.read([[5, 6, 9, 10], None], patience=1.0)
  assert [texts for texts, _ in fed.calls] == [[[5, 6, 7], [8]], [[9, 10], []]]


def test_weights_are_in_the_compute_dtype_before_the_first_call(fed):
  contexts = make(1, dtype='bfloat16', param_dtype='float32')
  contexts.read([[5]], patience=1.0)
  ((_, params),) = fed.calls
  assert {x.dtype.name for x in jax.tree.leaves(params)} == {'bfloat16'}
