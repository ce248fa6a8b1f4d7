"""The architecture as one frozen, hashable value: a static argument to jit."""

import dataclasses

from ml_collections import ConfigDict

from early_experience.config import check, define_model
from early_experience.model import precision
from early_experience.runtime.errors import UserError

# The matrices of a layer.
MATRICES = ('q', 'k', 'v', 'o', 'gate', 'up', 'down')
# What no parameter and no output depends on, but for rounding.
RUNTIME = (
  'max_tokens',
  'dtype',
  'remat',
  'attention',
  'attention_block',
  'loss_chunk',
)
# What this project adds to a pretrained architecture.
ADDED = (*RUNTIME, 'param_dtype', 'lora_rank', 'lora_alpha', 'lora_targets')


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """A Llama-style decoder. `config.model` says what each setting means.

  Llama is the settings as they stand; Qwen2.5 adds `qkv_bias`, Qwen3 `qk_norm`,
  Gemma 3 most of the rest. `max_tokens` bounds what callers feed; no parameter
  has its shape.
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
  rope_scaling: str
  rope_factor: float
  rope_low_freq_factor: float
  rope_high_freq_factor: float
  rope_original_tokens: int
  window: int
  global_every: int
  rope_theta_local: float
  norm_eps: float
  norm_offset: bool
  post_norms: bool
  qk_norm: bool
  qkv_bias: bool
  o_bias: bool
  mlp_bias: bool
  activation: str
  tied: bool
  embed_scale: bool
  query_scale: float
  attention_softcap: float
  logit_softcap: float
  lora_rank: int
  lora_alpha: float
  lora_targets: tuple[str, ...]
  dtype: str
  param_dtype: str
  remat: str
  attention: str
  attention_block: int
  loss_chunk: int


def from_config(model: ConfigDict, vocab_size: int) -> ModelConfig:
  """Validates `config.model`.

  Args:
    model: the ConfigDict of that name.
    vocab_size: number of token ids that the tokenizer has; the embedding has
      as many, unless `config.model.vocab_size` gives it more.

  Raises:
    UserError: a key is missing, unknown or out of range; it names the key.
  """
  names = {field.name for field in dataclasses.fields(ModelConfig)}
  for key in set(model) ^ names:
    state = 'unknown' if key in model else 'missing'
    raise UserError(f'config.model.{key} is {state}')
  check(define_model(), model, 'config.model')
  for name in ('dtype', 'param_dtype'):
    precision.check(f'model.{name}', model[name])
  values = dict(model) | {'lora_targets': tuple(model['lora_targets'])}
  values['vocab_size'] = model['vocab_size'] or vocab_size
  cfg = ModelConfig(**values)
  if vocab_size > cfg.vocab_size:
    raise UserError(
      f'the tokenizer has {vocab_size} ids, but the embedding only'
      f' {cfg.vocab_size} (config.model.vocab_size)'
    )
  if cfg.heads % cfg.kv_heads:
    raise UserError(
      f'config.model.kv_heads = {cfg.kv_heads} does not divide'
      f' config.model.heads = {cfg.heads}'
    )
  if cfg.head_dim % 2:
    raise UserError(
      f'config.model.head_dim = {cfg.head_dim} is odd: RoPE turns pairs'
    )
  for target in cfg.lora_targets if cfg.lora_rank else ():
    if target not in MATRICES:
      raise UserError(
        f'config.model.lora_targets: {target!r} matches no matrix of a layer;'
        f' there are: {", ".join(MATRICES)}'
      )
  if cfg.lora_rank and not cfg.lora_targets:
    raise UserError('config.model.lora_targets is empty: nothing is trained')
  if cfg.rope_scaling == 'llama3' and not cfg.rope_original_tokens:
    raise UserError(
      "config.model.rope_scaling = 'llama3' needs rope_original_tokens"
    )
  return cfg
