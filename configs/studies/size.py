"""How large the model is

Success over the width of the model, from half to twice that of
configs/studies/experts.py (paper 6.7), with heads of 32 and a learning rate
that falls as the width grows: 0.25, 0.89 and 3.3 million parameters.
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
        'model.embed': [64, 128, 256],
        'model.heads': [2, 4, 8],
        'model.kv_heads': [1, 2, 4],
        'model.mlp': [192, 384, 768],
        'budget.lr_peak': [6e-3, 3e-3, 1.5e-3],
      }
    ),
  )
