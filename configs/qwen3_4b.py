"""Qwen3-4B, all parameters, with the settings of the paper's other models.

Trained and evaluated in ALFWorld, for 4 GPUs of 80 GB; the paper has no Qwen3:
  for stage in collect explore reflect prepare train evaluate report; do
    python -m early_experience.$stage --config=configs/qwen3_4b.py \
        --config.init.hf=/checkpoints/Qwen3-4B \
        --workdir=runs/qwen3_4b
  done
The template opens an empty thought; what is thought here stands in the answer.
"""

from early_experience import cards, recipes


def get_config(recipe: str = 'world_model_then_imitation'):
  config = cards.pretrained(
    vocab_size=151_936,
    layers=36,
    embed=2560,
    heads=32,
    kv_heads=8,
    head_dim=128,
    mlp=9728,
    tied=True,
    norm_eps=1e-6,
    rope_theta=1_000_000.0,
    qk_norm=True,
  )
  config.prepare.template_kwargs.enable_thinking = False
  config.mesh.fsdp = 4
  return recipes.select(config, recipe)
