"""What there is in an alternative

Success over K, the alternatives of a state (paper 6.6), and over what they are,
where experts are few: the settings of configs/studies/experts.py, but for the
vocabulary, which has read no rationales. Alternatives that are `recalled` are
actions of other states of the expert's episode, later ones too, which the
environment rejects here; `uniform` ones can be done. With K = 0 only the
expert's own outcomes are predicted; with a weight of 0 outcomes are read, and
not predicted. All runs have the same number of updates; imitation has no
alternatives.
"""

from configs.studies import experts
from early_experience import recipes, sweeps


def get_config(recipe: str = 'recovery'):
  config = experts.get_config(recipe)
  # `world` is of no recipe here. With it the vocabulary has read all
  # alternatives, however many are learnt from.
  config.prepare.rows = recipes.row_sets(('expert', 'world', 'recovery'), k=8)
  return config


def sweep():
  seeds = {'seed': [0, 1, 2]}
  alternatives = sweeps.zipped(
    {
      'prepare.rows.recovery.proposers': [
        (),
        ('recalled',),
        ('uniform',),
        ('uniform',),
      ],
      'prepare.rows.recovery.k': [0, 1, 1, 6],
    }
  )
  unpredicted = {
    'prepare.rows.recovery.proposers': [('recalled',)],
    'prepare.rows.recovery.k': [1],
    'budget.world_model_weight': [0.0],
  }
  return sweeps.chain(
    sweeps.product(seeds, {'recipe': ['imitation']}),
    sweeps.product(seeds, {'recipe': ['recovery']}, alternatives),
    sweeps.product(seeds, {'recipe': ['recovery']}, unpredicted),
  )
