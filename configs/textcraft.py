"""TextCraft: short episodes, many recipes; held-out goals and deeper ones.

  for stage in collect explore reflect prepare train evaluate report; do
    python -m early_experience.$stage --config=configs/textcraft.py:joint \
        --workdir=runs/textcraft
  done
K = 5 and 3 are those of the authors' release, which adds it to the paper's. The
model is a small one from scratch: lr and budget are its own.
"""

from early_experience import recipes, sweeps
from early_experience.config import default


def get_config(recipe: str = 'joint'):
  config = default()
  config.env.name = 'textcraft'
  config.collect.trajectories = 964  # all of them
  config.explore.k = 5
  config.reflect.k = 3
  config.prepare.vocab_size = 2048
  config.prepare.row_tokens = 2048
  config.prepare.overlong = 'drop'
  config.prepare.rows = recipes.row_sets(recipes.PAPER, k=5)

  config.model.layers = 6
  config.model.embed = 256
  config.model.heads = 8
  config.model.kv_heads = 4
  config.model.head_dim = 32
  config.model.mlp = 768
  config.model.max_tokens = 2048

  config.budget.steps = 2000
  config.budget.world_model_steps = 1000
  config.budget.lr_peak = 1e-3
  config.budget.warmup_steps = 100

  config.evaluate.splits = ('test', 'deep')
  config.evaluate.tasks = 0
  config.evaluate.max_steps = 80  # the deepest take the planner 66
  config.evaluate.constrained = True
  return recipes.select(config, recipe)


def sweep():
  return sweeps.product(
    {'recipe': ['imitation', 'joint'], 'budget.lr_peak': [5e-4, 1e-3]}
  )
