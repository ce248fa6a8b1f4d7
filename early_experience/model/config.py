"""The architecture as one frozen, hashable value: a static argument to jit."""

import dataclasses

from ml_collections import ConfigDict

from early_experience.errors import UserError

_CHOICES = {
  'dtype': ('float32', 'bfloat16'),
  'param_dtype': ('float32', 'bfloat16'),
  'remat': ('none', 'full', 'dots'),
}
_MAY_BE_ZERO = ('attention_block',)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """A Llama-style decoder. `config.model` says what each setting means.

  Llama is the settings as they stand; Qwen2.5 adds `qkv_bias`, Qwen3
  `qk_norm`. `max_tokens` bounds what callers feed; no parameter has its shape.
  """

  vocab_size: int
  layers: int
  embed: int
  heads: int
  kv_heads: int
  head_dim: int
  mlp: int
  max_tokens: int
  rope_theta: float
  norm_eps: float
  tied: bool
  qkv_bias: bool
  qk_norm: bool
  dtype: str
  param_dtype: str
  remat: str
  attention_block: int
  loss_chunk: int


def from_config(model: ConfigDict, vocab_size: int) -> ModelConfig:
  """Validates `config.model`.

  Args:
    model: the ConfigDict of that name.
    vocab_size: number of token ids, which the tokenizer decides.

  Raises:
    UserError: a key is missing, unknown or out of range; it names the key.
  """
  names = {field.name for field in dataclasses.fields(ModelConfig)}
  for key in set(model) ^ (names - {'vocab_size'}):
    state = 'unknown' if key in model else 'missing'
    raise UserError(f'config.model.{key} is {state}')
  cfg = ModelConfig(vocab_size=vocab_size, **model)
  for field in dataclasses.fields(cfg):
    value = getattr(cfg, field.name)
    key = f'config.model.{field.name} = {value!r}'
    if field.name in _CHOICES and value not in _CHOICES[field.name]:
      raise UserError(f'{key} is not one of: {_listed(field.name)}')
    if field.type in (int, float):
      least = 0 if field.name in _MAY_BE_ZERO else 1
      if value < least if field.type is int else value <= 0:
        raise UserError(f'{key} is too small')
  if cfg.heads % cfg.kv_heads:
    raise UserError(
      f'config.model.kv_heads = {cfg.kv_heads} does not divide'
      f' config.model.heads = {cfg.heads}'
    )
  if cfg.head_dim % 2:
    raise UserError(
      f'config.model.head_dim = {cfg.head_dim} is odd: RoPE turns pairs'
    )
  return cfg


def _listed(name):
  return ', '.join(_CHOICES[name])
