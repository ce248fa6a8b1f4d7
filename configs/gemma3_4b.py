"""The text model of Gemma-3-4B-it, all parameters.

Trained and evaluated in ALFWorld, for 4 GPUs of 80 GB:
  for stage in collect explore reflect prepare train evaluate report; do
    python -m early_experience.$stage --config=configs/gemma3_4b.py \
        --config.init.hf=/checkpoints/gemma-3-4b-it \
        --workdir=runs/gemma3_4b
  done
The paper trains it on SearchQA alone (appendix B.5), with batch 128, 3 epochs,
and paths of 8,192 tokens:
  --config.train.batch_rows=128 --config.train.microbatches=8
  --config.prepare.row_tokens=8192 --config.model.max_tokens=8192
"""

from early_experience import cards, recipes


def get_config(recipe: str = 'world_model_then_imitation'):
  config = cards.pretrained(
    vocab_size=262_208,
    layers=34,
    embed=2560,
    heads=8,
    kv_heads=4,
    head_dim=256,
    mlp=10_240,
    tied=True,
    norm_eps=1e-6,
    norm_offset=True,
    post_norms=True,
    qk_norm=True,
    activation='gelu_tanh',
    embed_scale=True,
    query_scale=256.0,
    rope_theta=1_000_000.0,
    rope_scaling='linear',
    rope_factor=8.0,
    window=1024,
    global_every=6,
    rope_theta_local=10_000.0,
  )
  config.mesh.fsdp = 4
  return recipes.select(config, recipe)
