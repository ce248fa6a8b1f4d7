"""What a GGUF file says of an architecture, as the content of a config.json."""

import dataclasses
import math

import numpy as np

from early_experience.hf import families
from early_experience.runtime.errors import UserError

# Of every family: ours by llama.cpp's key, which begins with the family.
_KEYS = {
  'block_count': 'num_hidden_layers',
  'embedding_length': 'hidden_size',
  'feed_forward_length': 'intermediate_size',
  'attention.head_count': 'num_attention_heads',
  'attention.head_count_kv': 'num_key_value_heads',
  'attention.layer_norm_rms_epsilon': 'rms_norm_eps',
  'context_length': 'max_position_embeddings',
}
_OPTIONAL = {
  'attention.key_length': 'head_dim',
  'rope.dimension_count': 'head_dim',
  'attention.sliding_window': 'sliding_window',
  'final_logit_softcapping': 'final_logit_softcapping',
  'attn_logit_softcapping': 'attn_logit_softcapping',
}
_TOKENS = {
  'tokenizer.ggml.bos_token_id': 'bos_token_id',
  'tokenizer.ggml.eos_token_id': 'eos_token_id',
  'tokenizer.ggml.padding_token_id': 'pad_token_id',
}


@dataclasses.dataclass(frozen=True)
class Family:
  """A family of llama.cpp.

  Attributes:
    architecture: llama.cpp's name.
    interleaved: its queries and keys lie in another order than in a checkpoint.
    norms_above_one: its norms hold 1 more.
    global_every: every so many-th layer sees everything, which no key says.
  """

  architecture: str
  interleaved: bool = False
  norms_above_one: bool = False
  global_every: int = 0


# By the model_type of a config.json.
FAMILIES = {
  'llama': Family('llama', interleaved=True),
  'qwen2': Family('qwen2'),
  'qwen3': Family('qwen3'),
  'gemma3_text': Family('gemma3', norms_above_one=True, global_every=6),
}


def config_of(
  fields: dict, tensors: set[str], factors: np.ndarray | None, where: str
) -> dict:
  """The content of a config.json.

  Args:
    fields: the file's, by key.
    tensors: names of its tensors.
    factors: what RoPE's rates are divided by, where it stores them: [H / 2].
    where: the file, for errors.

  Raises:
    UserError: the family is not supported, or a key is missing or strange.
  """
  name = fields.get('general.architecture')
  kinds = {family.architecture: kind for kind, family in FAMILIES.items()}
  if name not in kinds:
    raise UserError(
      f'{where}: architecture {name!r} is not supported; there are:'
      f' {", ".join(kinds)}'
    )
  kind, config = kinds[name], {}
  for key, theirs in _OPTIONAL.items():
    if f'{name}.{key}' in fields:
      config[theirs] = fields[f'{name}.{key}']
  for key, theirs in _KEYS.items():
    if f'{name}.{key}' not in fields:
      raise UserError(f'{where} lacks the key {name}.{key}')
    config[theirs] = fields[f'{name}.{key}']
  for key, theirs in config.items():
    if isinstance(theirs, list):
      raise UserError(
        f'{where}: layers differ in {key}, which is not supported'
      )
  # 32-bit floats: the shortest number that is the same.
  config['rms_norm_eps'] = float(str(np.float32(config['rms_norm_eps'])))
  config['vocab_size'] = len(fields.get('tokenizer.ggml.tokens', ()))
  config['tie_word_embeddings'] = 'output.weight' not in tensors
  config |= {k: fields[key] for key, k in _TOKENS.items() if key in fields}
  if kind == 'llama':
    config['attention_bias'] = 'blk.0.attn_q.bias' in tensors
    config['mlp_bias'] = 'blk.0.ffn_up.bias' in tensors
  config |= _rope(fields, name, kind, factors, where)
  if every := FAMILIES[kind].global_every:
    config['sliding_window_pattern'] = every
    config['query_pre_attn_scalar'] = _query_scale(config)
  return config | {
    'model_type': kind,
    'architectures': [families.FAMILIES[kind].name],
    'torch_dtype': 'float32',
  }


def _query_scale(config):
  """Gemma 3 27B divides by another number than its head size, says no key."""
  if config['num_hidden_layers'] == 62:
    return config['hidden_size'] // config['num_attention_heads']
  return config['head_dim']


def _rope(fields, name, kind, factors, where):
  theta = float(fields.get(f'{name}.rope.freq_base', 10_000.0))
  scaling = fields.get(f'{name}.rope.scaling.type', 'none')
  factor = float(fields.get(f'{name}.rope.scaling.factor', 1.0))
  found = {'rope_theta': theta}
  if FAMILIES[kind].global_every:
    found['rope_local_base_freq'] = 10_000.0
  if factors is not None:
    return found | {'rope_scaling': _llama3(theta, factors, where)}
  if scaling == 'linear' and not math.isclose(factor, 1.0):
    found['rope_scaling'] = {'rope_type': 'linear', 'factor': factor}
  elif scaling not in ('none', 'linear'):
    raise UserError(f'{where}: RoPE scaling {scaling!r} is not supported')
  return found


def _llama3(theta, factors, where):
  """The scaling of Llama 3.1 and later, of which the file has the outcome."""
  made = {
    'rope_type': 'llama3',
    'factor': float(factors.max()),
    'low_freq_factor': 1.0,
    'high_freq_factor': 4.0,
    'original_max_position_embeddings': 8192,
  }
  half = len(factors)
  turns = 8192 * theta ** (-np.arange(half) / half) / (2 * np.pi)
  smooth = np.clip((turns - 1.0) / (4.0 - 1.0), 0.0, 1.0)
  expected = 1 / ((1 - smooth) / made['factor'] + smooth)
  if not np.allclose(factors, expected, rtol=1e-5):
    raise UserError(
      f'{where}: the factors of rope_freqs.weight are not those of Llama 3.1'
    )
  return made
