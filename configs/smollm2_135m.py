"""SmolLM2-135M-Instruct, a pretrained model that two cores can train.

  sh launch/smollm2.sh runs/smollm2
  for stage in collect explore reflect prepare train evaluate report; do
    python -m early_experience.$stage --workdir=runs/smol \
        --config=configs/smollm2_135m.py:recovery --config.init.hf=runs/smollm2
  done
ALFWorld's small rooms with 60 experts, free text. About 110 tokens a second on
2 cores: hours, where a GPU takes minutes. Recipes: early_experience/recipes.py.
"""

from early_experience import cards, recipes


def get_config(recipe: str = 'recovery'):
  config = cards.pretrained(
    vocab_size=49_152,
    layers=30,
    embed=576,
    heads=9,
    kv_heads=3,
    head_dim=64,
    mlp=1536,
    rope_theta=100_000.0,
    norm_eps=1e-5,
  )
  cards.small_rooms(config)
  config.collect.trajectories = 60
  config.explore.k = 8
  config.explore.rejoin = True
  config.explore.proposers.uniform = 0.75
  config.explore.proposers.recalled = 0.25
  config.prepare.row_tokens = 1024
  config.prepare.rows = recipes.row_sets(recipes.ROWS, k=8)
  config.prepare.rows.recovery.proposers = ('recalled',)
  config.prepare.rows.recovery.k = 1
  config.prepare.answer_format = 'plain'

  config.model.max_tokens = 1024
  config.model.dtype = 'float32'  # CPUs have no faster one
  config.model.remat = 'none'
  config.model.loss_chunk = 256

  config.budget.steps = 100
  config.budget.world_model_steps = 50
  config.budget.joint_share = 0.5
  config.budget.world_model_weight = 0.3
  config.budget.reflection_weight = 0.3
  config.budget.lr_peak = 3e-4
  config.budget.warmup_steps = 10
  config.train.batch_rows = 2

  config.evaluate.tasks = 100
  config.evaluate.temperature = 0.0
  config.evaluate.max_action_tokens = 24
  config.evaluate.batch_tasks = 20
  return recipes.select(config, recipe)
