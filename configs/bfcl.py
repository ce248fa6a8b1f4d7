"""BFCL multi-turn: several requests of a user, served by function calls.

  for stage in collect explore reflect prepare train evaluate report; do
    python -m early_experience.$stage --config=configs/bfcl.py \
        --config.init.hf=/checkpoints/Llama-3.1-8B-Instruct \
        --config.explore.openai.base_url=URL \
        --config.explore.openai.model=MODEL --workdir=runs/bfcl
  done

The paper's numbers (appendix B.3): 125 base tasks to train on and 75 that are
evaluated, with their counterparts in the three other categories; 10
alternatives of the model that is trained; batch 16, learning rate 1e-5. It does
not state the epochs (2 here, as in ALFWorld), how many alternatives a
rationale weighs (3 here), nor how actions are sampled (greedily here). Its
experts are not named; the gold calls are here. Its world model learns effects
in a few words; here what a call returns, or with
--config.summarise.enabled=True, after `explore`, a summary of it. Instructions
list all functions at length, so that rows are long.
"""

from early_experience import cards, recipes


def get_config(recipe: str = 'world_model_then_imitation'):
  config = cards.of_environment(
    'bfcl', k=10, decisions=1189, batch=16, epochs=2, tokens=16_384
  )
  config.env.kwargs.train_tasks = 125
  config.env.kwargs.seed = 0
  config.collect.trajectories = 125

  config.explore.proposers.uniform = 0.0  # nothing lists the calls there are
  config.explore.proposers.openai = 1.0
  config.explore.openai.max_tokens = 512

  config.prepare.answer_format = 'labels'

  config.evaluate.splits = ('seen', 'long_context', 'miss_func', 'miss_param')
  config.evaluate.max_steps = 200  # the benchmark ends a turn of over 20 itself
  config.evaluate.temperature = 0.0
  config.evaluate.max_action_tokens = 512
  return recipes.select(config, recipe)
