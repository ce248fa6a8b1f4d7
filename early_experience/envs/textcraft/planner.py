"""A plan of commands that makes something out of nothing, by recipes."""

import collections
import types
from collections.abc import Mapping, Sequence

PREFIX = 'minecraft:'
_ROUNDS = 16  # of gathering for one recipe, before a plan is given up
_NOTHING = types.MappingProxyType({})


class Plan:
  """Actions that make something, and what is held after them.

  Args:
    tree: of all recipes; says what belongs to a tag.
    listed: the recipes that may be used.
    held: how many of each item there are to begin with.
  """

  def __init__(self, tree, listed, held: Mapping[str, int] = _NOTHING):
    self._tree = tree
    self._recipes = collections.defaultdict(list)
    for recipe in listed:
      self._recipes[recipe.output_item.item_tag.item_id].append(recipe)
    self.actions, self._held = [], collections.Counter(held)

  def need(self, item: str, count: int, making: tuple[str, ...]) -> bool:
    """Sees to it that so many of an item are held; False where it cannot be.

    Args:
      item: identifier.
      count: of it.
      making: what this is an ingredient of, for recipes go in circles.
    """
    if self._held[item] >= count:
      return True
    if not self._tree.is_craftable(item):
      self.actions.append(get(item, count))
      self._held[item] += count
      return True
    if item in making:
      return False
    for recipe in sorted(self._recipes[item], key=self._effort):
      before = len(self.actions), self._held.copy()
      while self._held[item] < count and self._make(recipe, (*making, item)):
        pass
      if self._held[item] >= count:
        return True
      self.actions, self._held = self.actions[: before[0]], before[1]
    return False

  def _make(self, recipe, making):
    """Applies a recipe once."""
    chosen = []
    for needed in recipe.input_items:
      item = self._choose(needed, making)
      if item is None:
        return False
      chosen.append(item)
    # Making one ingredient may use up another.
    wanted = collections.Counter()
    for item, needed in zip(chosen, recipe.input_items, strict=True):
      wanted[item] += needed.count
    for _ in range(_ROUNDS):
      if self._held >= wanted:
        break
      if not all(self.need(i, n, making) for i, n in wanted.items()):
        return False
    else:
      return False
    self._held.subtract(wanted)
    output = recipe.output_item
    self._held[output.item_tag.item_id] += output.count
    self.actions.append(craft(recipe, chosen))
    return True

  def _choose(self, needed, making):
    """Which item to use for an ingredient; tries those of a tag in turn."""
    tag = needed.item_tag
    if tag.item_id is not None:
      return tag.item_id
    kinds = [i for i in self._recipes if serves(self._tree, i, tag)]
    for item in sorted(kinds, key=lambda i: -self._held[i]):
      before = len(self.actions), self._held.copy()
      if self.need(item, needed.count, making):
        return item
      self.actions, self._held = self.actions[: before[0]], before[1]
    return None

  def _effort(self, recipe):
    depth = self._tree.get_min_depth
    return max(depth(needed.item_tag.name) for needed in recipe.input_items)


def is_base(tree, tag) -> bool:
  """Whether the world has an item without crafting."""
  item = tag.item_id
  return (
    item is not None
    and not tree.is_craftable(item)
    and not tree.is_tag(item)
    and tree.is_valid_item(item)
  )


def serves(tree, item: str, tag) -> bool:
  """Whether an item is one that a recipe asks for, by name or by kind."""
  if tag.item_id is not None:
    return item == tag.item_id
  return tree.item_id_to_tag.get(item) == tag.tag


def words(item: str, blank: str = ' ') -> str:
  """An identifier as commands have it."""
  return item.removeprefix(PREFIX).replace('_', blank)


def get(item: str, count: int) -> str:
  """The command that gathers."""
  return f'get {count} {words(item)}'


def craft(recipe, chosen: Sequence[str]) -> str:
  """The command of a recipe with an item for each ingredient."""
  output = recipe.output_item
  used = ', '.join(
    f'{needed.count} {words(item)}'
    for item, needed in zip(chosen, recipe.input_items, strict=True)
  )
  made = words(output.item_tag.item_id)
  return f'craft {output.count} {made} using {used}'
