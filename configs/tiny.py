"""The whole loop in a minute, to try things out; it learns next to nothing.

  python -m early_experience.quickstart --config=configs/tiny.py \
      --workdir=runs/tiny
"""

from early_experience import recipes, sweeps
from early_experience.config import default


def get_config(recipe: str = 'joint'):
  config = default()
  config.env.kwargs.source = 'generated'
  config.env.kwargs.rooms = ('bathroom',)
  config.env.kwargs.max_receptacles = 10
  config.env.kwargs.distractors = 2
  config.env.kwargs.train_games = 40
  config.collect.trajectories = 24
  config.collect.max_steps = 20
  config.explore.k = 2
  config.reflect.k = 2

  config.prepare.vocab_size = 512
  config.prepare.row_tokens = 512
  config.prepare.overlong = 'drop'
  config.prepare.held_out = 0.1
  config.prepare.rows = recipes.row_sets(recipes.PAPER, k=2)

  config.model.layers = 2
  config.model.embed = 32
  config.model.heads = 2
  config.model.kv_heads = 1
  config.model.head_dim = 16
  config.model.mlp = 64
  config.model.max_tokens = 512
  config.model.attention_block = 64

  config.budget.steps = 20
  config.budget.world_model_steps = 10
  config.budget.lr_peak = 3e-3
  config.train.batch_rows = 8

  config.evaluate.tasks = 6
  config.evaluate.max_steps = 6
  config.evaluate.constrained = True
  config.evaluate.max_action_tokens = 16
  config.evaluate.max_thought_tokens = 24
  config.evaluate.batch_tasks = 6
  config.evaluate.world_model_states = 4

  # Without success, it learns what its own actions lead to (ECHO).
  config.rl.iterations = 3
  config.rl.tasks, config.rl.group = 4, 4
  config.rl.observations = True
  config.rl.weights.world_model = 0.05
  config.rl.lr_peak = 1e-3
  config.rl.panel_every = 2
  config.rl.panel_tasks = 4
  config.quickstart.recipes = ('random', 'untrained', 'imitation', 'joint')
  return recipes.select(config, recipe)


def sweep():
  return sweeps.product(
    {'recipe': ['imitation', 'joint'], 'budget.lr_peak': [1e-3, 3e-3]}
  )
