"""The whole loop on a laptop: small ALFWorld rooms, a 1M-parameter model.

Everything, compared on the same held-out tasks:
  python -m early_experience.quickstart --config=configs/quickstart.py \
      --workdir=runs/quickstart
One stage, one recipe:
  python -m early_experience.train --config=configs/quickstart.py:joint \
      --workdir=runs/quickstart
Recipes: see early_experience/recipes.py. About 15 minutes on 2 quiet cores.
"""

from early_experience import cards, recipes


def get_config(recipe: str = 'joint'):
  config = cards.laptop()
  cards.small_rooms(config)
  config.env.kwargs.train_games = 1200
  config.collect.trajectories = 1000

  config.prepare.vocab_size = 768
  config.prepare.rows = recipes.row_sets(('expert', 'joint'), k=2)

  config.evaluate.constrained = True
  config.evaluate.max_action_tokens = 16
  config.quickstart.recipes = ('random', 'untrained', 'imitation', 'joint')
  return recipes.select(config, recipe)
