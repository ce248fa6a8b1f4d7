"""WebShop: find and buy what an instruction describes.

  DATA is the folder of the official files (items_shuffle.json and so on), DEMOS
  il_trajs_finalized_images.jsonl. The index is made once, for all processes:
    python -m early_experience.envs.webshop.index --data=DATA --index=INDEX
  then
    for stage in collect explore summarise reflect prepare train evaluate report
    do
      python -m early_experience.$stage --config=configs/webshop.py \
          --config.env.kwargs.data=DATA --config.env.kwargs.index=INDEX \
          --config.env.kwargs.trajectories=DEMOS \
          --config.init.hf=/checkpoints/Llama-3.1-8B-Instruct \
          --config.explore.openai.base_url=URL \
          --config.explore.openai.model=MODEL \
          --config.summarise.openai.base_url=URL \
          --config.summarise.openai.model=MODEL \
          --config.reflect.openai.base_url=URL \
          --config.reflect.openai.model=MODEL --workdir=runs/webshop
    done
  Without DATA a made-up shop for tests is played, which is no benchmark.

The paper's numbers (appendix B.2): 1,571 demonstrations of 15,464 decisions, of
which those below 15 steps are reflected on; alternatives of the model itself at
temperatures 0.5, 0.8 and 0.9 and up to 5 uniform ones, outcomes as summaries, 3
alternatives in a reflection, those that cannot be done among them; batch 4.
Its test goals are Verl-Agent's, which by default are synthetic ones of the
1,000 products (--config.env.kwargs.goals=synthetic), the first 500. How
many of the model it asks for and the epochs are not stated: one for each
temperature, and those of ALFWorld.
"""

from early_experience import cards, recipes

_TEMPERATURES, _UNIFORM = (0.5, 0.8, 0.9), 5


def get_config(recipe: str = 'world_model_then_imitation'):
  config = cards.of_environment(
    'webshop',
    k=len(_TEMPERATURES) + _UNIFORM,
    decisions=15_464,
    batch=4,
    epochs=2,
    tokens=8192,
  )
  config.env.kwargs.data = 'fixture'
  config.env.kwargs.products = 0
  config.env.kwargs.index = ''
  config.env.kwargs.trajectories = ''
  config.env.kwargs.held_out = ''
  config.env.kwargs.goals = 'human'
  config.collect.trajectories = 1571

  config.explore.proposers.openai = float(len(_TEMPERATURES))
  config.explore.proposers.uniform = float(_UNIFORM)
  config.explore.openai.temperatures = _TEMPERATURES
  config.summarise.enabled = True
  config.reflect.writer = 'openai'
  config.reflect.k = 3
  config.reflect.max_steps = 14
  config.reflect.invalid = 'keep'

  config.evaluate.splits = ('test', 'dev')
  config.evaluate.tasks = 500
  config.evaluate.max_steps = 15
  config.evaluate.max_action_tokens = 128  # a search may be all of the task
  return recipes.select(config, recipe)
