"""Early experience against imitation, where experts are few

ALFWorld's small rooms, 885,888 parameters from scratch; the policy writes free
text, greedily, and has to know what can be done. Each seed has its own
demonstrations, initial parameters and batches; every run is asked the same
tasks of the test panel, in rooms seen and unseen. All recipes have the same
number of updates, of rows of the same size.
"""

from configs import quickstart
from early_experience import recipes, sweeps


def get_config(recipe: str = 'recovery'):
  config = quickstart.get_config()
  config.collect.trajectories = 300
  config.collect.shuffle = True
  config.explore.k = 8
  config.explore.rejoin = True
  config.explore.proposers.uniform = 0.75
  config.explore.proposers.recalled = 0.25
  config.prepare.rows = recipes.row_sets(('expert', 'joint', 'recovery'), k=8)
  # Half the rows and twice the updates of the quickstart: it learns faster so.
  config.train.batch_rows = 2
  config.budget.steps = 1600
  config.evaluate.panel = 'test'
  config.evaluate.tasks = 0
  config.evaluate.constrained = False
  config.evaluate.max_action_tokens = 24
  return recipes.select(config, recipe)


def sweep():
  return sweeps.product(
    {'seed': [0, 1, 2]},
    {'collect.trajectories': [300]},
    {'recipe': ['recovery', 'imitation']},
  )
