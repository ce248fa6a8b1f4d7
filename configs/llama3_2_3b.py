"""Llama-3.2-3B-Instruct, all parameters, with the paper's settings.

Trained and evaluated in ALFWorld, for 8 GPUs of 80 GB:
  for stage in collect explore reflect prepare train evaluate report; do
    python -m early_experience.$stage --config=configs/llama3_2_3b.py \
        --config.init.hf=/checkpoints/Llama-3.2-3B-Instruct \
        --workdir=runs/llama3_2_3b
  done
The paper's other recipes: configs/llama3_2_3b.py:imitation and
:self_reflection; the model itself then writes the rationales, from a server:
  --config.reflect.writer=openai --config.reflect.openai.base_url=URL
  --config.reflect.openai.model=MODEL
"""

from early_experience import cards, recipes


def get_config(recipe: str = 'world_model_then_imitation'):
  config = cards.llama3(
    layers=28,
    embed=3072,
    heads=24,
    mlp=8192,
    tied=True,
    rope_factor=32.0,
  )
  return recipes.select(config, recipe)
