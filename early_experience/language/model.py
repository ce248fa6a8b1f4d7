"""Whoever needs a language model asks it here: cached, counted, priced."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from ml_collections import ConfigDict

from early_experience.config import answers, check, define_endpoint, endpoint
from early_experience.language import cache as cache_lib
from early_experience.language.accounting import Bill, Estimate, Prices, count
from early_experience.language.answer import Answer, Chat, Failure, judged
from early_experience.language.cache import Cache, digest
from early_experience.language.endpoint import Endpoint
from early_experience.runtime import stage
from early_experience.runtime.errors import UserError


class Backend(Protocol):
  """Whoever computes answers: an endpoint, or our own decoder.

  Attributes:
    name: of the model.
    address: where it is, for errors.
    request: what answers depend on, beside the chat and its temperature.
  """

  name: str
  address: str
  request: dict

  def count_tokens(self, messages: list[dict]) -> int:
    """Tokens of a request, about."""

  def answer(
    self,
    chats: Sequence[tuple[Chat, float]],
    keep: Callable[[int, Answer], None],
  ) -> list[Answer | Failure]:
    """Answers all; tells `keep` the place of each answer as it comes."""


def identity(settings: ConfigDict) -> dict:
  """What answers depend on, for the settings of a stage."""
  found = answers(settings)
  if folder := found['checkpoint']:
    from early_experience.training import origin  # JAX, as for a `Decoder`

    found['checkpoint'] = stage.place(folder, origin.content(folder))
  return found


class LanguageModel:
  """A model whose answers are kept.

  Args:
    settings: as `config.endpoint()` makes them.
    where: their place, e.g. `config.reflect.openai`; errors name it.
    workdir: of the run, which has the answers; None: `settings.cache` has.

  Attributes:
    name: of the model.
    prices: what its tokens cost, and how much they may.
    bill: of the stage that asks, which what is answered from here on is added
      to; None: of none.

  Raises:
    UserError: a setting is wrong; nothing was asked.
  """

  def __init__(
    self,
    settings: ConfigDict,
    where: str,
    workdir: str | pathlib.Path | None = None,
  ):
    _check_limit(settings, where)
    self._temperatures = tuple(settings.temperatures) or (settings.temperature,)
    if not settings.sends_temperature:
      self._temperatures = (None,)
    self._backend: Backend = _backend(settings, where)
    self.name, self.where = self._backend.name, where
    self.prices = Prices.of(settings)
    path = settings.cache or (workdir and f'{workdir}/{cache_lib.FILE}')
    self._cache = Cache(path or ':memory:')
    self.bill: Bill | None = None
    self._answered = False  # whether anything was, so far
    self._failed = 0  # since then
    self._replies = []

  def ask(
    self, chats: Sequence[Chat], hopeless: int = 1
  ) -> list[Answer | Failure]:
    """Answers each chat, from disk where it was answered before.

    Chats that are the same in all (at temperature 0, whatever their samples)
    are asked once.

    Args:
      chats: to be answered.
      hopeless: failures without an answer between them, here and before, that
        speak against a model which has answered. No connection always does.

    Raises:
      UserError: the model refuses us, or is down: not one answer came.
    """
    requests = [self._digest(chat) for chat in chats]
    found = {name: self._cache.find(name) for name in dict.fromkeys(requests)}
    first = {name: chat for name, chat in zip(requests, chats, strict=True)}
    new = [name for name, answer in found.items() if answer is None]
    earlier = {}  # what other processes have written meanwhile

    def keep(place, answer):
      name = new[place]
      self._charge(answer)
      if not self._cache.keep(name, self.name, first[name].prompt, answer):
        # It is what all are told, and this one is paid all the same.
        there = self._cache.find(name)
        earlier[name] = dataclasses.replace(
          answer, text=there.text, truncated=there.truncated
        )

    asked = [(first[name], self._temperature(first[name])) for name in new]
    self._answered |= len(new) < len(found)
    answers = self._backend.answer(asked, keep) if new else []
    for answer in answers:
      if isinstance(answer, Failure):  # which `keep` was not told
        self._charge(answer)
    self._check(answers, hopeless)
    found |= dict(zip(new, answers, strict=True)) | earlier
    result = []
    for name in requests:
      result.append(judged(found[name]))
      if isinstance(found[name], Answer):  # whoever asks it again pays nothing
        found[name] = dataclasses.replace(found[name], cached=True, retries=0)
    return result

  def _charge(self, answer):
    if self.bill and answer.input_tokens + answer.output_tokens:
      self.bill.add(answer)

  def reply(self, messages: list[dict]) -> str:
    """The answer to one chat, for whoever talks turn by turn.

    Raises:
      UserError: there is none.
    """
    (answer,) = self.ask([Chat(messages)])
    self._replies.append(answer)
    if isinstance(answer, Failure):
      raise UserError(
        f'{self.where}: {self.name} did not answer: {answer.reason}'
        f'{answer.detail and f" ({answer.detail})"}'
      )
    return answer.text

  def replied(self) -> dict:
    """Counts what `reply` was answered since this was asked last."""
    replies, self._replies = self._replies, []
    return count(replies, self.prices)

  def estimate(self, chats: Iterable[Chat]) -> Estimate:
    """What asking would take at most, before it is done."""
    requests = cached = tokens = 0
    messages, length, seen = None, 0, set()
    for chat in chats:
      requests += 1
      request = self._digest(chat)
      if request in seen or self._cache.find(request) is not None:
        cached += 1
        continue
      seen.add(request)
      if chat.messages is not messages:  # samples of a chat share them
        messages = chat.messages
        length = self._backend.count_tokens(messages)
      tokens += length
    most = (requests - cached) * self._backend.request['max_tokens']
    return Estimate(
      requests, cached, tokens, most, self.prices.cost(tokens, most)
    )

  def _check(self, answers, hopeless):
    """Ends it where all answers speak against the model.

    One that has answered before may refuse some requests: those too long, for
    instance.
    """
    some = any(isinstance(answer, Answer) for answer in answers)
    self._answered |= some
    self._failed = 0 if some else self._failed + len(answers)
    excused = {'too long', 'refused'} if self._answered else {'too long'}
    if self._answered and self._failed < hopeless:
      excused |= {'rate limit', 'timeout', 'server', 'malformed'}
    if answers and all(
      isinstance(answer, Failure) and answer.reason not in excused
      for answer in answers
    ):
      raise UserError(
        f'{self._backend.address} answered none of {len(answers)} requests; the'
        f' last error: {answers[-1].detail or answers[-1].reason}'
      )

  def _temperature(self, chat):
    return self._temperatures[chat.sample % len(self._temperatures)]

  def _digest(self, chat):
    temperature = self._temperature(chat)
    return digest(
      self._backend.request
      | {
        'model': self.name,
        'messages': chat.messages,
        'prompt': chat.prompt,
        'temperature': temperature,
        'sample': 0 if temperature == 0 else chat.sample,
      }
    )


def talker(settings: dict, where: str) -> LanguageModel:
  """A model for an environment that talks, such as one with a simulated user.

  What it says is kept in a file, so that an episode that is played again has
  the same words in it.

  Args:
    settings: some of `config.endpoint()`; `model` or `checkpoint`, and
      `cache`, the file, among them.
    where: their place, e.g. `config.env.kwargs.user`.

  Raises:
    UserError: a setting is unknown, missing, or cannot be kept.
  """
  own = {'temperature': 0.0, 'max_tokens': 512}
  whole = endpoint(**own)
  try:
    whole.update(settings)
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    said = ' '.join(str(error.args[0] if error.args else error).split())
    raise UserError(f'{where}: {said}') from None
  check(define_endpoint(**own), whole, where)
  if whole.max_cost or whole.max_total_tokens:
    raise UserError(
      f'{where} has max_cost or max_total_tokens: what a talk will take is not'
      ' known before; leave them 0'
    )
  if not whole.cache:
    raise UserError(
      f'{where}.cache is empty: name a file that keeps what is said, for an'
      ' episode that is played again needs the same words'
    )
  return LanguageModel(whole, where)


def _check_limit(settings, where):
  if settings.max_cost and not settings.input_price + settings.output_price:
    raise UserError(
      f'{where}.max_cost={settings.max_cost:g} limits nothing: input_price and'
      ' output_price are 0'
    )


def _backend(settings, where):
  if not settings.sends_temperature and (
    settings.temperatures or settings.checkpoint
  ):
    raise UserError(
      f'{where}.sends_temperature is False, for a server that takes none: leave'
      ' temperatures and checkpoint empty'
    )
  if settings.checkpoint and (settings.model or settings.base_url):
    raise UserError(
      f'{where} has a checkpoint beside model or base_url: leave one empty'
    )
  if settings.checkpoint:
    from early_experience.language.decoder import Decoder  # JAX

    return Decoder(settings, where)
  return Endpoint(settings, where)
