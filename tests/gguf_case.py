"""GGUF files as llama.cpp's converter makes them, of models of transformers."""

import gguf
import numpy as np

from tests import hf_case

# By llama.cpp's name of the family: a case of `hf_case`, what is changed of it
# so that the format can say it, and what the tokens' ids need.
CASES = {
  'llama': ('llama_linear_biased_tied', {'rms_norm_eps': 1e-5}),
  'llama3': (
    'llama3',
    {
      'head_dim': 64,
      'rope_theta': 500_000.0,
      'rope_scaling': {
        'rope_type': 'llama3',
        'factor': 8.0,
        'low_freq_factor': 1.0,
        'high_freq_factor': 4.0,
        'original_max_position_embeddings': 8192,
      },
    },
  ),
  'qwen2': ('qwen2', {}),
  'qwen3': ('qwen3', {}),
  'gemma3': (
    'gemma3',
    {
      'num_hidden_layers': 7,
      'sliding_window_pattern': 6,
      'query_pre_attn_scalar': 16,
      'rope_local_base_freq': 10_000.0,
    },
  ),
}
FIELDS = {
  'tokenizer.ggml.model': 'gpt2',
  'tokenizer.ggml.pre': 'smollm',
  'tokenizer.ggml.tokens': [f't{i}' for i in range(hf_case.VOCAB)],
  'tokenizer.ggml.token_type': [1] * hf_case.VOCAB,
  'tokenizer.ggml.merges': ['t 1'],
  'tokenizer.ggml.bos_token_id': 1,
  'tokenizer.ggml.eos_token_id': 2,
  'tokenizer.ggml.padding_token_id': 0,
  'tokenizer.chat_template': '{{ messages }}',
}


def make_model(case):
  """A model of transformers that a GGUF file can describe."""
  name, changes = CASES[case]
  return hf_case.make_model(name, **changes)


def write(model, path, without=(), quantised=(), **fields):
  """Writes a model as llama.cpp's converter does.

  Args:
    model: of transformers.
    path: of the file.
    without: names of tensors that are left out.
    quantised: names of tensors that are stored in 8 bits.
    **fields: in place of those that the file would have.
  """
  config, state = model.config, model.state_dict()
  name = config.model_type.removesuffix('_text')
  writer = gguf.GGUFWriter(path, fields.get('general.architecture', name))
  for key, value in _fields(config, name).items():
    _add(writer, fields.get(key, value), key)
  known = gguf.get_tensor_name_map(
    getattr(gguf.MODEL_ARCH, name.upper()), config.num_hidden_layers
  )
  for theirs, tensor in state.items():
    if config.tie_word_embeddings and theirs == 'lm_head.weight':
      continue
    there = known.get_name(theirs, ('.weight', '.bias'))
    array = tensor.numpy()
    if name == 'llama' and 'q_proj' in theirs:
      array = _interleaved(array, config.num_attention_heads)
    if name == 'llama' and 'k_proj' in theirs:
      array = _interleaved(array, config.num_key_value_heads)
    if name == 'gemma3' and theirs.endswith('norm.weight'):
      array = array + np.float32(1)
    if there in quantised:
      kind = gguf.GGMLQuantizationType.Q8_0
      writer.add_tensor(there, gguf.quantize(array, kind), raw_dtype=kind)
    elif there not in without:
      writer.add_tensor(there, array)
  if model.config.rope_parameters.get('rope_type') == 'llama3':
    writer.add_tensor('rope_freqs.weight', _factors(config.rope_parameters))
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()


def _interleaved(array, heads):
  """As llama.cpp turns pairs: neighbours, not halves of a head."""
  halves = array.reshape(heads, 2, -1, *array.shape[1:])
  return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(array.shape)


def _fields(config, name):
  rope = config.rope_parameters
  rope = rope.get('full_attention', rope)
  own = {
    'block_count': config.num_hidden_layers,
    'embedding_length': config.hidden_size,
    'feed_forward_length': config.intermediate_size,
    'attention.head_count': config.num_attention_heads,
    'attention.head_count_kv': config.num_key_value_heads,
    'attention.layer_norm_rms_epsilon': config.rms_norm_eps,
    'attention.key_length': config.head_dim or 12,
    'context_length': config.max_position_embeddings,
    'rope.freq_base': rope['rope_theta'],
  }
  if rope['rope_type'] == 'linear':
    own |= {
      'rope.scaling.type': 'linear',
      'rope.scaling.factor': rope['factor'],
    }
  if name == 'gemma3':
    own['attention.sliding_window'] = config.sliding_window
  return {f'{name}.{key}': value for key, value in own.items()} | FIELDS


def _add(writer, value, key):
  if isinstance(value, list):
    writer.add_array(key, value)
  elif isinstance(value, str):
    writer.add_string(key, value)
  elif isinstance(value, float):
    writer.add_float32(key, value)
  else:
    writer.add_uint32(key, value)


def _factors(rope):
  """What llama.cpp divides each rate of a head of 64 by."""
  rates = rope['rope_theta'] ** -(np.arange(0, 64, 2) / 64)
  long = rope['original_max_position_embeddings'] / rope['low_freq_factor']
  short = rope['original_max_position_embeddings'] / rope['high_freq_factor']
  factors = []
  for length in 2 * np.pi / rates:
    if length < short:
      factors.append(1.0)
    elif length > long:
      factors.append(rope['factor'])
    else:
      smooth = (rope['original_max_position_embeddings'] / length - 1) / 3
      factors.append(1 / ((1 - smooth) / rope['factor'] + smooth))
  return np.array(factors, np.float32)
