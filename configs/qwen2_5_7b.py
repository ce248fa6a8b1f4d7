"""Qwen2.5-7B-Instruct, all parameters, with the paper's settings.

Trained and evaluated in ALFWorld, for 8 GPUs of 80 GB:
  for stage in collect explore reflect prepare train evaluate report; do
    python -m early_experience.$stage --config=configs/qwen2_5_7b.py \
        --config.init.hf=/checkpoints/Qwen2.5-7B-Instruct \
        --workdir=runs/qwen2_5_7b
  done
The paper's other recipes: configs/qwen2_5_7b.py:imitation and :self_reflection;
the model itself then writes the rationales, from a server:
  --config.reflect.writer=openai --config.reflect.openai.base_url=URL
  --config.reflect.openai.model=MODEL
"""

from early_experience import cards, recipes


def get_config(recipe: str = 'world_model_then_imitation'):
  config = cards.pretrained(
    vocab_size=152_064,
    layers=28,
    embed=3584,
    heads=28,
    kv_heads=4,
    head_dim=128,
    mlp=18_944,
    tied=False,
    norm_eps=1e-6,
    rope_theta=1_000_000.0,
    qkv_bias=True,
  )
  config.mesh.fsdp = 8
  return recipes.select(config, recipe)
