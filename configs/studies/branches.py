"""How much there is in each alternative

Success over K, the alternatives of a state (paper 6.6), where experts are few:
configs/studies/experts.py with the first K of those that were explored. All
runs have the same number of updates; imitation has none of them.
"""

from configs.studies import experts
from early_experience import sweeps

get_config = experts.get_config


def sweep():
  seeds = {'seed': [0, 1, 2]}
  alternatives = {'prepare.rows.recovery.k': [1, 2, 4, 8]}
  return sweeps.chain(
    sweeps.product(seeds, {'recipe': ['imitation']}),
    sweeps.product(seeds, {'recipe': ['recovery']}, alternatives),
  )
