"""What asking language models takes: estimated before, counted after."""

import collections
import dataclasses
import pathlib
from collections.abc import Iterable
from typing import Self

from ml_collections import ConfigDict

from early_experience.language.answer import Answer, Chat, Failure
from early_experience.runtime import files
from early_experience.runtime import stage as stage_lib
from early_experience.runtime.errors import UserError

_COUNTS = (
  'requests', 'cached', 'input_tokens', 'output_tokens', 'retries',
  'doubled', 'truncated',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Prices:
  """What tokens cost, and how many there may be.

  Attributes:
    input: of a million tokens asked, in the user's currency.
    output: of a million tokens answered.
    max_cost: of a stage; 0 = no limit.
    max_tokens: of a stage, asked and answered; 0 = no limit.
  """

  input: float
  output: float
  max_cost: float
  max_tokens: int

  @classmethod
  def of(cls, settings: ConfigDict) -> Self:
    return cls(
      settings.input_price,
      settings.output_price,
      settings.max_cost,
      settings.max_total_tokens,
    )

  def cost(self, input_tokens: int, output_tokens: int) -> float:
    return (input_tokens * self.input + output_tokens * self.output) / 1e6


@dataclasses.dataclass(frozen=True)
class Estimate:
  """What a stage is about to ask.

  Attributes:
    requests: answers wanted.
    cached: of them, on disk already, or wanted twice.
    input_tokens: of the others, about.
    output_tokens: of the others, at most.
    cost: of both.
  """

  requests: int
  cached: int
  input_tokens: int
  output_tokens: int
  cost: float


def announce(
  stage: str, model, chats: Iterable[Chat], confirmed: bool = False
) -> None:
  """Says what a stage is about to ask, and stops it above the limits.

  Args:
    stage: its name.
    model: a `LanguageModel`.
    chats: all of them.
    confirmed: the user said --yes.

  Raises:
    UserError: it is above a limit, and the user did not say so.
  """
  estimate = model.estimate(chats)
  tokens = estimate.input_tokens + estimate.output_tokens
  print(
    f'{stage}: wants {estimate.requests:,} answers of {model.name},'
    f' {estimate.cached:,} of them known or alike; about'
    f' {estimate.input_tokens:,} tokens in, at most'
    f' {estimate.output_tokens:,} out, cost at most {_money(estimate.cost)}'
  )
  prices = model.prices
  above = []
  if prices.max_cost and estimate.cost > prices.max_cost:
    above.append(f'max_cost={prices.max_cost:g}')
  if prices.max_tokens and tokens > prices.max_tokens:
    above.append(f'max_total_tokens={prices.max_tokens}')
  if above and not confirmed:
    raise UserError(
      f'{stage} may take {tokens:,} tokens and cost {_money(estimate.cost)},'
      f' above {model.where}.{" and ".join(above)}; repeat the command with'
      ' --yes'
    )


class Bill:
  """What a stage has paid, kept in its folder whatever came of it.

  Args:
    folder: of the stage.
    prices: of the model.
    before: what `total` gave of what an older version did there.

  Attributes:
    tokens: asked and answered.
    cost: of both.
  """

  def __init__(
    self, folder: pathlib.Path, prices: Prices, before: dict | None = None
  ):
    self._path, self._prices = folder / stage_lib.BILL, prices
    found = _read(folder) or before or {}
    self._in = found.get('input_tokens', 0)
    self._out = found.get('output_tokens', 0)

  def add(self, answer: Answer | Failure) -> None:
    """Adds one that was asked for now."""
    self._in += answer.input_tokens
    self._out += answer.output_tokens
    files.write_json(
      self._path,
      {
        'input_tokens': self._in,
        'output_tokens': self._out,
        'cost': self.cost,
      },
    )

  @property
  def tokens(self) -> int:
    return self._in + self._out

  @property
  def cost(self) -> float:
    return self._prices.cost(self._in, self._out)


class Meter:
  """Holds a stage to its limits where what it will ask is not known before.

  Args:
    stage: its name.
    model: a `LanguageModel` whose `bill` is that of the stage.
    confirmed: the user said --yes.
  """

  def __init__(self, stage: str, model, confirmed: bool):
    self._stage, self._model, self._confirmed = stage, model, confirmed

  def announce(self, most: int, each: int) -> None:
    """Says what is known of what will be asked.

    Args:
      most: answers that may be wanted.
      each: tokens of one, at most.

    Raises:
      UserError: what was asked before is above a limit, as in `check`.
    """
    self.check()
    prices, tokens = self._model.prices, most * each
    print(
      f'{self._stage}: wants at most {most:,} answers of {self._model.name}, of'
      f' {tokens:,} tokens and cost {_money(prices.cost(0, tokens))} at most;'
      ' how many tokens it will read is not known before'
      + self._limits(' (it ends above {})')
    )

  def check(self) -> None:
    """Looks at what was paid.

    Raises:
      UserError: it is above a limit, and the user did not say --yes.
    """
    prices, bill = self._model.prices, self._model.bill
    tokens, cost = bill.tokens, bill.cost
    above = prices.max_cost and cost > prices.max_cost
    above = above or prices.max_tokens and tokens > prices.max_tokens
    if above and not self._confirmed:
      raise UserError(
        f'{self._stage} has taken {tokens:,} tokens and cost {_money(cost)}:'
        f'{self._limits(" above {}")}; what was answered is kept: repeat the'
        ' command with --yes to go on'
      )

  def _limits(self, text):
    prices = self._model.prices
    limits = [
      f'{self._model.where}.{name}={value:g}'
      for name, value in (
        ('max_cost', prices.max_cost),
        ('max_total_tokens', prices.max_tokens),
      )
      if value and not self._confirmed
    ]
    return text.format(' or '.join(limits)) if limits else ''


def heard(
  folder: pathlib.Path, stem: str, whose: str = 'answers'
) -> dict | None:
  """What `total` gives of a stage's lines on disk; a task's newest counts."""
  lines = {line['task_id']: line for _, line in files.read_jsonl(folder, stem)}
  return total(line[whose] for line in lines.values() if whose in line)


def billed(counts: dict | None, folder: pathlib.Path) -> dict | None:
  """What `total` gave, with the tokens and the cost of the stage's `Bill`.

  Units that came to nothing, or were begun anew, have taken some of these.
  """
  bill = _read(folder)
  if bill is None:
    return counts
  return (counts or count((), Prices(0, 0, 0, 0))) | bill


def _read(folder):
  path = folder / stage_lib.BILL
  return files.read_json(path) if path.exists() else None


def count(answers: Iterable[Answer | Failure], prices: Prices) -> dict:
  """Counts answers, as JSON. Tokens are of those alone that cost something."""
  counts, failed = dict.fromkeys(_COUNTS, 0), collections.Counter()
  for answer in answers:
    counts['requests'] += 1
    counts['cached'] += answer.cached
    counts['retries'] += answer.retries
    if not answer.cached:
      counts['input_tokens'] += answer.input_tokens
      counts['output_tokens'] += answer.output_tokens
    if isinstance(answer, Failure):
      failed[answer.reason] += 1
    else:
      counts['doubled'] += answer.doubled
      counts['truncated'] += answer.truncated
  cost = prices.cost(counts['input_tokens'], counts['output_tokens'])
  return {**counts, 'cost': cost, 'failed': dict(sorted(failed.items()))}


def total(counts: Iterable[dict]) -> dict | None:
  """Adds up what `count` gave of all units of a stage; None where none did."""
  whole, failed = collections.Counter(), collections.Counter()
  for each in counts:
    failed.update(each['failed'])
    whole.update({name: each[name] for name in (*_COUNTS, 'cost')})
  return whole and {**whole, 'failed': dict(sorted(failed.items()))} or None


def tell(who: str, whole: dict | None) -> None:
  """Prints in one line what `total` gave, if it gave anything."""
  if whole is None:
    return
  failed = ', '.join(f'{n} {reason}' for reason, n in whole['failed'].items())
  faults = ''.join(
    f', {whole[name]:,} {name}'
    for name in ('doubled', 'truncated', 'retries')
    if whole[name]
  )
  print(
    f'{who}: {whole["requests"]:,} answers wanted, {whole["cached"]:,} known or'
    f' alike{faults}; failed: {failed or "none"};'
    f' {whole["input_tokens"]:,} tokens in, {whole["output_tokens"]:,} out,'
    f' cost {_money(whole["cost"])}'
  )


def _money(cost):
  return f'{cost:,.2f}' if cost >= 1 else f'{cost:.4g}'
