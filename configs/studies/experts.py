"""Early experience against imitation, where experts are few

ALFWorld's small rooms, 885,888 parameters from scratch; the policy writes free
text, greedily, and has to know what can be done: the settings of
configs/quickstart.py. Each seed has its own demonstrations, initial parameters
and batches; every run is asked the same tasks of the test panel, in rooms seen
and unseen. Both recipes have the same number of updates, of rows of the same
size.
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
  return sweeps.product(
    {'seed': [0, 1, 2]},
    {'collect.trajectories': [300]},
    {'recipe': ['recovery', 'imitation']},
  )
