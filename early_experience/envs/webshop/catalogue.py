"""Products and goals out of the official files, each entry checked.

Source: WebShop, `load_products`, `generate_product_prices`, `get_human_goals`,
`get_synthetic_goals`.
Prices within a range and price bounds are drawn without a seed there, so that
they differ from run to run; here each is drawn from its product's number.
"""

import dataclasses
import itertools
import json
import pathlib
import random
import re

from early_experience.runtime import json_text
from early_experience.runtime.errors import UserError

ITEMS = ('items_shuffle.json', 'items_shuffle_1000.json')
ATTRIBUTES = ('items_ins_v2.json', 'items_ins_v2_1000.json')
INSTRUCTIONS = 'items_human_ins.json'
BOUND = (
  ', and price lower than'  # what an instruction's price bound begins with
)
_BOUNDS = [10.0 * i for i in range(1, 100)]
_SHUFFLE = 233  # the official seed of the order of goals


@dataclasses.dataclass(frozen=True, slots=True)  # there are a million
class Product:
  """One product; `options` are the values of each option, in lower case."""

  asin: str
  title: str
  query: str
  category: str
  product_category: str
  description: str
  bullets: tuple[str, ...]
  price: float
  price_tag: str
  options: dict[str, tuple[str, ...]]
  attributes: tuple[str, ...]

  def text(self) -> str:
    """What the official search engine indexes."""
    options = [f'{name}: {", ".join(v)}' for name, v in self.options.items()]
    bullet = self.bullets[0] if self.bullets else ''
    parts = [self.title, self.description, bullet, ', and '.join(options)]
    return ' '.join(parts).lower()


@dataclasses.dataclass(frozen=True)
class Goal:
  """What is to be bought.

  Attributes:
    number: its place in the official order.
    asin: of a product that fits.
    instruction: what the agent reads.
    attributes, options: that the product must have.
    price_upper: in dollars.
    option_names: of the options, where the goal is synthetic.
  """

  number: int
  asin: str
  instruction: str
  attributes: tuple[str, ...]
  options: tuple[str, ...]
  price_upper: float
  option_names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Catalogue:
  """All products by their number, and the goals in the official order."""

  products: dict[str, Product]
  goals: tuple[Goal, ...]


def read(folder: str, limit: int = 0, goals: str = 'human') -> Catalogue:
  """Reads the official files.

  Args:
    folder: has them; the full ones are taken where there are small ones too.
    limit: only so many products, the first; 0 = all.
    goals: `human` or `synthetic`.

  Raises:
    UserError: a file is missing or malformed; the message names it, and the
      line or the product.
  """
  items, attributes, instructions = paths(folder)
  found = _json(items, list)
  return build(
    found[:limit] if limit else found,
    _json(attributes, dict),
    _json(instructions, dict),
    str(items),
    goals,
  )


def paths(folder: str) -> tuple[pathlib.Path, ...]:
  """The three official files; the error names what is missing."""
  found = []
  for names in (ITEMS, ATTRIBUTES, (INSTRUCTIONS,)):
    there = [pathlib.Path(folder, n) for n in names]
    there = [path for path in there if folder and path.is_file()]
    if not there:
      raise UserError(
        f'env.kwargs.data is {folder!r}, which has no {" or ".join(names)}:'
        ' name the folder of the data that setup.sh of princeton-nlp/WebShop'
        ' downloads; or fixture, a made-up shop'
      )
    found.append(there[0])
  return tuple(found)


def build(
  items: list[dict],
  attributes: dict,
  instructions: dict,
  where: str,
  kind: str = 'human',
) -> Catalogue:
  """Makes products and goals of what the official files hold.

  Args:
    items: the products.
    attributes: by product number.
    instructions: those that people wrote, by product number.
    where: names the products' file in errors.
    kind: of goals: `human`, those that people wrote; or `synthetic`, one for
      each combination of the options of a product.
  """
  products, goals = {}, []
  for place, item in enumerate(items):
    spot = f'{where} product {place}'
    try:
      asin = item['asin']
      if asin == 'nan' or len(asin) > 10 or asin in products:
        continue
      spot = f'{where} product {place} ({asin})'
      own = attributes.get(asin, {})
      products[asin] = _product(item, own.get('attributes', ['DUMMY_ATTR']))
      if kind == 'human':
        spot = f'{INSTRUCTIONS} of {asin}'
        goals += _human(products[asin], instructions.get(asin, []))
      else:
        spot = f'{ATTRIBUTES[0]} of {asin}'
        goals += _synthetic(products[asin], own)
    except KeyError as error:
      raise UserError(f'{spot}: has no {error.args[0]!r}') from None
    except (AttributeError, TypeError, ValueError) as error:
      raise UserError(f'{spot}: malformed: {error}') from None
  random.Random(_SHUFFLE).shuffle(goals)
  numbered = [dataclasses.replace(g, number=n) for n, g in enumerate(goals)]
  return Catalogue(products, tuple(numbered))


def _product(item, attributes):
  prices, tag = _prices(item.get('pricing'))
  price = prices[0]
  if len(prices) > 1:
    price = random.Random(item['asin']).uniform(*prices)
  bullets = item['small_description']
  options = {}
  for name, values in (item['customization_options'] or {}).items():
    if values is not None:
      texts = [v['value'].replace('/', ' | ').lower() for v in values]
      options[name.lower()] = tuple(' '.join(text.split()) for text in texts)
  return Product(
    asin=item['asin'],
    title=_text(item['name']),
    query=item['query'].lower().strip(),
    category=_text(item['category']),
    product_category=_text(item['product_category']),
    description=_text(item['full_description']),
    bullets=tuple(
      _text(b) for b in (bullets if isinstance(bullets, list) else [bullets])
    ),
    price=price,
    price_tag=tag,
    options=options,
    attributes=tuple(_text(a) for a in attributes),
  )


def _prices(pricing):
  """The one price or two, and what the shop shows of them."""
  if not pricing:
    return [100.0], '$100.0'
  prices = [
    float(re.sub(r'[^\d.]', '', part)) for part in pricing.split('$')[1:]
  ]
  if not prices:
    raise ValueError(f'no price in {pricing!r}')
  return prices[:2], ' to '.join(f'${price}' for price in prices[:2])


def _human(product, instructions):
  found = []
  for place, value in enumerate(instructions):
    attributes = tuple(_text(a) for a in value['instruction_attributes'])
    if not attributes:
      continue
    upper, bound = _bound(product, place)
    options = value['instruction_options']
    if not isinstance(options, list):
      raise TypeError(f'instruction_options is {options!r:.40}, no list')
    found.append(
      Goal(
        number=0,
        asin=product.asin,
        instruction=_text(value['instruction']).strip('.') + bound,
        attributes=attributes,
        options=tuple(' '.join(_text(o).split()) for o in options),
        price_upper=upper,
      )
    )
  return found


def _synthetic(product, value):
  if value.get('instruction') is None:
    return []
  upper, bound = _bound(product, 'synthetic')
  names = sorted(product.options)
  found = []
  for options in itertools.product(*(product.options[n] for n in names)):
    chosen = [f'{n}: {v}' for n, v in zip(names, options, strict=True)]
    wish = f' with {", and ".join(chosen)}' if chosen else ''
    found.append(
      Goal(
        number=0,
        asin=product.asin,
        instruction=f'{_text(value["instruction"])}{wish}{bound}',
        attributes=tuple(_text(a) for a in value['instruction_attributes']),
        options=options,
        price_upper=upper,
        option_names=tuple(names),
      )
    )
  return found


def _bound(product, place):
  """A price bound out of the next four tens, and the words that say it."""
  bounds = [bound for bound in _BOUNDS if bound > product.price][:4]
  if len(bounds) < 2:
    return 1_000_000.0, ''
  upper = max(random.Random(f'{product.asin}/{place}').sample(bounds, 2))
  return upper, f'{BOUND} {upper:.2f} dollars'


def _text(value):
  if not isinstance(value, str):
    raise TypeError(f'{value!r:.40} is no text')
  return value


def _json(path, kind):
  try:
    value = json_text.parse(path.read_bytes(), once=False)
  except json.JSONDecodeError as error:
    raise UserError(
      f'{path} line {error.lineno}: not JSON: {error.msg}'
    ) from None
  except UnicodeDecodeError as error:
    raise UserError(f'{path}: not UTF-8: {error.reason}') from None
  except ValueError as error:
    raise UserError(f'{path}: {error}') from None
  except OSError as error:
    raise UserError(f'cannot read {path}: {error.strerror}') from None
  if not isinstance(value, kind):
    raise UserError(f'{path}: not a JSON {kind.__name__}')
  return value
