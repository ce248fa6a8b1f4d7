"""tau2 retail: customers' wishes, fulfilled by tools as a policy allows.

  for stage in collect explore reflect prepare train evaluate report; do
    python -m early_experience.$stage --config=configs/tau2.py \
        --config.init.hf=/checkpoints/Llama-3.1-8B-Instruct \
        --config.explore.openai.base_url=URL \
        --config.explore.openai.model=MODEL --workdir=runs/tau2
  done

Users are scripted: they tell all at once. A language model plays them with
  --config.env.kwargs.user=model \
  --config.env.kwargs.user_model.base_url=URL \
  --config.env.kwargs.user_model.model=MODEL \
  --config.env.kwargs.user_model.cache=FILE

The paper's numbers (appendix B.4): 5 alternatives of the model that is trained,
which does not see the expert's own tool, 3 of them in a reflection, unknown
tools among them; batch 16; 6 epochs of imitation at a learning rate of 1e-5,
after one of 6 outcomes a state at 5e-6. Its tasks are those of tau-bench, and
its experts talk to a simulated user; tau2 has 74 tasks to train on, and the
gold calls are the experts here.
"""

from early_experience import cards, recipes

_DECISIONS, _BATCH, _K = 424, 16, 5
_WORLD_MODEL_LR = 5e-6


def get_config(recipe: str = 'world_model_before_imitation'):
  config = cards.of_environment(
    'tau2', k=_K, decisions=_DECISIONS, batch=_BATCH, epochs=6, tokens=16_384
  )
  config.env.kwargs.domain = 'retail'
  config.env.kwargs.user = 'scripted'
  config.env.kwargs.user_model = {
    'base_url': '',
    'model': '',
    'cache': '',
    'input_price': 0.0,
    'output_price': 0.0,
  }
  config.collect.trajectories = 74

  config.explore.proposers.uniform = 0.0  # nothing lists the calls there are
  config.explore.proposers.openai = 1.0
  config.explore.openai.max_tokens = 512
  config.reflect.k = 3
  config.reflect.invalid = 'keep'

  config.prepare.answer_format = 'plain'
  config.budget.world_model_steps = (_K + 1) * _DECISIONS // _BATCH

  config.evaluate.splits = ('test', 'other_domain')
  config.evaluate.max_steps = 50
  config.evaluate.temperature = 0.0  # not stated; tau-bench's own
  config.evaluate.max_action_tokens = 512
  config = recipes.select(config, recipe)
  if recipe.startswith('world_model_'):
    config.train.stages[0].lr_peak = _WORLD_MODEL_LR
  return config
