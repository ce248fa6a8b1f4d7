"""Imported models compute what transformers computes, family by family."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('transformers')

from early_experience.model import table  # noqa: E402
from early_experience.model.transformer import hidden  # noqa: E402
from early_experience.training import loss  # noqa: E402
from tests import hf_case, model_case  # noqa: E402

ROWS, T = 2, 24


@pytest.fixture(scope='module', params=hf_case.CASES)
def case(request, tmp_path_factory):
  model = hf_case.make_model(request.param)
  folder = tmp_path_factory.mktemp(request.param)
  model.save_pretrained(folder)
  return model, *hf_case.load(folder)


def test_logits(case):
  model, params, cfg, mesh = case
  tokens_BT = hf_case.tokens_of(ROWS, T)
  print(cfg)
  with torch.no_grad():
    want = model(torch.tensor(tokens_BT, dtype=torch.long)).logits.numpy()
  from early_experience.model.transformer import output_head

  with jax.set_mesh(mesh):

    @jax.jit
    def f(params):
      h = hidden(
        params,
        jnp.asarray(tokens_BT),
        *map(jnp.asarray, model_case.flat(tokens_BT)),
        cfg,
      )
      l = jnp.einsum('btd,vd->btv', h, output_head(params, cfg))
      if cfg.logit_softcap:
        l = cfg.logit_softcap * jnp.tanh(l / cfg.logit_softcap)
      return l

    got = np.asarray(f(params))
  print(np.abs(want).max(), np.abs(want - got).max())
  np.testing.assert_allclose(got, want, atol=1e-4)
