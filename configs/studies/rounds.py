"""What a policy does is what the next one learns from

Three rounds of configs/studies/experts.py with recovery, without weight decay:
the policy of each proposes alternatives in the next one and visits 100 games
more, where the expert is asked in every state. Each is trained from scratch,
with as many updates.
"""

from configs.studies import experts
from early_experience import sweeps


def get_config(recipe: str = 'recovery'):
  config = experts.without_decay(recipe)
  config.rounds = 3
  return config


def sweep():
  return sweeps.product({'seed': [0, 1, 2]}, {'recipe': ['recovery']})
