"""All of ALFWorld: six task types, four room kinds, the paper's counts.

Official games where ALFWORLD_DATA has them, else generated ones:
  for stage in collect explore reflect prepare train evaluate report; do
    python -m early_experience.$stage --config=configs/alfworld.py:joint \
        --workdir=runs/alfworld
  done
A 77M-parameter model from scratch, for one accelerator or more: lr and budget
are a small model's. K = 8 and 3 are the paper's (appendix B.1).
"""

from early_experience import recipes, sweeps
from early_experience.config import default


def get_config(recipe: str = 'joint'):
  config = default()
  config.prepare.vocab_size = 2048
  config.prepare.row_tokens = 4096
  config.prepare.overlong = 'drop'
  config.prepare.rows = recipes.row_sets(recipes.PAPER, k=8)

  config.model.layers = 12
  config.model.embed = 768
  config.model.heads = 12
  config.model.kv_heads = 4
  config.model.head_dim = 64
  config.model.mlp = 2048
  config.model.max_tokens = 4096
  config.model.dtype = 'bfloat16'
  config.model.remat = 'full'

  config.budget.steps = 3000
  config.budget.world_model_steps = 1500
  config.budget.lr_peak = 6e-4
  config.budget.warmup_steps = 100
  config.train.batch_rows = 32

  config.evaluate.tasks = 0
  config.evaluate.max_action_tokens = 24
  return recipes.select(config, recipe)


def sweep():
  names = (
    'imitation',
    'world_model_then_imitation',
    'self_reflection',
    'joint',
  )
  return sweeps.product({'recipe': names, 'budget.lr_peak': [3e-4, 6e-4]})
