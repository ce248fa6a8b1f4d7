"""TextWorld Express: five small games, and a 1M-parameter model on a laptop.

  for stage in collect explore reflect prepare train evaluate report; do
    python -m early_experience.$stage \
        --config=configs/textworld_express.py:joint --workdir=runs/express
  done
Nobody has to be asked and nothing downloaded; it is not of the paper. `large`
has games of more rooms and steps than training shows.
"""

from early_experience import cards, recipes


def get_config(recipe: str = 'joint'):
  config = cards.laptop()
  config.env.name = 'textworld_express'
  config.env.kwargs.games = ('coin', 'mapreader', 'simonsays', 'sorting', 'twc')
  config.collect.trajectories = 2000
  config.collect.max_steps = 20

  config.prepare.vocab_size = 1024

  config.train.batch_rows = 8

  config.evaluate.splits = ('test', 'large')
  config.evaluate.max_steps = 25
  config.evaluate.max_action_tokens = 24
  return recipes.select(config, recipe)
