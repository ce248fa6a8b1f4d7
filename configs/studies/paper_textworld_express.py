"""The paper's other mixtures of objectives, in TextWorld Express

What configs/studies/paper.py asks in ALFWorld's rooms, in the two games, with
the settings of configs/studies/textworld_express.py. Each recipe has a
vocabulary that has read its own rows.
"""

from configs.studies import paper, textworld_express
from early_experience import sweeps

get_config = textworld_express.get_config


def sweep():
  return sweeps.product(
    {'seed': [0, 1, 2]}, {'recipe': [*paper.OTHERS, 'imitation']}
  )
