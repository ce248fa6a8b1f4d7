"""WebArena-Lite: errands on copies of real sites, which you have to run.

  DATA is a folder with test.raw.json (WebArena) and test_webarena_lite.raw.json
  (WebArena-Lite), DEMOS the successful runs of agents, one JSON object a line:
    {"task": "44", "actions": ["click(12)", "answer(\\"17\\")"]}
  $WA_SHOPPING, WA_SHOPPING_ADMIN, WA_REDDIT, WA_GITLAB, WA_WIKIPEDIA, WA_MAP
  and WA_HOMEPAGE are the addresses of your servers. Then
    for stage in collect explore summarise reflect prepare train evaluate report
    do
      python -m early_experience.$stage --config=configs/webarena.py \
          --config.env.kwargs.data=DATA \
          --config.env.kwargs.demonstrations=DEMOS \
          --config.init.hf=/checkpoints/Llama-3.1-8B-Instruct \
          --config.explore.openai.base_url=URL \
          --config.explore.openai.model=MODEL \
          --config.summarise.openai.base_url=URL \
          --config.summarise.openai.model=MODEL \
          --config.reflect.openai.base_url=URL \
          --config.reflect.openai.model=MODEL --workdir=runs/webarena
    done
  The servers are shared by all workers, and so is what agents change on them:
  have one worker, and reset them as WebArena says.

The paper's numbers (appendix B.8): 554 trajectories of 7,044 decisions, 5
alternatives of the model itself at each beside the expert's action, the same 5
in a reflection, outcomes as the model's own summaries, 2 epochs, learning rate
1e-5. It states no batch; this is that of ALFWorld.
"""

from early_experience import cards, recipes


def get_config(recipe: str = 'world_model_then_imitation'):
  config = cards.of_environment(
    'webarena', k=5, decisions=7044, batch=16, epochs=2, tokens=32_768
  )
  config.env.kwargs.data = ''
  config.env.kwargs.demonstrations = ''
  config.cluster.workers = 1
  config.collect.trajectories = 554
  config.collect.max_steps = 30  # WebArena's own limit

  config.explore.proposers.uniform = 0.0
  config.explore.proposers.openai = 1.0
  config.summarise.enabled = True
  config.reflect.writer = 'openai'
  config.reflect.k = 5

  config.evaluate.splits = ('seen', 'unseen')
  config.evaluate.max_steps = 30
  config.evaluate.batch_tasks = 1
  return recipes.select(config, recipe)
