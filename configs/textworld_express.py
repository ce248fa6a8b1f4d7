"""TextWorld Express: five small games, and a 1M-parameter model on a laptop.

  for stage in collect explore reflect prepare train evaluate report; do
    python -m early_experience.$stage \
        --config=configs/textworld_express.py:joint --workdir=runs/express
  done
Nobody has to be asked and nothing downloaded; it is not of the paper. `large`
has games of more rooms and steps than training shows.
"""

from early_experience import recipes
from early_experience.config import default


def get_config(recipe: str = 'joint'):
  config = default()
  config.env.name = 'textworld_express'
  config.env.kwargs.games = ('coin', 'mapreader', 'simonsays', 'sorting', 'twc')
  config.collect.trajectories = 2000
  config.collect.max_steps = 20
  config.explore.k = 2
  config.reflect.k = 2

  config.prepare.vocab_size = 1024
  config.prepare.row_tokens = 1024
  config.prepare.overlong = 'drop'
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
  config.train.batch_rows = 8

  config.evaluate.splits = ('test', 'large')
  config.evaluate.tasks = 100
  config.evaluate.max_steps = 25
  config.evaluate.max_action_tokens = 24
  config.evaluate.batch_tasks = 50
  return recipes.select(config, recipe)
