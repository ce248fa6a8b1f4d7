"""The paper's methods are settings of one step, at one budget."""

import importlib
import pathlib
import re

import pytest

from early_experience import recipes
from early_experience.runtime.errors import UserError

CONFIGS = sorted(
  p.stem
  for p in (pathlib.Path(__file__).parent.parent / 'configs').glob('*.py')
)


def config(recipe, name='tiny'):
  return importlib.import_module(f'configs.{name}').get_config(recipe)


def total(settings):
  return sum(stage.steps for stage in settings.train.stages)


def on(stage):
  return {name for name, weight in stage.weights.items() if weight}


@pytest.mark.parametrize('name', CONFIGS)
@pytest.mark.parametrize('recipe', recipes.RECIPES)
def test_every_config_has_every_recipe(name, recipe):
  settings = config(recipe, name)
  assert settings.name == recipe
  assert (
    f'configs/{name}.py' in importlib.import_module(f'configs.{name}').__doc__
  )


@pytest.mark.parametrize('name', CONFIGS)
def test_what_a_config_says_of_its_flags_is_so(name):
  doc = importlib.import_module(f'configs.{name}').__doc__
  settings = config('joint', name)
  told = set(re.findall(r'--config\.([\w.]+)=', doc))
  for key in told:
    if not key.startswith('env.kwargs.'):
      settings[key]  # raises where there is no such setting
    if key.endswith('.base_url'):
      assert key.replace('base_url', 'model') in told


def test_what_each_recipe_trains_on():
  assert [on(s) for s in config('imitation').train.stages] == [{'imitation'}]
  assert [on(s) for s in config('self_reflection').train.stages] == [
    {'imitation', 'reflection'}
  ]
  assert [on(s) for s in config('trunk').train.stages] == [
    {'imitation', 'world_model'}
  ]
  assert [on(s) for s in config('joint').train.stages] == [
    {'imitation', 'world_model', 'reflection'}
  ]
  (stage,) = config('recovery').train.stages
  assert on(stage) == {'imitation', 'world_model'}
  assert set(stage.rows) == {'recovery', 'expert'}
  for recipe in (
    'world_model_then_imitation',
    'world_model_before_imitation',
  ):
    assert [on(s) for s in config(recipe).train.stages] == [
      {'world_model'},
      {'imitation'},
    ]


def test_recipes_share_one_budget_but_the_one_that_says_otherwise():
  settings = config('imitation')
  extra = settings.budget.world_model_steps
  for recipe in set(recipes.RECIPES) - {'random', 'untrained', 'prompting'}:
    more = extra if recipe == 'world_model_before_imitation' else 0
    assert total(config(recipe)) == settings.budget.steps + more
  assert total(config('untrained')) == 0


def test_an_override_of_the_budget_reaches_the_stages():
  settings = config('world_model_then_imitation')
  settings.budget.steps, settings.budget.world_model_steps = 70, 30
  resolved = settings.copy_and_resolve_references()
  assert [s.steps for s in resolved.train.stages] == [30, 40]


def test_an_override_of_a_stage_is_its_own_alone():
  settings = config('world_model_before_imitation')
  first, second = settings.train.stages
  second.lr_peak, second.steps = 1e-5, 7
  assert first.lr_peak == settings.budget.lr_peak != second.lr_peak
  assert first.steps == settings.budget.world_model_steps != 7
  settings.budget.lr_peak = 1e-2
  assert (first.lr_peak, second.lr_peak) == (1e-2, 1e-5)
  settings.budget.steps = 99
  assert second.steps == 7


def test_the_trunk_has_no_branches_and_the_joint_mixture_has():
  rows = recipes.row_sets(('trunk', 'joint'), k=5)
  assert (rows.trunk.k, rows.joint.k) == (0, 5)


def test_self_reflection_thinks_and_others_do_as_the_experts_did():
  assert config('self_reflection').evaluate.think
  assert config('joint').evaluate.think is None


def test_an_unknown_recipe_is_refused():
  with pytest.raises(UserError, match="'magic', not one of: random"):
    config('magic')
