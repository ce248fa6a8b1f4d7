"""MiniWoB++: small tasks in a real browser, and a 1M-parameter model.

Needs Chromium and its driver; `python -m early_experience.envs` has the line.
  for stage in collect explore reflect prepare train evaluate report; do
    python -m early_experience.$stage --config=configs/miniwob.py:joint \
        --workdir=runs/miniwob
  done
17 kinds of task are trained on, 10 others are `unseen`. It is a stand-in for
WebArena-Lite that anyone can run, and not of the paper.
"""

from early_experience import cards, recipes


def get_config(recipe: str = 'joint'):
  config = cards.laptop()
  config.env.name = 'miniwob'
  config.env.kwargs.train_seeds = 60
  config.collect.trajectories = 1000
  config.collect.max_steps = 20

  config.prepare.vocab_size = 1024

  config.evaluate.splits = ('dev', 'unseen')
  config.evaluate.max_steps = 15
  config.evaluate.max_action_tokens = 24
  config.evaluate.batch_tasks = 4  # each has a browser of its own
  return recipes.select(config, recipe)
