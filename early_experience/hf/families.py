"""What each supported model_type says in config.json, and what it leaves out.

Defaults are those of transformers' config classes.
"""

import dataclasses

# Keys of all families, by our field.
KEYS = {
  'vocab_size': 'vocab_size',
  'layers': 'num_hidden_layers',
  'embed': 'hidden_size',
  'heads': 'num_attention_heads',
  'kv_heads': 'num_key_value_heads',
  'head_dim': 'head_dim',
  'mlp': 'intermediate_size',
  'norm_eps': 'rms_norm_eps',
  'tied': 'tie_word_embeddings',
}
ACTIVATIONS = {
  'silu': 'silu',
  'gelu_pytorch_tanh': 'gelu_tanh',
}


@dataclasses.dataclass(frozen=True)
class Family:
  """One model_type.

  Attributes:
    name: the model class of transformers.
    defaults: what absent keys mean.
    keys: by our field, beside those of all families.
    fixed: our fields that no key sets.
    theta: RoPE's base where no key gives it.
    refused: values that some keys must not have, for nothing here computes
      what they mean.
    may_slide: whether layers see a window where `use_sliding_window` says so.
  """

  name: str
  defaults: dict[str, object]
  keys: dict[str, str]
  fixed: dict[str, object] = dataclasses.field(default_factory=dict)
  theta: float = 10_000.0
  refused: dict[str, object] = dataclasses.field(default_factory=dict)
  may_slide: bool = False


_SHARED = {
  'rms_norm_eps': 1e-6,
  'tie_word_embeddings': False,
  'num_key_value_heads': None,
  'head_dim': None,
  'hidden_act': 'silu',
}
_QWEN = _SHARED | {
  'vocab_size': 151936,
  'hidden_size': 4096,
  'intermediate_size': 22016,
  'num_hidden_layers': 32,
  'num_attention_heads': 32,
  'num_key_value_heads': 32,
  'max_position_embeddings': 32768,
  'use_sliding_window': False,
  'sliding_window': 4096,
  'max_window_layers': 28,
}
_ATTENTION_BIAS = {'qkv_bias': 'attention_bias', 'o_bias': 'attention_bias'}
FAMILIES = {
  'llama': Family(
    'LlamaForCausalLM',
    _SHARED
    | {
      'vocab_size': 32000,
      'hidden_size': 4096,
      'intermediate_size': 11008,
      'num_hidden_layers': 32,
      'num_attention_heads': 32,
      'max_position_embeddings': 2048,
      'bos_token_id': 1,
      'eos_token_id': 2,
      'attention_bias': False,
      'mlp_bias': False,
    },
    _ATTENTION_BIAS | {'mlp_bias': 'mlp_bias', 'activation': 'hidden_act'},
  ),
  'qwen2': Family(
    'Qwen2ForCausalLM',
    _QWEN,
    {'activation': 'hidden_act'},
    fixed={'qkv_bias': True},
    may_slide=True,
  ),
  'qwen3': Family(
    'Qwen3ForCausalLM',
    _QWEN | {'head_dim': 128, 'attention_bias': False},
    _ATTENTION_BIAS | {'activation': 'hidden_act'},
    fixed={'qk_norm': True},
    may_slide=True,
  ),
  'gemma3_text': Family(
    'Gemma3ForCausalLM',
    {
      'vocab_size': 262_208,
      'hidden_size': 2304,
      'intermediate_size': 9216,
      'num_hidden_layers': 26,
      'num_attention_heads': 8,
      'num_key_value_heads': 4,
      'head_dim': 256,
      'max_position_embeddings': 131_072,
      'rms_norm_eps': 1e-6,
      'tie_word_embeddings': True,
      'pad_token_id': 0,
      'eos_token_id': 1,
      'bos_token_id': 2,
      'hidden_activation': 'gelu_pytorch_tanh',
      'attention_bias': False,
      'query_pre_attn_scalar': 256,
      'sliding_window': 4096,
      'attn_logit_softcapping': None,
      'final_logit_softcapping': None,
    },
    _ATTENTION_BIAS
    | {
      'activation': 'hidden_activation',
      'query_scale': 'query_pre_attn_scalar',
      'window': 'sliding_window',
      'attention_softcap': 'attn_logit_softcapping',
      'logit_softcap': 'final_logit_softcapping',
    },
    fixed={
      'norm_offset': True,
      'post_norms': True,
      'qk_norm': True,
      'embed_scale': True,
    },
    theta=1_000_000.0,
    refused={'use_bidirectional_attention': True},
  ),
}
