"""What the decoder compiles: one layer, and nothing as large as its cache."""

import jax
import numpy as np
import pytest

from early_experience.decoding import decode
from tests.decode_case import STOP, B, T
from tests.model_case import VOCAB, make_cfg, make_mesh, make_params


@pytest.fixture(autouse=True)
def mesh():
  with jax.set_mesh(make_mesh()):
    yield


def programs(cfg, capacity):
  """What `extend` and `generate` are compiled from."""
  params = jax.eval_shape(lambda: make_params(cfg))
  cache = decode.init_cache(cfg, B, capacity)
  zeros_B = np.zeros(B, np.int32)
  texts = np.zeros((B, T), np.int32)
  held = params, cache.k, cache.v, cache.length_B
  yield decode._extend.lower(*held, texts, zeros_B, cfg=cfg)
  yield decode._generate.lower(
    *held,
    np.zeros((B, VOCAB), cfg.dtype),
    jax.random.key(0),
    zeros_B == 0,
    1.0,
    None,
    cfg=cfg,
    stop_ids=(STOP,),
    vocab=VOCAB,
    max_tokens=8,
    greedy=False,
  )


def test_a_deeper_model_is_no_larger_program():
  few, many = (
    [len(lowered.as_text().splitlines()) for lowered in programs(cfg, 32)]
    for cfg in (make_cfg(layers=2), make_cfg(layers=9))
  )
  assert few == many


def test_nothing_has_the_size_of_the_cache_but_the_cache():
  """It is not copied, and what a call needs follows from what is held."""
  cfg, capacity = make_cfg(), 8192
  nbytes = decode.init_cache(cfg, B, capacity).k.nbytes
  for lowered in programs(cfg, capacity):
    memory = lowered.compile().memory_analysis()
    assert memory.alias_size_in_bytes >= 2 * nbytes
    assert memory.temp_size_in_bytes < nbytes / 2
