"""Early experience against imitation, in TextWorld Express

Two games, those that a model of this size can win at all (docs/LOG.md): find a
coin, and fetch one by a map. The model, the updates and the care of
configs/studies/experts.py, with 300 demonstrations. The policy writes free
text. `large` is out of domain: its games have more rooms than training shows.
All recipes have as many updates; world_model_before_imitation learns outcomes
in half as many before. Each has two weight decays, as with the larger one
mixtures and second stages do not learn their actions to the end.
"""

from configs.studies import experts, paper
from early_experience import sweeps


def get_config(recipe: str = 'recovery'):
  config = experts.get_config(recipe)
  config.env.name, config.env.kwargs = 'textworld_express', {}
  config.env.kwargs.games = ('coin', 'mapreader')
  config.prepare.vocab_size = 1024
  if 'recovery' in config.prepare.rows:
    # The first of eight, most of which can be done: docs/LOG.md.
    config.prepare.rows.recovery.proposers = ()
  # A third of the episodes outgrow 1,024 tokens.
  config.prepare.row_tokens = config.model.max_tokens = 2048
  config.train.batch_rows = 1  # of twice as many tokens

  config.evaluate.splits = ('test', 'large')
  config.evaluate.tasks = 100
  config.evaluate.max_steps = 25
  return config


def sweep():
  return sweeps.product(
    {'seed': [0, 1, 2]},
    {'recipe': ['recovery', 'imitation', *experts.PAPER, *paper.OTHERS]},
    {'budget.weight_decay': [1.0, 0.1]},
  )
