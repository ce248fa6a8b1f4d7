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
  config = cards.llama3(
    layers=80,
    embed=8192,
    heads=64,
    mlp=28_672,
    tied=False,
    rope_factor=8.0,
    param_dtype='bfloat16',
    lora_rank=32,
    lora_alpha=64.0,
  )
  config.train.microbatches = 2
  return recipes.select(config, recipe)
