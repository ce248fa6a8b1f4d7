"""Thinking longer when it acts

The recovery policies of configs/studies/experts.py, without weight decay,
sampled at a temperature of 0.7: n actions of each state vote, or are looked
ahead with the policy's own model of the world.
"""

from configs.studies import experts
from early_experience import sweeps


def get_config(recipe: str = 'recovery'):
  config = experts.without_decay(recipe)
  config.evaluate.temperature = 0.7
  config.evaluate.batch_tasks = 140
  return config


def sweep():
  seeds = {'seed': [0, 1, 2], 'recipe': ['recovery']}
  return sweeps.chain(
    sweeps.product(seeds, {'evaluate.samples': [1, 3, 9]}),
    sweeps.product(
      seeds, {'evaluate.samples': [9], 'evaluate.look_ahead': [True]}
    ),
  )
