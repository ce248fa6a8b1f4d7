"""The pages of the shop: what they show, and where a click leads.

Source: WebShop, `SimServer` and the templates, as its text environment reads
them in `simple` mode; the paper's agents read the same through Verl-Agent,
which quotes each part and leaves out the instruction.
"""

import dataclasses

from early_experience.envs.webshop.catalogue import Product

HITS = 50  # a search finds at most so many
WINDOW = 10  # products a page
BUY, BACK, PREVIOUS, NEXT = 'Buy Now', 'Back to Search', '< Prev', 'Next >'
SUB_PAGES = ('Description', 'Features', 'Reviews')


@dataclasses.dataclass(frozen=True)
class Page:
  """Where a shopper is: all that a session remembers.

  Attributes:
    kind: search | results | item | one of SUB_PAGES.
    hits: numbers of the products that were found, the best first.
    number: of the page of results, from 1.
    asin: of the product that is looked at.
    options: (name, value) of each that was chosen.
  """

  kind: str = 'search'
  hits: tuple[str, ...] = ()
  number: int = 1
  asin: str = ''
  options: tuple[tuple[str, str], ...] = ()

  def shown(self) -> tuple[str, ...]:
    """Numbers of the products on a page of results."""
    return self.hits[(self.number - 1) * WINDOW : self.number * WINDOW]


def text(page: Page, products: dict[str, Product]) -> str:
  """What a page shows, below the instruction."""
  if page.kind == 'search':
    parts = ['Search']
  elif page.kind == 'results':
    parts = [BACK, f'Page {page.number} (Total results: {len(page.hits)})']
    parts += [PREVIOUS] * (page.number > 1) + [NEXT]
    for asin in page.shown():
      product = products[asin]
      parts += [asin, product.title, product.price_tag]
  elif page.kind == 'item':
    product = products[page.asin]
    parts = [BACK, PREVIOUS]
    for name, values in product.options.items():
      parts += [name, *values]
    parts += [product.title, f'Price: {product.price_tag}', 'Rating: N.A.']
    parts += [*SUB_PAGES, BUY]
  else:
    parts = [BACK, PREVIOUS, *_sub_text(page.kind, products[page.asin])]
  return join(parts)


def join(parts: list[str]) -> str:
  """Parts of a page as one text; those that show nothing are left out."""
  return ' [SEP] '.join(f"'{p.strip()}'" for p in parts if p.strip())


def buttons(page: Page, products: dict[str, Product]) -> tuple[str, ...]:
  """What can be clicked, in lower case, in the official order."""
  if page.kind == 'search':
    return ()
  if page.kind == 'results':
    found = [BACK, *[PREVIOUS] * (page.number > 1), NEXT, *page.shown()]
  elif page.kind == 'item':
    values = products[page.asin].options.values()
    found = [BACK, PREVIOUS, *SUB_PAGES, BUY]
    found += [value for own in values for value in own]
  else:
    found = [BACK, PREVIOUS]
  return tuple(dict.fromkeys(button.lower() for button in found))


def click(page: Page, button: str, products: dict[str, Product]) -> Page:
  """The page behind one of the buttons, but for `buy now`.

  Leaving a product forgets the options that were chosen of it.
  """
  results = dataclasses.replace(page, kind='results', asin='', options=())
  if button == BACK.lower():
    return Page()
  if page.kind == 'results':
    step = {NEXT.lower(): 1, PREVIOUS.lower(): -1}.get(button)
    if step:
      return dataclasses.replace(results, number=page.number + step)
    return dataclasses.replace(results, kind='item', asin=button.upper())
  if button == PREVIOUS.lower():
    if page.kind == 'item':
      return results
    return dataclasses.replace(page, kind='item')
  for kind in SUB_PAGES:
    if button == kind.lower():
      return dataclasses.replace(page, kind=kind)
  options = products[page.asin].options
  # Of options that share a value the last has it.
  name = [name for name, values in options.items() if button in values][-1]
  chosen = dict(page.options) | {name: button}
  return dataclasses.replace(page, options=tuple(chosen.items()))


def _sub_text(kind, product):
  if kind == 'Description':
    return [product.description]
  return list(product.bullets) if kind == 'Features' else []  # no reviews
