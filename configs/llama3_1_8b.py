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
  --config.reflect.openai.model=MODEL
"""

from early_experience import cards, recipes


def get_config(recipe: str = 'world_model_then_imitation'):
  config = cards.llama3(
    layers=32,
    embed=4096,
    heads=32,
    mlp=14_336,
    tied=False,
    rope_factor=8.0,
  )
  return recipes.select(config, recipe)
