"""Llama-3.3-70B-Instruct, adapters beside frozen bf16 parameters.

The paper's recipe for its largest models (section 6.4, table 10): the adapters
of the world model go on into imitation; it does not state their rank. For 8
GPUs of 80 GB:
  for stage in collect explore reflect prepare train evaluate report; do
    python -m early_experience.$stage --config=configs/llama3_3_70b_lora.py \
        --config.init.hf=/checkpoints/Llama-3.3-70B-Instruct \
        --workdir=runs/llama3_3_70b_lora
  done
Decoding keeps each layer whole but for the tensor axis, so evaluate with
  --config.mesh.fsdp=1 --config.mesh.tensor=8
"""

from early_experience import cards, recipes


def get_config(recipe: str = 'world_model_then_imitation'):
  config = cards.pretrained(
    vocab_size=128_256,
    layers=80,
    embed=8192,
    heads=64,
    kv_heads=8,
    head_dim=128,
    mlp=28_672,
    tied=False,
    norm_eps=1e-5,
    rope_theta=500_000.0,
    rope_scaling='llama3',
    rope_factor=8.0,
    rope_original_tokens=8192,
    param_dtype='bfloat16',
    lora_rank=32,
    lora_alpha=64.0,
  )
  # Llama's template writes the day; that of its release is kept.
  config.prepare.template_kwargs.date_string = '26 Jul 2024'
  config.train.microbatches = 2
  config.mesh.fsdp = 8
  return recipes.select(config, recipe)
