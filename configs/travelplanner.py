"""TravelPlanner: a trip within its budget and constraints, field by field.

  DATA is a folder with train.csv and validation.csv of osunlp/TravelPlanner,
  and train_ref_info.jsonl and validation_ref_info.jsonl of its repository:
    for stage in collect explore reflect prepare train evaluate report; do
      python -m early_experience.$stage --config=configs/travelplanner.py \
          --config.env.kwargs.data=DATA \
          --config.init.hf=/checkpoints/Llama-3.1-8B-Instruct \
          --config.reflect.openai.base_url=URL \
          --config.reflect.openai.model=MODEL --workdir=runs/travelplanner
    done
  Without DATA made-up trips for tests are planned, which is no benchmark.

The paper's numbers (appendix B.7): 45 annotated plans, every action that is
possible as an alternative, up to 30 of them in a reflection (temperature 0.9),
batch 128, 5 epochs, paths of 32K tokens, greedy decoding, 180 validation trips.
"""

from early_experience import cards, recipes

_ALL = 1_000  # more than any state has


def get_config(recipe: str = 'world_model_then_imitation'):
  config = cards.of_environment(
    'travelplanner', k=_ALL, decisions=1395, batch=128, epochs=5, tokens=32_768
  )
  config.env.kwargs.data = 'fixture'
  config.env.kwargs.held_out_days = 0
  config.collect.trajectories = 45
  config.collect.max_steps = 50

  config.explore.proposers.uniform = 0.0
  config.explore.proposers.exhaustive = 1.0
  config.reflect.writer = 'openai'
  config.reflect.k = 30

  config.prepare.answer_format = 'plain'  # a thought, a blank line, the JSON
  config.train.microbatches = 16

  config.evaluate.splits = ('validation',)
  config.evaluate.max_steps = 50
  config.evaluate.temperature = 0.0
  config.evaluate.max_action_tokens = 128
  return recipes.select(config, recipe)
