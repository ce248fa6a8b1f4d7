"""Early experience against imitation, in ScienceWorld

Four kinds of task (find an animal, a plant, something living, something that is
not), with its `easy` simplifications: the model, the updates and the care of
configs/studies/experts.py, with 300 demonstrations and K = 4. The policy writes
free text. `test` is out of domain: its animals, plants and things are not those
of training.
"""

from configs.studies import experts
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
  # A uniform choice among these is one among all, which are up to thousands.
  config.env.kwargs.max_admissible = 32
  config.collect.max_steps = 30
  config.explore.k = 4
  config.prepare.vocab_size = 1024
  config.prepare.rows = recipes.row_sets(('expert', 'world', 'recovery'), k=4)
  config.prepare.row_tokens = config.model.max_tokens = 2048
  config.train.batch_rows = 1  # of twice as many tokens

  config.evaluate.splits = ('dev', 'test')
  config.evaluate.tasks = 100
  config.evaluate.max_steps = 30
  config.evaluate.max_action_tokens = 32
  return config


def sweep():
  return sweeps.product(
    {'seed': [0, 1, 2]},
    {'recipe': ['recovery', 'imitation', 'world_model_then_imitation']},
  )
