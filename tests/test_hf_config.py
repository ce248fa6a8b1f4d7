"""config.json of every family: what it says, what it leaves out, what not."""

import pytest

from early_experience import config as config_lib
from early_experience.hf import architecture, families
from early_experience.model import config as model_config
from early_experience.runtime.errors import UserError

LLAMA3 = {
  'rope_type': 'llama3',
  'factor': 32.0,
  'low_freq_factor': 1.0,
  'high_freq_factor': 4.0,
  'original_max_position_embeddings': 8192,
}
# As published, but for what nothing here depends on.
LLAMA3_2_3B = {
  'model_type': 'llama',
  'attention_bias': False,
  'bos_token_id': 128000,
  'eos_token_id': [128001, 128008, 128009],
  'head_dim': 128,
  'hidden_act': 'silu',
  'hidden_size': 3072,
  'intermediate_size': 8192,
  'max_position_embeddings': 131072,
  'mlp_bias': False,
  'num_attention_heads': 24,
  'num_hidden_layers': 28,
  'num_key_value_heads': 8,
  'rms_norm_eps': 1e-05,
  'rope_scaling': LLAMA3,
  'rope_theta': 500000.0,
  'tie_word_embeddings': True,
  'torch_dtype': 'bfloat16',
  'vocab_size': 128256,
}
QWEN2_5_7B = {
  'model_type': 'qwen2',
  'hidden_act': 'silu',
  'hidden_size': 3584,
  'intermediate_size': 18944,
  'max_position_embeddings': 32768,
  'max_window_layers': 28,
  'num_attention_heads': 28,
  'num_hidden_layers': 28,
  'num_key_value_heads': 4,
  'rms_norm_eps': 1e-06,
  'rope_theta': 1000000.0,
  'sliding_window': 131072,
  'tie_word_embeddings': False,
  'use_sliding_window': False,
  'vocab_size': 152064,
}
GEMMA3_4B = {
  'model_type': 'gemma3',
  'eos_token_id': [1, 106],
  'text_config': {
    'hidden_size': 2560,
    'intermediate_size': 10240,
    'model_type': 'gemma3_text',
    'num_hidden_layers': 34,
    'rope_scaling': {'factor': 8.0, 'rope_type': 'linear'},
    'sliding_window': 1024,
  },
  'torch_dtype': 'bfloat16',
  'vision_config': {'hidden_size': 1152},
}


def read(source, **changes):
  return architecture.fields_of(source | changes)


def cfg_of(fields, **changes):
  settings = config_lib.model()
  settings.update(fields, max_tokens=99)
  settings.update(changes)
  return model_config.from_config(settings, settings.vocab_size)


def plain(**changes):
  """The fields of a Llama with the family's defaults."""
  settings = config_lib.model().to_dict()
  fields = {
    key: settings[key] for key in settings if key not in model_config.ADDED
  }
  return fields | changes


def test_llama_3_2():
  assert read(LLAMA3_2_3B) == plain(
    vocab_size=128256,
    layers=28,
    embed=3072,
    heads=24,
    kv_heads=8,
    head_dim=128,
    mlp=8192,
    norm_eps=1e-5,
    rope_theta=500_000.0,
    rope_scaling='llama3',
    rope_factor=32.0,
    rope_original_tokens=8192,
    tied=True,
  )


def test_qwen2_5():
  assert read(QWEN2_5_7B) == plain(
    vocab_size=152064,
    layers=28,
    embed=3584,
    heads=28,
    kv_heads=4,
    head_dim=128,
    mlp=18944,
    rope_theta=1e6,
    qkv_bias=True,
    tied=False,
  )


def test_gemma_3_and_the_images_it_may_see():
  fields = plain(
    vocab_size=262_208,
    layers=34,
    embed=2560,
    heads=8,
    kv_heads=4,
    head_dim=256,
    mlp=10240,
    rope_theta=1e6,
    rope_scaling='linear',
    rope_factor=8.0,
    window=1024,
    global_every=6,
    rope_theta_local=10_000.0,
    norm_offset=True,
    post_norms=True,
    qk_norm=True,
    embed_scale=True,
    activation='gelu_tanh',
    tied=True,
  )
  assert read(GEMMA3_4B) == fields
  assert read(GEMMA3_4B['text_config']) == fields


def test_old_and_new_keys_of_rope_say_the_same():
  old = LLAMA3_2_3B
  new = {key: old[key] for key in old if not key.startswith('rope')}
  new['rope_parameters'] = LLAMA3 | {'rope_theta': 500000.0}
  assert read(old) == read(new)
  # Older still: `type`, and no length before scaling.
  named = LLAMA3 | {'type': 'llama3'}
  del named['rope_type'], named['original_max_position_embeddings']
  assert read(old, rope_scaling=named) == read(old) | {
    'rope_original_tokens': 131072
  }
  old = GEMMA3_4B['text_config'] | {'rope_local_base_freq': 7.0}
  new = {key: old[key] for key in old if not key.startswith('rope')}
  new['rope_parameters'] = {
    'full_attention': old['rope_scaling'] | {'rope_theta': 1e6},
    'sliding_attention': {'rope_type': 'default', 'rope_theta': 7.0},
  }
  assert read(old) == read(new)


@pytest.mark.parametrize('name', families.FAMILIES)
def test_what_is_left_out_means_what_it_means_in_transformers(name):
  transformers = pytest.importorskip('transformers')
  theirs = transformers.AutoConfig.for_model(name).to_dict()
  assert read({'model_type': name}) == read(theirs)


@pytest.mark.parametrize(
  'layers, every, pattern',
  [(5, 2, 'LGLGL'), (4, 4, 'LLLG'), (3, 4, 'LLL'), (3, 1, 'GGG')],
)
def test_layer_types_are_a_period(layers, every, pattern):
  names = {'L': 'sliding_attention', 'G': 'full_attention'}
  source = GEMMA3_4B['text_config'] | {'num_hidden_layers': layers}
  fields = read(source, layer_types=[names[letter] for letter in pattern])
  assert fields['global_every'] == every
  assert fields['window'] == (1024 if every > 1 else 0)


@pytest.mark.parametrize(
  'source',
  [
    LLAMA3_2_3B,
    QWEN2_5_7B,
    GEMMA3_4B,
    LLAMA3_2_3B | {'attention_bias': True, 'mlp_bias': True},
    {'model_type': 'qwen3', 'attention_bias': True, 'head_dim': 64},
    GEMMA3_4B['text_config'] | {'query_pre_attn_scalar': 168},
    GEMMA3_4B['text_config'] | {'attn_logit_softcapping': 50.0},
    GEMMA3_4B['text_config'] | {'final_logit_softcapping': 30.0},
  ],
)
def test_what_is_written_reads_back(source):
  fields = read(source)
  written = architecture.write(cfg_of(fields), {}, 'bfloat16')
  assert architecture.fields_of(written) == fields


def test_an_export_says_what_its_source_said():
  cfg = cfg_of(read({'model_type': 'qwen3'}))
  assert architecture.write(cfg, {}, 'float32')['max_position_embeddings'] == 99
  known = {'eos_token_id': [3, 4], 'max_position_embeddings': 40960}
  written = architecture.write(cfg, known | {'path': '/x'}, 'float32')
  assert known.items() <= written.items()
  assert written['architectures'] == ['Qwen3ForCausalLM']
  assert 'path' not in written and 'bos_token_id' not in written


def test_adapters_and_how_it_is_computed_are_no_part_of_an_export():
  fields = read(LLAMA3_2_3B)
  plain, other = (
    architecture.write(cfg_of(fields, **changes), {}, 'float32')
    for changes in ({}, {'lora_rank': 4, 'remat': 'full', 'query_scale': 128.0})
  )
  assert plain == other


def test_no_family_has_it():
  cfg = cfg_of(read(LLAMA3_2_3B), qk_norm=True, mlp_bias=True)
  with pytest.raises(
    UserError, match='llama does not have config.model.qk_norm'
  ):
    architecture.write(cfg, {}, 'float32')


@pytest.mark.parametrize(
  'changes, message',
  [
    (
      {'model_type': 'mamba'},
      "'mamba' is not supported; .*llama, qwen2, .*gemma3",
    ),
    ({'model_type': None}, 'model_type None is not supported'),
    (
      {'rope_scaling': {'type': 'yarn', 'factor': 4.0}},
      "rope type 'yarn' is not supported; there are: default, linear, llama3",
    ),
    ({'rope_scaling': {'rope_type': 'linear'}}, "'linear' lacks factor"),
    ({'partial_rotary_factor': 0.5}, 'partial_rotary_factor is not supported'),
    ({'hidden_act': 'relu'}, "hidden_act 'relu' is not supported; .*silu"),
    (
      {'quantization_config': {'quant_method': 'gptq'}},
      r'quantised weights \(gptq\) are not supported',
    ),
    ({'hidden_size': '3072'}, "embed = '3072' is not of type int"),
    ({'hidden_size': 30.5}, 'embed = 30.5 is not of type int'),
    ({'tie_word_embeddings': 1}, 'tied = 1 is not of type bool'),
    ({'rope_theta': True}, 'rope_theta = True is not of type float'),
    ({'rope_scaling': 'linear'}, "rope_scaling = 'linear' is not an object"),
    ({'num_attention_heads': None}, 'heads = None is not of type int'),
    ({'hidden_act': ['silu']}, 'of the wrong type: unhashable'),
    ({'model_type': ['llama']}, 'of the wrong type: unhashable'),
  ],
)
def test_what_is_not_supported_is_named(changes, message):
  with pytest.raises(UserError, match=f'config.json: .*{message}'):
    read(LLAMA3_2_3B, **changes)


@pytest.mark.parametrize(
  'source, changes, message',
  [
    (
      QWEN2_5_7B,
      {'use_sliding_window': True, 'max_window_layers': 27},
      'use_sliding_window = True is not supported where layers slide',
    ),
    (GEMMA3_4B, {'text_config': 4}, 'text_config = 4 is not an object'),
    (
      GEMMA3_4B,
      {'quantization_config': {'quant_method': 'bitsandbytes'}},
      r'quantised weights \(bitsandbytes\)',
    ),
    (
      GEMMA3_4B['text_config'],
      {'use_bidirectional_attention': True},
      'use_bidirectional_attention = True',
    ),
    (
      GEMMA3_4B['text_config'],
      {'layer_types': ['full_attention', 'sliding_attention'] * 17},
      'layer_types is not supported: .* every n-th of 34',
    ),
    (
      GEMMA3_4B['text_config'],
      {'rope_parameters': {'sliding_attention': {'rope_type': 'linear'}}},
      "'linear' of sliding_attention layers is not supported",
    ),
  ],
)
def test_what_a_family_could_say_but_is_not_computed(source, changes, message):
  with pytest.raises(UserError, match=message):
    read(source, **changes)
