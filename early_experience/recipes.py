"""The paper's methods as settings: which rows, which weights, which stages.

A recipe fills `config.name`, `config.train.stages` and `config.evaluate` from
`config.budget`. The values stay references, so overriding
`--config.budget.steps` changes every stage that follows from it.
"""

import copy

from ml_collections import ConfigDict

from early_experience.config import stage
from early_experience.runtime.errors import UserError

# Row sets by name: the datasets of each, and whether it has the branches.
ROWS = {
  'expert': (('imitation',), False),
  'trunk': (('imitation', 'world_model'), False),
  'world': (('world_model',), True),
  'reflect': (('imitation', 'reflection'), False),
  'joint': (('imitation', 'world_model', 'reflection'), True),
  'recovery': (('imitation', 'world_model', 'recovery'), True),
}
# Of them, those of the paper; the last one needs `config.explore.rejoin`.
PAPER = ('expert', 'trunk', 'world', 'reflect', 'joint')


def row_sets(names: tuple[str, ...], k: int) -> ConfigDict:
  """`config.prepare.rows` for the named sets; k alternatives in branches."""
  return ConfigDict(
    {
      name: {'datasets': ROWS[name][0], 'k': k if ROWS[name][1] else 0}
      for name in names
    }
  )


def select(config: ConfigDict, recipe: str) -> ConfigDict:
  """A copy of the config that follows the recipe.

  `random`: uniform admissible actions, nothing is trained.
  `untrained`: the initial parameters.
  `prompting`: a model behind `config.evaluate.openai`, told to think and act
    (ReAct, arXiv 2210.03629) and shown what is admissible; nothing is trained.
  `imitation`: the expert's actions (equation 1).
  `trunk`: actions and observations of the expert's episodes, without branches.
  `world_model`: outcomes alone, or plain text: what comes first.
  `world_model_then_imitation`: outcomes first (equation 3), then actions; the
    updates of both together equal those of `imitation`.
  `world_model_before_imitation`: the same, but the second stage alone has as
    many updates as `imitation` (both readings of the paper's budget rule).
  `self_reflection`: rationale, then action (equation 4), with the expert's
    actions; it thinks when it is evaluated.
  `star`: likewise with thoughts of `config.reflect.openai` as rationales, where
    it acts as the expert did; in a workdir of its own.
  `joint`: all three objectives in every update.
  `recovery`: outcomes, and the expert's actions again behind alternatives
    from which the environment has proven that what the expert did from there
    on still ends as it ended; it is not of the paper.

  Raises:
    UserError: no such recipe.
  """
  if recipe not in RECIPES:
    raise UserError(
      f'the recipe is {recipe!r}, not one of: {", ".join(RECIPES)}'
    )
  config = copy.deepcopy(config)
  config.name = recipe
  config.train.stages = RECIPES[recipe](config.budget)
  if recipe in ('random', 'untrained'):
    config.evaluate.policy = recipe
  if recipe == 'prompting':
    config.evaluate.policy = 'served'
    config.evaluate.constrained = False
    config.evaluate.openai.prompt = 'react-1'
    config.evaluate.openai.options = 'options-1'
  if recipe == 'star':
    config.reflect.writer = recipe
  if recipe in ('self_reflection', 'star'):
    config.evaluate.think = True
  return config


def _stage(settings, rows, steps=None, **weights):
  shared = ['lr_peak', 'warmup_steps', 'decay', 'b2', 'weight_decay']
  # References of its own: a stage that is given another value keeps it alone.
  budget = lambda key: settings.get_ref(key).identity()
  return stage(
    rows={rows: 1.0} if isinstance(rows, str) else rows,
    weights={
      'imitation': 0.0,
      'world_model': 0.0,
      'reflection': 0.0,
      **weights,
    },
    steps=budget('steps') if steps is None else steps,
    **{key: budget(key) for key in shared},
  )


def _nothing(settings):
  return [_stage(settings, 'expert', steps=0)]


def _imitation(settings, steps=None):
  return [_stage(settings, 'expert', steps, imitation=1.0)]


def _trunk(settings):
  weight = settings.get_ref('world_model_weight')
  return [_stage(settings, 'trunk', imitation=1.0, world_model=weight)]


def _world_model(settings, steps=None):
  return [_stage(settings, 'world', steps, world_model=1.0)]


def _world_model_first(settings):
  steps = settings.get_ref('world_model_steps')
  return _world_model(settings, steps.identity())


def _world_model_then_imitation(settings):
  left = settings.get_ref('steps') - settings.get_ref('world_model_steps')
  return _world_model_first(settings) + _imitation(settings, left)


def _world_model_before_imitation(settings):
  return _world_model_first(settings) + _imitation(settings)


def _self_reflection(settings):
  weight = settings.get_ref('reflection_weight')
  return [_stage(settings, 'reflect', imitation=1.0, reflection=weight)]


def _joint(settings):
  weight = settings.get_ref('reflection_weight')
  return [_mixture(settings, 'joint', reflection=weight)]


def _recovery(settings):
  return [_mixture(settings, 'recovery')]


def _mixture(settings, rows, **weights):
  share = settings.get_ref('joint_share')
  return _stage(
    settings,
    {rows: share, 'expert': 1.0 - share},
    imitation=1.0,
    world_model=settings.get_ref('world_model_weight'),
    **weights,
  )


RECIPES = {
  'random': _nothing,
  'untrained': _nothing,
  'prompting': _nothing,
  'imitation': _imitation,
  'trunk': _trunk,
  'world_model': _world_model,
  'world_model_then_imitation': _world_model_then_imitation,
  'world_model_before_imitation': _world_model_before_imitation,
  'self_reflection': _self_reflection,
  'star': _self_reflection,
  'joint': _joint,
  'recovery': _recovery,
}
