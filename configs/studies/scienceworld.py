"""Early experience against imitation, in ScienceWorld

Four kinds of task (find an animal, a plant, something living, something that is
not), with its `easy` simplifications: the model of configs/studies/experts.py,
300 demonstrations, and the updates and the weight decay that imitation was best
with of what was tried on the dev panel (docs/LOG.md). The policy writes free
text. For recovery one action was tried in each state that the simulator lists
in other states of the episode and not there: it rejects nearly all of these.
The paper's recipes have three that it lists, as the paper. All have as many
updates; world_model_before_imitation learns outcomes in half as many before.
`test` is out of domain: its animals, plants and things are not those of
training.
"""

from configs.studies import experts, paper
from early_experience import recipes, sweeps


def get_config(recipe: str = 'recovery'):
  config = experts.get_config(recipe)
  config.env.name, config.env.kwargs = 'scienceworld', {}
  config.env.kwargs.simplifications = ('easy',)
  config.env.kwargs.task_types = (
    'find-animal',
    'find-living-thing',
    'find-non-living-thing',
    'find-plant',
  )
  config.collect.max_steps = 30
  listed = recipe not in ('recovery', 'imitation')
  config.explore.k = 3 if listed else 1  # three: the paper's B.6
  config.explore.proposers.uniform = float(listed)
  config.explore.proposers.recalled = float(not listed)
  config.explore.rejoin = not listed  # only recovery needs it
  others = ('expert', 'world', 'reflect') if listed else ('expert', 'recovery')
  rows = {'joint': ('expert', 'joint')}.get(recipe, others)
  config.prepare.rows = recipes.row_sets(rows, config.explore.k)
  config.prepare.vocab_size = 1024
  config.prepare.row_tokens = config.model.max_tokens = 2048
  config.train.batch_rows = 1  # of twice as many tokens
  config.budget.steps = 3200
  config.budget.weight_decay = 0.1

  config.evaluate.splits = ('dev', 'test')
  config.evaluate.tasks = 100
  config.evaluate.max_steps = 30
  config.evaluate.max_action_tokens = 32
  return config


def sweep():
  return sweeps.product(
    {'seed': [0, 1, 2]},
    {'recipe': ['recovery', 'imitation', *experts.PAPER, *paper.OTHERS]},
  )
