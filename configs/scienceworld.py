"""ScienceWorld: experiments of primary school, as the paper has them.

  for stage in collect explore reflect prepare train evaluate report; do
    python -m early_experience.$stage --config=configs/scienceworld.py \
        --config.init.hf=/checkpoints/Llama-3.1-8B-Instruct \
        --workdir=runs/scienceworld
  done

The paper's numbers (appendix B.6): 1,000 trajectories of 14,506 decisions; 3
admissible actions drawn uniformly; 3 alternatives in a reflection (for Llama
3.1 8B 2: --config.reflect.k=2), of the policy's own where
--config.explore.proposers gives it a share; batch 32, learning rate 5e-6, one
epoch; answers sampled at 0.4. It plays the tasks of AgentGym, which are without
simplifications and leave out the 7 longest kinds.
Its experts are those of AgentGym and open its prompts with one episode as an
example; neither which trajectories nor which example is published. The
simulator's own solutions are the experts here, without an example.
"""

from early_experience import cards, recipes

_TASK_TYPES = (
  'boil',
  'change-the-state-of-matter-of',
  'chemistry-mix',
  'chemistry-mix-paint-secondary-color',
  'chemistry-mix-paint-tertiary-color',
  'find-animal',
  'find-living-thing',
  'find-non-living-thing',
  'find-plant',
  'freeze',
  'identify-life-stages-1',
  'identify-life-stages-2',
  'lifespan-longest-lived',
  'lifespan-longest-lived-then-shortest-lived',
  'lifespan-shortest-lived',
  'measure-melting-point-known-substance',
  'measure-melting-point-unknown-substance',
  'melt',
  'power-component',
  'power-component-renewable-vs-nonrenewable-energy',
  'test-conductivity',
  'test-conductivity-of-unknown-substances',
  'use-thermometer',
)


def get_config(recipe: str = 'world_model_then_imitation'):
  config = cards.of_environment(
    'scienceworld', k=3, decisions=14_506, batch=32, epochs=1
  )
  config.env.kwargs.simplifications = ()
  config.env.kwargs.task_types = _TASK_TYPES
  # A uniform choice among these is one among all, which are up to thousands.
  config.env.kwargs.max_admissible = 32
  config.collect.trajectories = 1000
  config.collect.max_steps = 100

  config.reflect.k = 3

  config.budget.lr_peak = 5e-6

  config.evaluate.splits = ('dev', 'test')
  config.evaluate.tasks = 128
  config.evaluate.max_steps = 100
  return recipes.select(config, recipe)
