"""MiniWoB++: small tasks in a real browser, and a 1M-parameter model.

Needs Chromium and its driver; `python -m early_experience.envs` has the line.
  for stage in collect explore reflect prepare train evaluate report; do
    python -m early_experience.$stage --config=configs/miniwob.py:joint \
        --workdir=runs/miniwob
  done
17 kinds of task are trained on, 10 others are `unseen`. It is a stand-in for
WebArena-Lite that anyone can run, and not of the paper.
"""

from early_experience import recipes
from early_experience.config import default


def get_config(recipe: str = 'joint'):
  config = default()
  config.env.name = 'miniwob'
  config.env.kwargs.train_seeds = 60
  config.collect.trajectories = 1000
  config.collect.max_steps = 20
  config.explore.k = 2
  config.reflect.k = 2

  config.prepare.vocab_size = 1024
  config.prepare.row_tokens = 1024
  config.prepare.overlong = 'drop'
  config.prepare.held_out = 0.05
  config.prepare.rows = recipes.row_sets(tuple(recipes.ROWS), k=2)

  config.model.layers = 4
  config.model.embed = 128
  config.model.heads = 4
  config.model.kv_heads = 2
  config.model.head_dim = 32
  config.model.mlp = 384
  config.model.max_tokens = 1024
  config.model.attention_block = 64

  config.budget.steps = 450
  config.budget.world_model_steps = 150
  config.budget.joint_share = 0.5
  config.budget.world_model_weight = 0.3
  config.budget.reflection_weight = 0.3
  config.budget.lr_peak = 3e-3
  config.budget.warmup_steps = 20
  config.train.batch_rows = 4

  config.evaluate.splits = ('dev', 'unseen')
  config.evaluate.tasks = 100
  config.evaluate.max_steps = 15
  config.evaluate.max_action_tokens = 24
  config.evaluate.batch_tasks = 4  # each has a browser of its own
  return recipes.select(config, recipe)
