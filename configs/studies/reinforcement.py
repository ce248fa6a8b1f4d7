"""Reinforcement learning, from imitation and from early experience

ALFWorld's small rooms as in configs/quickstart.py: the policies of
configs/studies/experts.py, trained without weight decay, go on by GRPO on the
training games, three quarters of which no expert has shown, with as many
iterations and episodes each; groups without variance are dropped, so that
updates differ. Every policy is asked the same tasks of the test panel before
and after.
rl.observations with rl.weights.world_model is ECHO's objective, on what the
policy's own episodes see; rl.mixed_rows are rows of branches in every update,
learnt for the world model.
"""

from configs.studies import experts
from early_experience import sweeps


def get_config(recipe: str = 'recovery'):
  config = experts.without_decay(recipe)
  config.rl.iterations = 40
  config.rl.tasks = 16
  config.rl.epochs = 2
  config.rl.minibatches = 4
  config.rl.batch_rows = 4
  config.rl.lr_peak = 1e-4
  config.rl.keep_start = False
  config.rl.panel_every = 20
  return config


def sweep():
  seeds = {'seed': [0, 1, 2]}
  learnt = {'recipe': ['recovery'], 'rl.weights.world_model': [0.05]}
  branches = {'rl.mixed_rows': [2], 'rl.rows': [{'recovery': 1.0}]}
  return sweeps.chain(
    sweeps.product(
      seeds, {'recipe': ['recovery', 'imitation', *experts.PAPER]}
    ),
    sweeps.product(seeds, learnt, {'rl.observations': [True]}),
    sweeps.product(seeds, learnt, branches),
  )
