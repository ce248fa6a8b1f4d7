"""WebShop behind the environment interface."""

import copy
import re
from collections.abc import Generator, Hashable, Sequence
from typing import Self

from early_experience.config import check_choice
from early_experience.envs import retrieval
from early_experience.envs.interface import Environment, Task, Turn
from early_experience.envs.webshop import (
  catalogue,
  demonstrations,
  fixture,
  pages,
)
from early_experience.envs.webshop import reward as rewards
from early_experience.runtime.errors import UserError

_ACTION = re.compile(r'(.+)\[(.+)\]')
_FILLER = (
  'a am an and any are as at be below between buy can dollars find for get'
  " give have help i i'd i'm im in is it less like looking lower me my need"
  ' of on one or please price should some something than that the their them'
  ' there this to under want which will with would you'
)


class WebShop(Environment):
  """Find and buy the product that an instruction describes.

  Actions are `search[words]` and `click[button]`. Success is a purchase of
  reward 1, the score is its reward. Splits are the official ones of the goals:
  test 0-500, dev 500-1500, train the rest; the same shop and the same kinds of
  products. `unseen`, the one that is out of domain, has all goals of a category
  that is held out of the others; it is empty unless `held_out` names one.

  The official engine is Lucene; here it is BM25 with its parameters. Searches
  that begin with <r>, <a>, <c> or <q>, which list products past it there, are
  like any other here.
  """

  name = 'webshop'
  splits = ('train', 'dev', 'test', 'unseen')
  licence = "the user's data (WebShop: MIT); bm25s, thefuzz: MIT"
  needs = (*retrieval.NEEDS, 'thefuzz')
  install = "pip install 'early_experience[webshop]'"
  branching = 'clone'
  expert_name = 'scripted'
  paths = ('data', 'index', 'trajectories')

  def __init__(
    self,
    *,
    data: str = '',
    products: int = 0,
    index: str = '',
    trajectories: str = '',
    held_out: str = '',
    goals: str = 'human',
  ):
    """Opens the shop.

    Args:
      data: folder with the official items_shuffle*.json, items_ins_v2*.json
        and items_human_ins.json; or `fixture`, a made-up shop for tests.
      products: only so many, the first; 0 = all.
      index: folder that `python -m early_experience.envs.webshop.index` wrote;
        '' indexes the products in memory.
      trajectories: the official il_trajs_finalized_images.jsonl, what people
        did; '' = a scripted expert that knows the product.
      held_out: a category whose goals are all in the split `unseen`.
      goals: `human`, those that people wrote; or `synthetic`, which Verl-Agent
        has by default, of 1,000 products.

    Raises:
      UserError: an argument is wrong, or a file is missing or malformed.
    """
    if not isinstance(products, int) or products < 0:
      raise UserError(f'env.kwargs.products is {products!r}, not 0 or more')
    check_choice('env.kwargs.goals', goals, ('human', 'synthetic'))
    if data == 'fixture':
      self.source, self._shop = fixture.SOURCE, fixture.catalogue(goals)
    else:
      self._shop = catalogue.read(data, products, goals)
      count = len(self._shop.products)
      self.source = f'WebShop, {count} products in {data}, {goals} goals'
    self._asins = tuple(self._shop.products)
    self._index = self._open_index(index)
    self._splits = split(self._shop, held_out)
    self._experts = None
    if trajectories:
      self._experts = demonstrations.read(trajectories)
      self.expert_name = 'demonstrations'

  def _open_index(self, folder):
    if not folder:
      return retrieval.Index.build(
        product.text() for product in self._shop.products.values()
      )
    index = retrieval.Index.load(folder)
    if len(index) != len(self._asins):
      raise UserError(
        f'env.kwargs.index: {folder} has {len(index)} products, and the shop'
        f' {len(self._asins)}'
      )
    return index

  def tasks(self, split: str) -> Sequence[Task]:
    self.check_split(split)
    return [
      Task(
        f'goal-{goal.number}', split, self._shop.products[goal.asin].category
      )
      for goal in self._splits[split]
    ]

  def reset(self, task: Task) -> Turn:
    self._goal = self._shop.goals[int(task.id.removeprefix('goal-'))]
    self.instruction = self._goal.instruction
    self._page = pages.Page()
    return self._turn()

  def step(self, action: str) -> Turn:
    match = _ACTION.match(self.canonical(action))
    kind, text = match.groups() if match else ('', '')
    if kind == 'search' and text.strip():
      self._page = pages.Page('results', self._search(text))
    elif kind == 'click' and text in self._buttons():
      if text == pages.BUY.lower():
        return self._buy()
      self._page = pages.click(self._page, text, self._shop.products)
    else:
      return self._turn(valid=False)  # as official: the same page once more
    return self._turn()

  def _turn(self, valid=True):
    return Turn(pages.text(self._page, self._shop.products), valid=valid)

  def _buttons(self):
    return pages.buttons(self._page, self._shop.products)

  def _search(self, words):
    found = self._index.search(words, pages.HITS)
    return tuple(self._asins[number] for number in found)

  def _buy(self):
    products, page = self._shop.products, self._page
    score = rewards.reward(
      products[page.asin],
      [value for _, value in page.options],
      products[self._goal.asin],
      self._goal,
    )
    thanks = ['Thank you for shopping with us!']
    shown = [*thanks, 'Your score (min 0.0, max 1.0)', f'{score}']
    return Turn(pages.join(shown), True, score == 1, score)

  def admissible(self) -> tuple[str, ...]:
    if self._page.kind == 'search':
      return tuple(f'search[{words}]' for words in queries(self.instruction))
    return tuple(f'click[{button}]' for button in self._buttons())

  def clone(self) -> Self:
    return copy.copy(self)

  def fingerprint(self) -> Hashable:
    return self._goal.number, self._page

  def canonical(self, action: str) -> str:
    action = ' '.join(action.split())
    if match := _ACTION.match(action):
      kind, text = match.groups()
      return f'{kind}[{text.lower().strip()}]'
    return action

  def expert(self, turn: Turn) -> Generator[str, Turn, None]:
    if self._experts is None:
      return self._scripted()
    return self._replay(
      self._experts.get(demonstrations.plain(self.instruction), ())
    )

  def _replay(self, actions):
    """What a person did, as long as the shop still offers it."""
    for action in actions:
      action = self._named(self.canonical(action))
      if action.startswith('click') and action not in self.admissible():
        return
      yield action

  def _named(self, action):
    """Some demonstrations click on a title in place of its number."""
    mark = 'click[item - '
    if not action.startswith(mark):
      return action
    title = action.removeprefix(mark)[:-1]
    for asin in self._page.shown():
      words = self._shop.products[asin].title.lower().split()
      if ' '.join(words) == title:
        return f'click[{asin.lower()}]'
    return action

  def _scripted(self):
    """Searches until the product is among the results, and buys it."""
    wanted = self._shop.products[self._goal.asin]
    for words in (*queries(self.instruction)[:2], wanted.title.lower()):
      yield f'search[{words}]'
      if wanted.asin in self._page.hits:
        break
      yield 'click[back to search]'
    else:
      return
    while wanted.asin not in self._page.shown():
      yield 'click[next >]'
    yield f'click[{wanted.asin.lower()}]'
    for option in self._goal.options:
      values = [v for own in wanted.options.values() for v in own]
      fitting = [v for v in values if rewards.option_matches(v, option)]
      if fitting:
        exact = option.lower() in fitting
        yield f'click[{option.lower() if exact else fitting[0]}]'
    yield 'click[buy now]'


def queries(instruction: str) -> tuple[str, ...]:
  """Searches that an instruction suggests, out of its own words alone.

  The words that say something, then all of it, then each of its parts.
  """
  whole = instruction.partition(catalogue.BOUND)[0].lower()
  whole = ' '.join(re.sub(r'[\[\]]', ' ', whole).split())
  parts = re.split(r'[,.;:]\s|\b(?:with|that|which|and)\b', whole)
  found = [_content(whole), whole, *map(_content, parts)]
  return tuple(dict.fromkeys(words for words in found if words))


def _content(text):
  words = [word.strip('.,;:!?') for word in text.split()]
  filler = {'', *_FILLER.split()}
  return ' '.join(word for word in words if word not in filler)


def split(shop: catalogue.Catalogue, held_out: str) -> dict[str, list]:
  """Goals of each split; small sets are cut at a fifth and two fifths.

  Raises:
    UserError: there is no such category to hold out.
  """
  categories = {product.category for product in shop.products.values()}
  if held_out and held_out not in categories:
    raise UserError(
      f'env.kwargs.held_out is {held_out!r}, not one of:'
      f' {", ".join(sorted(categories))}'
    )
  count = len(shop.goals)
  test, dev = (500, 1500) if count > 1500 else (count // 5, 2 * count // 5)
  splits = {'train': [], 'dev': [], 'test': [], 'unseen': []}
  for goal in shop.goals:
    if shop.products[goal.asin].category == held_out:
      splits['unseen'].append(goal)
    elif goal.number < test:
      splits['test'].append(goal)
    else:
      splits['dev' if goal.number < dev else 'train'].append(goal)
  return splits
