"""Imported models compute what transformers computes, family by family."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('transformers')

from early_experience.hf import names  # noqa: E402
from early_experience.model import sharding, table  # noqa: E402
from early_experience.model.transformer import (  # noqa: E402
  hidden,
  output_head,
)
from early_experience.training import loss  # noqa: E402
from tests import hf_case, model_case  # noqa: E402
from tests.close import assert_exact  # noqa: E402
from tests.hf_case import imported  # noqa: E402, F401

ROWS, T = 2, 24


def batch_of(tokens_BT):
  depth_BT, span_BT = model_case.flat(tokens_BT)
  weights_BTO = np.zeros((*tokens_BT.shape, 1))
  weights_BTO[:, 1:] = 1 / (ROWS * (T - 1))
  return {
    'tokens': tokens_BT,
    'depth': depth_BT,
    'span': span_BT,
    'back': np.minimum(depth_BT, 1),
    'weights': weights_BTO,
  }


@pytest.fixture(autouse=True)
def float64():
  with hf_case.float64():
    yield


def test_logits_and_gradients(imported):  # noqa: F811
  model, params, cfg, mesh = imported
  model = hf_case.doubled(model)
  with jax.set_mesh(mesh):
    params, cfg = hf_case.doubled_params(params, cfg)
  tokens_BT = hf_case.tokens_of(ROWS, T)

  @jax.jit
  def compute(params, batch):
    mean_nll = lambda p: loss.sums(p, batch, cfg).nll_O[0]
    arguments = (batch[key] for key in ('tokens', 'depth', 'span'))
    h_BTD = hidden(params, *arguments, cfg)
    logits_BTV = jnp.einsum('btd,vd->btv', h_BTD, output_head(params, cfg))
    if cfg.logit_softcap:
      cap = cfg.logit_softcap
      logits_BTV = cap * jnp.tanh(logits_BTV / cap)
    return logits_BTV, jax.grad(mean_nll)(params)

  with jax.set_mesh(mesh):
    batch = sharding.put_batch(batch_of(tokens_BT), mesh)
    logits_BTV, gradients = jax.device_get(compute(params, batch))

  theirs = torch.tensor(tokens_BT, dtype=torch.long)
  result = model(theirs, labels=theirs)
  result.loss.backward()
  want_BTV = result.logits.detach().numpy()
  assert np.abs(want_BTV).max() > 1
  assert_exact(logits_BTV, want_BTV)

  want = {name: p.grad.numpy() for name, p in model.named_parameters()}
  gradients = table.flat(gradients)
  for tensor in names.tensors(cfg):
    ours = gradients[tensor.path]
    ours = tensor.to_stored(
      ours if tensor.layer is None else ours[tensor.layer]
    )
    expected = want.pop(tensor.name)
    assert np.abs(expected).max() > 0, tensor.name
    assert_exact({tensor.name: ours}, {tensor.name: expected})
  assert want == {}
