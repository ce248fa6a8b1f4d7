"""The whole loop on a laptop: small ALFWorld rooms, a 1M-parameter model.

Everything, compared on the same held-out tasks:
  python -m early_experience.quickstart --config=configs/quickstart.py \
      --workdir=runs/quickstart
One stage, one recipe:
  python -m early_experience.train --config=configs/quickstart.py:recovery \
      --workdir=runs/quickstart
Recipes: see early_experience/recipes.py. 6 to 15 minutes on 2 quiet cores.

Experts are few, and the policy writes free text: it must know what can be done.
"""

from early_experience import cards, recipes


def get_config(recipe: str = 'recovery'):
  config = cards.laptop()
  cards.small_rooms(config)
  config.env.kwargs.train_games = 1200
  config.collect.trajectories = 150
  config.explore.k = 8
  config.explore.rejoin = True
  config.explore.proposers.uniform = 0.75
  config.explore.proposers.recalled = 0.25

  config.prepare.vocab_size = 768
  config.prepare.rows = recipes.row_sets(('expert', 'joint', 'recovery'), k=8)
  # One that the environment rejects: docs/results/branches.md.
  config.prepare.rows.recovery.proposers = ('recalled',)
  config.prepare.rows.recovery.k = 1

  config.train.batch_rows = 2
  config.budget.steps = 1600
  # What imitation is best with, of what was tried on the dev panel.
  config.budget.weight_decay = 1.0

  config.evaluate.max_action_tokens = 24
  config.quickstart.recipes = ('random', 'imitation', 'recovery')
  return recipes.select(config, recipe)
