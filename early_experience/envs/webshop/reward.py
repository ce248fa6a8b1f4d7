"""The official reward: type, attributes, options and price of a purchase.

Source: WebShop, `get_reward` and what it calls. Texts are compared by thefuzz,
as there. Nouns of a title are found by spaCy there; see `title_words`.
"""

import re
from collections.abc import Iterable

from early_experience.envs.webshop.catalogue import Goal, Product

_CLOSE = 85  # two texts are the same above it, of 100
# Colours that an option is cut down to, where one occurs in it; the first of
# this order counts.
_COLORS = (
  'alabaster apricot aqua ash asphalt azure banana beige black blue blush'
  ' bordeaux bronze brown burgundy camel camo caramel champagne charcoal'
  ' cheetah chestnut chocolate christmas coffee cognac copper coral'
  ' cranberry cream crystal dark denim eggplant elephant espresso fuchsia'
  ' gold granite grape graphite grass gray green grey heather indigo ivory'
  ' ivy khaki lavender lemon leopard light lilac lime magenta maroon mauve'
  ' merlot midnight mint mocha multicolor mushroom mustard natural navy nude'
  ' olive orange peach pewter pink plum purple rainbow red rose royal rust'
  ' sand sapphire seashell silver skull slate steel stone stonewash'
  ' sunflower tan taupe teal tiger turquoise violet walnut wheat white wine'
  ' yellow'
)
_NOT_NOUNS = (
  'a an and are as at be by for from has in into is it its no non not of on'
  ' or our out over per so than that the their these this to under up very'
  ' with without you your'
)


def title_words(title: str) -> set[str]:
  """The words of a title that say what a product is.

  All but numbers and words like `with`. The official reward takes the nouns
  that spaCy's en_core_web_sm finds, a model that no package index has. Titles
  are mostly names, which it tags as nouns; adjectives count here and not there,
  so that an other product's type may score lower or higher. A product always
  is of its own type, in both.
  """
  words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", title.lower())
  return set(words).difference(_NOT_NOUNS.split())


def type_reward(product: Product, wanted: Product) -> float:
  """How well the kind of product fits, in [0, 1]."""
  words = title_words(wanted.title)
  common = len(words & title_words(product.title))
  score = common / len(words) if words else 0.2
  if score == 0:
    return 0.0
  if score < 0.1:
    return 0.1
  same = _categories(product) & _categories(wanted)
  fits = product.query == wanted.query or len(same) >= 2 or score > 0.2
  return 1.0 if fits else 0.5


def attributes_found(product: Product, goal: Goal) -> int:
  """How many of the goal's attributes a product has.

  One close to an attribute of the product, or to be read in its texts.
  """
  texts = (
    product.title.lower(),
    ' '.join(product.bullets).lower(),
    product.description.lower(),
  )
  return sum(
    any(_close(own, attribute) for own in product.attributes)
    or any(attribute in text for text in texts)
    for attribute in goal.attributes
  )


def options_found(chosen: Iterable[str], goal: Goal) -> int:
  """How many of the goal's options are among the chosen ones."""
  chosen = [_color(option) for option in chosen]
  wanted = [_color(option) for option in goal.options]
  if goal.option_names:  # compared with their names there, but for bare colours
    named = zip(goal.option_names, goal.options, strict=True)
    colors = _COLORS.split()
    wanted = [v if v in colors else f'{name} {v}' for name, v in named]
  return sum(any(_close(option, w) for option in chosen) for w in wanted)


def option_matches(option: str, wanted: str) -> bool:
  """Whether an option counts as the one that a person asked for."""
  return _close(_color(option), _color(wanted))


def reward(
  product: Product, chosen: Iterable[str], wanted: Product, goal: Goal
) -> float:
  """The reward of a purchase, in [0, 1].

  Args:
    product: that was bought.
    chosen: values of its options.
    wanted: the product of the goal.
    goal: with its attributes, options and price bound.
  """
  points = (
    attributes_found(product, goal)
    + options_found(chosen, goal)
    + (product.price <= goal.price_upper)
  )
  whole = len(goal.attributes) + len(goal.options) + 1
  return points / whole * type_reward(product, wanted)


def _categories(product):
  return {part.strip() for part in product.product_category.split('›')}


def _color(option):
  return next((color for color in _COLORS.split() if color in option), option)


def _close(one, other):
  from thefuzz import fuzz

  return fuzz.token_set_ratio(one, other) > _CLOSE
