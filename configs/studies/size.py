"""How large the model is

Success over the width of the model, from a quarter of that of
configs/studies/experts.py to all of it (paper 6.7), with heads of 32 and a
learning rate that falls as the width grows: 0.08, 0.25 and 0.89 million
parameters.
"""

from configs.studies import experts
from early_experience import sweeps

get_config = experts.get_config


def sweep():
  return sweeps.product(
    {'seed': [0, 1, 2]},
    {'recipe': ['recovery', 'imitation']},
    sweeps.zipped(
      {
        'model.embed': [32, 64, 128],
        'model.heads': [1, 2, 4],
        'model.kv_heads': [1, 1, 2],
        'model.mlp': [96, 192, 384],
        'budget.lr_peak': [1.2e-2, 6e-3, 3e-3],
      }
    ),
  )
