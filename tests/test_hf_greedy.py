"""Imported models write what they write in transformers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('transformers')

from early_experience.decoding import decode  # noqa: E402
from tests import hf_case  # noqa: E402
from tests.hf_case import imported  # noqa: E402, F401

ROWS, PROMPT, NEW = 2, 9, 64


@pytest.fixture(autouse=True)
def float64():  # where two tokens are never as likely as each other
  with hf_case.float64():
    yield


FEW = 'qwen2', 'gemma3_capped'  # all that decoding does differently


@pytest.mark.parametrize(
  'imported',
  [
    pytest.param(case, marks=() if case in FEW else pytest.mark.slow)
    for case in hf_case.CASES
  ],
  indirect=True,
  scope='module',
)
def test_greedy_continuation(imported):  # noqa: F811
  model, params, cfg, mesh = imported
  model = hf_case.doubled(model)
  prompts_BT = hf_case.tokens_of(ROWS, PROMPT, seed=1)
  never = cfg.vocab_size  # a stop id that no row says
  with jax.set_mesh(mesh):
    params, cfg = hf_case.doubled_params(params, cfg)
    cache = decode.init_cache(cfg, ROWS, PROMPT + NEW + 1)
    counts_B = jnp.full(ROWS, PROMPT, jnp.int32)
    logits_BV, cache = decode.extend(
      params, cache, jnp.asarray(prompts_BT), counts_B, cfg
    )
    ours_BM, *_ = decode.generate(
      params,
      cache,
      logits_BV,
      jax.random.key(0),
      np.ones(ROWS, bool),
      cfg=cfg,
      stop_ids=(never,),
      vocab=cfg.vocab_size,
      max_tokens=NEW + 1,
      temperature=0.0,
    )
  model.generation_config.eos_token_id = None
  theirs_BT = model.generate(
    torch.tensor(prompts_BT, dtype=torch.long),
    max_new_tokens=NEW,
    do_sample=False,
  ).numpy()
  assert len(np.unique(theirs_BT[:, PROMPT:])) > 8
  np.testing.assert_array_equal(ours_BM[:, :NEW], theirs_BT[:, PROMPT:])
