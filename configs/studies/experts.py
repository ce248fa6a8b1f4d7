"""Early experience against imitation, where experts are few

ALFWorld's small rooms, 885,888 parameters from scratch; the policy writes free
text, greedily, and has to know what can be done: the settings of
configs/quickstart.py, with 300 demonstrations. Each seed has its own
demonstrations, initial parameters and batches; every run is asked the same
tasks of the test panel, in rooms seen and unseen. All recipes have as many
tokens in updates of rows of the same size; world_model_then_imitation spends
half of them on each. Recovery learns from one alternative of each state, an
action of another state of the episode, earlier or later, that the environment
rejects here, or from all eight, two of which are such. Imitation has twice as
many updates of half the size as well, and is compared with where it is best.
"""

from configs import quickstart
from early_experience import recipes, sweeps

PAPER = ('world_model_then_imitation', 'self_reflection')


def get_config(recipe: str = 'recovery'):
  config = quickstart.get_config()
  if recipe in (*PAPER, 'world_model_before_imitation'):
    config.prepare.rows = recipes.row_sets(('expert', 'world', 'reflect'), k=8)
  if recipe in ('self_reflection', 'joint'):
    config.reflect.wordings = 1  # chosen on the dev panel: docs/LOG.md
  if recipe == 'self_reflection':
    config.budget.reflection_weight = 1.0
    config.evaluate.max_thought_tokens = 64  # rationales have 60 at most
  config.budget.world_model_steps = config.budget.get_ref('steps') // 2
  config.collect.trajectories = 300
  config.collect.shuffle = True
  config.evaluate.panel = 'test'
  config.evaluate.tasks = 0
  return recipes.select(config, recipe)


def without_decay(recipe: str = 'recovery'):
  """As studies are that were run before weight decay and K = 1 were tried."""
  config = get_config(recipe)
  config.budget.weight_decay = 0.0
  if 'recovery' in config.prepare.rows:
    config.prepare.rows.recovery.k = config.explore.k
    config.prepare.rows.recovery.proposers = ()
  return config


def sweep():
  seeds = {'seed': [0, 1, 2, 3, 4, 5]}
  # As many tokens in twice as many updates.
  smaller = {
    'train.batch_rows': [1],
    'budget.steps': [3200],
    'budget.lr_peak': [2e-3],
  }
  undecayed = {'seed': [0, 1, 2, 3, 4], 'budget.weight_decay': [0.0]}
  all_eight = {
    'recipe': ['recovery'],
    'prepare.rows.recovery.k': [8],
    'prepare.rows.recovery.proposers': [()],
  }
  return sweeps.chain(
    sweeps.product(seeds, {'recipe': ['recovery', 'imitation', *PAPER]}),
    sweeps.product(seeds, all_eight),
    sweeps.product(seeds, {'recipe': ['imitation']}, sweeps.zipped(smaller)),
    sweeps.product(undecayed, {'recipe': ['imitation']}),
    sweeps.product(undecayed, all_eight),
  )
