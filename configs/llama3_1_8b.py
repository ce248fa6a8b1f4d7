"""Llama-3.1-8B-Instruct, all parameters, with the paper's settings.

Trained and evaluated in ALFWorld, for 8 GPUs of 80 GB:
  for stage in collect explore reflect prepare train evaluate report; do
    python -m early_experience.$stage --config=configs/llama3_1_8b.py \
        --config.init.hf=/checkpoints/Llama-3.1-8B-Instruct \
        --workdir=runs/llama3_1_8b
  done
The paper's other recipes: configs/llama3_1_8b.py:imitation and
:self_reflection; the model itself then writes the rationales, from a server:
  --config.reflect.writer=openai --config.reflect.openai.base_url=URL
"""

from early_experience import cards, recipes


def get_config(recipe: str = 'world_model_then_imitation'):
  config = cards.pretrained(
    vocab_size=128_256,
    layers=32,
    embed=4096,
    heads=32,
    kv_heads=8,
    head_dim=128,
    mlp=14_336,
    tied=False,
    norm_eps=1e-5,
    rope_theta=500_000.0,
    rope_scaling='llama3',
    rope_factor=8.0,
    rope_original_tokens=8192,
  )
  # Llama's template writes the day; that of its release is kept.
  config.prepare.template_kwargs.date_string = '26 Jul 2024'
  config.mesh.fsdp = 8
  return recipes.select(config, recipe)
