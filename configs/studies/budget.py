"""Is it only more training

Success over updates, from a quarter of those of configs/studies/experts.py to
twice as many, each with its own schedule of the learning rate.
"""

from configs.studies import experts
from early_experience import sweeps

get_config = experts.get_config


def sweep():
  return sweeps.product(
    {'seed': [0, 1, 2]},
    {'recipe': ['recovery', 'imitation']},
    {'budget.steps': [400, 800, 1600, 3200]},
  )
