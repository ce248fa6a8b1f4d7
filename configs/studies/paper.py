"""The paper's other mixtures of objectives, where experts are few

ALFWorld's small rooms, 300 demonstrations, the settings of
configs/studies/experts.py, one vocabulary for all, which has read alternatives
and rationales. `joint` has all three objectives in every update, half of its
rows are expert episodes. world_model_before_imitation learns outcomes first, in
half as many updates again; world_model_then_imitation, in as many updates as
imitation, and self_reflection are on the page of experts.
"""

from configs.studies import experts
from early_experience import recipes, sweeps

OTHERS = ('joint', 'world_model_before_imitation')


def get_config(recipe: str = 'joint'):
  config = experts.get_config(recipe)
  config.prepare.rows = recipes.row_sets(('expert', 'world', 'joint'), k=8)
  config.reflect.wordings = 1  # one vocabulary, for imitation too
  return config


def sweep():
  return sweeps.product({'seed': [0, 1, 2]}, {'recipe': [*OTHERS, 'imitation']})
