"""How many demonstrations it takes

An eighth of the training games' demonstrations, a quarter, a half and all of
them (paper 6.5): the settings of configs/studies/experts.py, as many updates
for each.
"""

from configs.studies import experts
from early_experience import sweeps

get_config = experts.get_config


def sweep():
  return sweeps.product(
    {'seed': [0, 1, 2]},
    {'recipe': ['recovery', 'imitation']},
    {'collect.trajectories': [150, 300, 600, 1200]},
  )
