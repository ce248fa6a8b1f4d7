"""What is exported loads in transformers and peft, and computes the same."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

safetensors_numpy = pytest.importorskip('safetensors.numpy')
torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')

from early_experience.hf import read, write  # noqa: E402
from early_experience.model import sharding, table  # noqa: E402
from early_experience.model.transformer import (  # noqa: E402
  hidden,
  output_head,
)
from early_experience.runtime.errors import UserError  # noqa: E402
from tests import hf_case, model_case  # noqa: E402
from tests.close import assert_exact  # noqa: E402
from tests.hf_case import imported  # noqa: E402, F401

TARGETS = ('q', 'o', 'gate', 'down')


def load_in_transformers(folder):
  """The model, after a look at what was found and what not."""
  model, report = transformers.AutoModelForCausalLM.from_pretrained(
    folder, output_loading_info=True, attn_implementation='eager'
  )
  assert {key: value for key, value in report.items() if value} == {}
  return model.eval()


def tensors_of(folder):
  return {
    name: value
    for path in folder.glob('*.safetensors')
    for name, value in safetensors_numpy.load_file(path).items()
  }


def test_an_export_loads_and_is_what_was_imported(imported, tmp_path):  # noqa: F811
  model, params, cfg, mesh = imported
  known = {'model_type': model.config.model_type}
  with jax.set_mesh(mesh):
    write.write_params(params, cfg, tmp_path / 'out', 'float32', known)
  model.save_pretrained(tmp_path / 'theirs')
  ours, theirs = map(tensors_of, (tmp_path / 'out', tmp_path / 'theirs'))
  assert set(ours) == set(theirs)
  for name, value in theirs.items():
    np.testing.assert_array_equal(ours[name], value, strict=True)
  assert type(load_in_transformers(tmp_path / 'out')) is type(model)


def test_full_attention_in_every_layer_runs(tmp_path):
  """Transformers asks a Gemma 3 for a window that no layer has."""
  model = hf_case.make_model('gemma3', layer_types=['full_attention'] * 4)
  model.save_pretrained(tmp_path / 'theirs')
  params, cfg, mesh = hf_case.load(tmp_path / 'theirs')
  with jax.set_mesh(mesh):
    write.write_params(params, cfg, tmp_path / 'out', 'float32', {})
  again = load_in_transformers(tmp_path / 'out')
  np.testing.assert_array_equal(their_logits(again), their_logits(model))


@pytest.mark.parametrize('name', ['qwen2', 'gemma3'])
def test_a_tied_head_that_is_stored_loads_too(tmp_path, name):
  model = hf_case.make_model(name)
  model.save_pretrained(tmp_path / 'theirs')
  params, cfg, mesh = hf_case.load(tmp_path / 'theirs')
  assert cfg.tied
  with jax.set_mesh(mesh):
    known = {'head': True}
    write.write_params(params, cfg, tmp_path / 'out', 'float32', known)
  assert 'lm_head.weight' in tensors_of(tmp_path / 'out')
  again = load_in_transformers(tmp_path / 'out')
  np.testing.assert_array_equal(their_logits(again), their_logits(model))


def save_with_images(folder):
  """A Gemma 3 that sees images too; returns its text model."""
  text = hf_case.make_model('gemma3')
  config = transformers.Gemma3Config(
    text_config=text.config.to_dict(),
    vision_config={
      'hidden_size': 16,
      'intermediate_size': 16,
      'num_hidden_layers': 1,
      'num_attention_heads': 2,
      'image_size': 28,
      'patch_size': 14,
    },
    mm_tokens_per_image=1,
    image_token_index=2,
  )
  both = transformers.Gemma3ForConditionalGeneration(config)
  both.model.language_model.load_state_dict(text.model.state_dict())
  both.save_pretrained(folder)
  return text


def test_the_text_model_of_one_that_sees_images(tmp_path):
  text = save_with_images(tmp_path / 'both')
  text.save_pretrained(tmp_path / 'text')
  assert any('vision_tower' in name for name in tensors_of(tmp_path / 'both'))
  params, cfg, _ = hf_case.load(tmp_path / 'both')
  alone, same_cfg, _ = hf_case.load(tmp_path / 'text')
  assert cfg == same_cfg
  jax.tree.map(np.testing.assert_array_equal, *jax.device_get((params, alone)))
  tensors = tensors_of(tmp_path / 'both')
  path = next((tmp_path / 'both').glob('*.safetensors'))
  twice = {'model.norm.weight': np.zeros(48, np.float32)}
  safetensors_numpy.save_file(tensors | twice, path)
  with pytest.raises(UserError, match='has both .*norm.weight and .*norm.weig'):
    read.matched(tmp_path / 'both', cfg)
  tensors['audio_tower.weight'] = np.zeros(3, np.float32)
  safetensors_numpy.save_file(tensors, path)
  with pytest.raises(UserError, match='audio_tower.weight is unknown'):
    read.matched(tmp_path / 'both', cfg)


@pytest.fixture(scope='module', params=['llama_linear_biased_tied', 'images'])
def adapted(request, tmp_path_factory):
  """(folder of the base, parameters with adapters, config, their logits)."""
  folder = tmp_path_factory.mktemp('base')
  if request.param == 'images':
    save_with_images(folder)
  else:
    hf_case.make_model(request.param).save_pretrained(folder)
  base, plain, mesh = hf_case.load(folder)
  cfg = dataclasses.replace(
    plain, lora_rank=3, lora_alpha=7.0, lora_targets=TARGETS
  )
  rng = np.random.default_rng(0)
  flat = table.flat(base)
  for path, row in table.table(cfg).items():
    if path not in flat:
      flat[path] = jnp.asarray(rng.normal(0, 0.2, row.shape), jnp.float32)
  with jax.set_mesh(mesh):
    params = jax.device_put(
      table.nested(flat), table.param_shardings(cfg, mesh)
    )
  return folder, params, cfg, mesh, logits_of(params, cfg, mesh)


def logits_of(params, cfg, mesh):
  tokens_BT = hf_case.tokens_of(2, 16)
  depth_BT, span_BT = model_case.flat(tokens_BT)
  batch = {'tokens': tokens_BT, 'depth': depth_BT, 'span': span_BT}

  @jax.jit
  def compute(params, batch):
    parts = (batch[key] for key in ('tokens', 'depth', 'span'))
    h_BTD = hidden(params, *parts, cfg)
    return jnp.einsum('btd,vd->btv', h_BTD, output_head(params, cfg))

  with jax.enable_x64(), jax.set_mesh(mesh):
    params, cfg = hf_case.doubled_params(params, cfg)
    return np.asarray(compute(params, sharding.put_batch(batch, mesh)))


def their_logits(model):
  tokens = torch.tensor(hf_case.tokens_of(2, 16), dtype=torch.long)
  with hf_case.float64(), torch.no_grad():
    return model.double()(tokens).logits.numpy()


def test_adapters_are_merged(adapted, tmp_path):
  base, params, cfg, mesh, logits_BTV = adapted
  with jax.enable_x64(), jax.set_mesh(mesh):
    params, cfg = hf_case.doubled_params(params, cfg)
    write.write_params(params, cfg, tmp_path / 'out', 'float64', {})
  model = hf_case.doubled(load_in_transformers(tmp_path / 'out'))
  assert_exact(their_logits(model), logits_BTV)
  plain = hf_case.doubled(load_in_transformers(base))
  assert np.abs(their_logits(plain) - logits_BTV).max() > 0.1


def test_adapters_load_in_peft(adapted, tmp_path):
  peft = pytest.importorskip('peft')
  base, params, cfg, mesh, logits_BTV = adapted
  with jax.set_mesh(mesh):
    write.write_adapters(params, cfg, tmp_path / 'out', read.facts(base))
  model = peft.PeftModel.from_pretrained(
    hf_case.doubled(load_in_transformers(base)), tmp_path / 'out'
  ).eval()
  assert_exact(their_logits(model), logits_BTV)
  saved = json.loads((tmp_path / 'out' / 'adapter_config.json').read_text())
  assert saved['base_model_name_or_path'] == str(base)
  names = set(tensors_of(tmp_path / 'out'))
  theirs = {
    name.replace('.default', '')
    for name, _ in model.named_parameters()
    if 'lora' in name
  }
  assert names == theirs


def test_there_must_be_adapters_to_write(adapted, tmp_path):
  _, params, cfg, *_ = adapted
  plain = dataclasses.replace(cfg, lora_rank=0)
  with pytest.raises(UserError, match='no adapters: config.model.lora_rank'):
    write.write_adapters(params, plain, tmp_path / 'out', {})


def test_what_float16_does_not_hold_is_not_written(adapted, tmp_path):
  _, params, cfg, mesh, _ = adapted
  large = table.nested(table.flat(params) | {'norm': params['norm'] + 1e5})
  with jax.set_mesh(mesh):
    with pytest.raises(UserError, match='model.norm.weight has values that fl'):
      write.write_params(large, cfg, tmp_path / 'out', 'float16', {})
    write.write_params(large, cfg, tmp_path / 'out', 'bfloat16', {})
