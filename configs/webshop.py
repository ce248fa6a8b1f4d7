"""WebShop: find and buy what an instruction describes.

  DATA is the folder of the official files (items_shuffle.json and so on), DEMOS
  il_trajs_finalized_images.jsonl. The index is made once, for all processes:
    python -m early_experience.envs.webshop.index --data=DATA --index=INDEX
  then
    for stage in collect explore reflect prepare train evaluate report; do
      python -m early_experience.$stage --config=configs/webshop.py \
          --config.env.kwargs.data=DATA --config.env.kwargs.index=INDEX \
          --config.env.kwargs.trajectories=DEMOS \
          --config.init.hf=/checkpoints/Llama-3.1-8B-Instruct \
          --config.explore.openai.base_url=URL --workdir=runs/webshop
    done
  Without DATA a made-up shop for tests is played, which is no benchmark.

The paper's numbers (appendix B.2): 1,571 demonstrations, alternatives of the
model itself at temperatures 0.5, 0.8 and 0.9 and up to 5 uniform ones, 3 in a
reflection, of trajectories below 15 steps, batch 4. One temperature at a time
is asked here; 0.8 is the middle one. It states no number of epochs.
"""

from early_experience import cards, recipes

_DECISIONS, _BATCH, _EPOCHS = 15_464, 4, 2  # epochs: those of ALFWorld


def get_config(recipe: str = 'world_model_then_imitation'):
  config = cards.pretrained()
  config.env.name = 'webshop'
  config.env.kwargs.data = 'fixture'
  config.env.kwargs.products = 0
  config.env.kwargs.index = ''
  config.env.kwargs.trajectories = ''
  config.env.kwargs.held_out = ''
  config.collect.trajectories = 1571
  config.collect.max_steps = 15

  config.explore.k = 8
  config.explore.proposers.openai = 3.0
  config.explore.proposers.uniform = 5.0
  config.explore.openai.temperature = 0.8
  config.reflect.k = 3

  config.prepare.rows = recipes.row_sets(tuple(recipes.ROWS), k=8)
  config.budget.steps = _EPOCHS * _DECISIONS // _BATCH
  config.budget.world_model_steps = config.budget.steps // 2
  config.train.batch_rows = _BATCH

  config.evaluate.splits = ('test', 'dev')
  config.evaluate.tasks = 500
  config.evaluate.max_steps = 15
  return recipes.select(config, recipe)
