"""The whole loop on a laptop: small ALFWorld rooms, a 1M-parameter model.

Everything, compared on the same held-out tasks:
  python -m early_experience.quickstart --config=configs/quickstart.py \
      --workdir=runs/quickstart
One stage, one recipe:
  python -m early_experience.train --config=configs/quickstart.py:joint \
      --workdir=runs/quickstart
Recipes: see early_experience/recipes.py. About 15 minutes on 2 quiet cores.
"""

from early_experience import recipes
from early_experience.config import default


def get_config(recipe: str = 'joint'):
  config = default()
  # Few receptacles and objects, so that episodes are short.
  config.env.kwargs.source = 'generated'
  config.env.kwargs.rooms = ('bathroom', 'bedroom')
  config.env.kwargs.max_receptacles = 10
  config.env.kwargs.distractors = 3
  config.env.kwargs.train_games = 1200
  config.collect.trajectories = 1000
  config.collect.max_steps = 20
  config.explore.k = 2
  config.reflect.k = 2

  config.prepare.vocab_size = 768
  config.prepare.row_tokens = 1024
  config.prepare.overlong = 'drop'
  config.prepare.held_out = 0.05
  config.prepare.rows = recipes.row_sets(('expert', 'joint'), k=2)

  config.model.layers = 4
  config.model.embed = 128
  config.model.heads = 4
  config.model.kv_heads = 2
  config.model.head_dim = 32
  config.model.mlp = 384
  config.model.max_tokens = 1024
  config.model.attention_block = 64

  config.budget.steps = 450
  config.budget.joint_share = 0.5
  config.budget.world_model_weight = 0.3
  config.budget.reflection_weight = 0.3
  config.budget.lr_peak = 3e-3
  config.budget.warmup_steps = 20
  config.train.batch_rows = 4

  config.evaluate.tasks = 100
  config.evaluate.max_steps = 24
  config.evaluate.constrained = True
  config.evaluate.max_action_tokens = 16
  config.evaluate.batch_tasks = 50
  config.benchmark.long_kwargs.rooms = ('kitchen',)
  config.benchmark.long_kwargs.max_receptacles = 0
  config.benchmark.long_kwargs.distractors = 10
  config.quickstart.recipes = ('random', 'untrained', 'imitation', 'joint')
  return recipes.select(config, recipe)
