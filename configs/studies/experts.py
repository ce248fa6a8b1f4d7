"""Early experience against imitation, over the number of experts

ALFWorld's small rooms, 885,888 parameters from scratch, free text, greedy: the
settings of configs/quickstart.py. Each seed has its own demonstrations, initial
parameters and batches; every run is asked the same tasks of the test panel, in
rooms seen and unseen. All recipes have the same number of updates of rows of
the same size.
"""

from configs import quickstart
from early_experience import recipes, sweeps


def get_config(recipe: str = 'recovery'):
  config = quickstart.get_config()
  config.collect.shuffle = True
  config.evaluate.panel = 'test'
  config.evaluate.tasks = 0
  return recipes.select(config, recipe)


def sweep():
  seeds = {'seed': [0, 1, 2]}
  return sweeps.chain(
    sweeps.product(
      seeds,
      {'collect.trajectories': [300]},
      {'recipe': ['imitation', 'recovery', 'joint']},
    ),
    sweeps.product(
      seeds,
      {'collect.trajectories': [100]},
      {'recipe': ['imitation', 'recovery']},
    ),
  )
