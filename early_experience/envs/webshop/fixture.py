"""A made-up shop of some 80 products, for tests: no benchmark.

In the form of the official files, so that the code that reads those is tried.
"""

import itertools

from early_experience.envs.webshop import catalogue as catalogues

SOURCE = 'fixture made for tests, not the benchmark (WebShop)'
# category -> (kind of product, its option, values, attributes)
_SHELVES = {
  'beauty': (
    ('Shampoo', 'scent', ('Lavender', 'Mint', 'Rose'), ('sulfate free',)),
    ('Hand Cream', 'size', ('2 Ounce', '4 Ounce'), ('cruelty free',)),
    ('Toothbrush', 'color', ('Blue', 'Pink', 'White'), ('oral hygiene',)),
  ),
  'electronics': (
    ('Headphones', 'color', ('Black', 'Silver'), ('noise cancelling',)),
    ('Speaker', 'color', ('Red', 'Black', 'Navy'), ('wireless bluetooth',)),
    ('Phone Charger', 'size', ('1 Meter', '2 Meter'), ('fast charging',)),
  ),
  'fashion': (
    ('Running Shoes', 'size', ('7', '8', '9'), ('arch support',)),
    ('Rain Jacket', 'color', ('Green', 'Yellow'), ('machine wash',)),
    ('Wool Socks', 'size', ('Small', 'Large'), ('moisture wicking',)),
  ),
  'garden': (
    ('Desk Lamp', 'color', ('Brass', 'White'), ('space saving',)),
    ('Sofa Cover', 'size', ('Two Seats', 'Three Seats'), ('easy clean',)),
  ),
  'grocery': (
    ('Oat Cookies', 'flavor name', ('Cocoa', 'Ginger'), ('gluten free',)),
    ('Green Tea', 'size', ('20 Bags', '40 Bags'), ('caffeine free',)),
  ),
}
_BRANDS = ('Alder', 'Birchly', 'Corvane', 'Dunmore', 'Elsway', 'Fenwick')
_EXTRAS = ('eco friendly', 'long lasting', 'travel sized')


def catalogue(goals: str = 'human') -> catalogues.Catalogue:
  """The shop with its goals, `human` or `synthetic`."""
  items, attributes, instructions = [], {}, {}
  numbers = itertools.count()
  for category, kinds in _SHELVES.items():
    for kind, option, values, features in kinds:
      for brand in _BRANDS:
        number = next(numbers)
        asin = f'FX{number:08d}'
        own = [*features, _EXTRAS[number % len(_EXTRAS)]]
        items.append(_item(asin, number, category, kind, brand, option, values))
        attributes[asin] = {
          'attributes': own,
          'instruction': f'find me {own[0]} {kind.lower()}',
          'instruction_attributes': own[:1],
        }
        if brand in _BRANDS[:4]:
          value = values[number % len(values)]
          instructions[asin] = [_instruction(kind, brand, own, option, value)]
  return catalogues.build(items, attributes, instructions, 'the fixture', goals)


def _item(asin, number, category, kind, brand, option, values):
  low = 5 + number * 7 % 90
  return {
    'asin': asin,
    'name': f'{brand} {kind}',
    'query': kind,
    'category': category,
    'product_category': f'{category.title()} › All › {kind}',
    'full_description': f'A {kind.lower()} made by {brand}.',
    'small_description': [f'{kind} to enjoy every day', f'Sold by {brand}'],
    'pricing': f'${low}.50' if number % 4 else f'${low}.50$' + f'{low + 4}.00',
    'customization_options': {
      option.title(): [{'value': value, 'image': None} for value in values],
      'Gift Wrap': None,
    },
  }


def _instruction(kind, brand, attributes, option, value):
  return {
    'instruction': f'i am looking for {brand.lower()} {kind.lower()} that is'
    f' {attributes[0]} and {attributes[1]}, with {option} {value.lower()}.',
    'instruction_attributes': attributes,
    'instruction_options': [value.lower()],
  }
