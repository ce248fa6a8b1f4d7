"""Tiny random checkpoints of every family, as transformers saves them."""

import contextlib
import copy
import dataclasses

import jax
import numpy as np
import pytest
import torch
import transformers
from transformers.models.gemma3 import modeling_gemma3

from early_experience import config as config_lib
from early_experience.hf import architecture, read
from early_experience.model import config as model_config
from tests.close import FLOAT64
from tests.model_case import make_mesh

VOCAB, WINDOW = 96, 6
_SIZES = {
  'vocab_size': VOCAB,
  'hidden_size': 48,
  'intermediate_size': 80,
  'num_hidden_layers': 3,
  'num_attention_heads': 4,
  'num_key_value_heads': 2,
  'initializer_range': 0.15,
  'max_position_embeddings': 256,
  'bos_token_id': 1,
  'eos_token_id': 2,
  'pad_token_id': 0,
}
_LLAMA3 = {
  'rope_type': 'llama3',
  'factor': 8.0,
  'low_freq_factor': 1.0,
  'high_freq_factor': 4.0,
  'original_max_position_embeddings': 32,
}
# Each differs from the others where a mistake could hide.
CASES = {
  'llama3': (
    'llama',
    {
      'rope_theta': 500.0,
      'rope_scaling': _LLAMA3,
      'rms_norm_eps': 1e-5,
      'head_dim': 16,
    },
  ),
  'llama_linear_biased_tied': (
    'llama',
    {
      'rope_scaling': {'rope_type': 'linear', 'factor': 4.0},
      'attention_bias': True,
      'mlp_bias': True,
      'tie_word_embeddings': True,
      'num_key_value_heads': 4,
      'rms_norm_eps': 1e-2,
    },
  ),
  'llama2': ('llama', {'rope_theta': 10_000.0, 'num_key_value_heads': 1}),
  'qwen2': (
    'qwen2',
    {'rope_theta': 1e6, 'tie_word_embeddings': True, 'head_dim': 12},
  ),
  'qwen3': ('qwen3', {'rope_theta': 1e5, 'head_dim': 8, 'rms_norm_eps': 1e-3}),
  'gemma3': (
    'gemma3_text',
    {
      'num_hidden_layers': 4,
      'head_dim': 16,
      'query_pre_attn_scalar': 24,
      'sliding_window': WINDOW,
      'sliding_window_pattern': 2,
      'rope_theta': 1e6,
      'rope_local_base_freq': 100.0,
      'rope_scaling': {'rope_type': 'linear', 'factor': 8.0},
    },
  ),
  'gemma3_capped': (
    'gemma3_text',
    {
      'head_dim': 12,
      'query_pre_attn_scalar': 12,
      'sliding_window': WINDOW,
      'sliding_window_pattern': 3,
      'final_logit_softcapping': 5.0,
      'attn_logit_softcapping': 2.0,
      'attention_bias': True,
      'tie_word_embeddings': False,
      'num_key_value_heads': 1,
    },
  ),
}

# transformers 5.23 reads attn_logit_softcapping for Gemma 3, but its attention
# takes the cap as an argument that the layer forgets to pass.
_eager = modeling_gemma3.eager_attention_forward
modeling_gemma3.eager_attention_forward = lambda module, *arrays, **settings: (
  _eager(module, *arrays, softcap=module.attn_logit_softcapping, **settings)
)


def make_model(case, seed=0, **changes):
  """A model of transformers; no norm is 1 and no bias 0."""
  name, settings = CASES[case]
  config = transformers.AutoConfig.for_model(
    name, **_SIZES | settings | changes
  )
  torch.manual_seed(seed)
  model = transformers.AutoModelForCausalLM.from_config(
    config, attn_implementation='eager', dtype=torch.float32
  ).eval()
  with torch.no_grad():
    for path, parameter in model.named_parameters():
      if parameter.ndim == 1:
        parameter += 0.3 * torch.randn_like(parameter)
        if 'post_feedforward' in path:  # as the next, for Gemma
          parameter += 4
      elif 'layers' in path:
        parameter *= 2  # else a tied head says the last token again
  return model


def config_of(folder, **changes):
  """The ModelConfig of a checkpoint."""
  settings = config_lib.model()
  settings.update(architecture.read(folder))
  settings.update(changes)
  return model_config.from_config(settings, settings.vocab_size)


def load(folder, sizes=(1, 1, 1), **changes):
  """(parameters, their config, their mesh) of a checkpoint."""
  cfg, mesh = config_of(folder, **changes), make_mesh(*sizes)
  return read.read_params(folder, cfg, mesh), cfg, mesh


@contextlib.contextmanager
def float64():
  """Both compute in float64: transformers where it names float32, too."""
  float32 = torch.float32
  with jax.enable_x64(), pytest.MonkeyPatch.context() as patch:
    patch.setattr(torch, 'float32', torch.float64)
    patch.setattr(torch, 'float', torch.float64)
    patch.setattr(torch.Tensor, 'float', torch.Tensor.double)
    torch.set_default_dtype(torch.float64)  # of what a model computes at first
    try:
      yield
    finally:
      torch.set_default_dtype(float32)


def doubled(model):
  """The same model in float64, to be called under `float64()`."""
  config = copy.deepcopy(model.config)
  parts = [getattr(config, name) for name in config.sub_configs]
  with float64():
    for part in (config, *parts):
      part.dtype = torch.float64
    twin = type(model)(config).double().eval()
    twin.load_state_dict(model.state_dict())
  return twin


def doubled_params(params, cfg):
  """(parameters, config) of the same numbers in float64."""
  params = jax.tree.map(lambda x: x.astype(FLOAT64['param_dtype']), params)
  return params, dataclasses.replace(cfg, **FLOAT64)


def tokens_of(rows, length, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(3, VOCAB, (rows, length)).astype(np.int32)


def to_numpy(tree):
  return jax.tree.map(np.asarray, jax.device_get(tree))


@pytest.fixture(scope='module', params=CASES)
def imported(request, tmp_path_factory):
  """(model, our parameters, their config, their mesh) of every case."""
  model = make_model(request.param)
  folder = tmp_path_factory.mktemp(request.param)
  model.save_pretrained(folder)
  return model, *load(folder)
