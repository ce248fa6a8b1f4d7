"""The one client of OpenAI-compatible endpoints: many requests at a time."""

import asyncio
import os
from collections.abc import Sequence

from ml_collections import ConfigDict

from early_experience.errors import UserError, need_extra

TIMEOUT_SECONDS = 120.0  # of one request; a retry has its own
KEY = 'OPENAI_API_KEY'
# What no retry mends and every other request would meet too.
_HOPELESS = {
  401: f'the key in {KEY} is refused',
  403: f'the key in {KEY} has no access',
  404: 'there is no such model or path',
}


def identity(settings: ConfigDict) -> dict:
  """What answers depend on; where and how hard we knock is not part of it."""
  settings = settings.to_dict()
  for key in ('base_url', 'concurrency', 'retries'):
    del settings[key]
  return settings


class Endpoint:
  """Answers chats, by `settings.concurrency` requests at a time.

  Rate limits (429), server errors, timeouts and broken connections are tried
  again by the library, `retries` times, after a wait that doubles each time or
  that the server names. The key comes from the environment and goes nowhere
  but to the endpoint.

  Args:
    settings: as `config.endpoint()` makes them.
    where: their place, e.g. `config.reflect.openai`; errors name it.

  Raises:
    UserError: the library is not installed, no model is named, or there is no
      key for the library's own endpoint.
  """

  def __init__(self, settings: ConfigDict, where: str):
    try:
      import openai
    except ImportError:
      raise need_extra('openai', 'openai') from None
    if not settings.model:
      raise UserError(f'{where}.model is empty: name a model')
    key = os.environ.get(KEY, '')
    if not key and not settings.base_url:
      raise UserError(
        f'{KEY} is not set in the environment; a local endpoint that needs no'
        f' key is named by {where}.base_url'
      )
    self._openai, self._settings = openai, settings
    self._key = key or 'none'
    kwargs = settings.template_kwargs.to_dict()
    self._extra = {'chat_template_kwargs': kwargs} if kwargs else None
    self._answered = False  # whether any request was, so far

  def ask(self, chats: Sequence[list[dict]]) -> list[str | Exception]:
    """Answers each chat with a text, or with the error that it met.

    Args:
      chats: messages of each, with `role` and `content`. They are sent in
        this order.

    Raises:
      UserError: the endpoint refuses us, or is down: not one answer came.
    """
    answers = asyncio.run(self._ask_all(chats))
    self._answered |= any(isinstance(answer, str) for answer in answers)
    if answers and all(map(self._useless, answers)):
      said = str(answers[-1]).replace(self._key, KEY)
      raise UserError(
        f'{self._where()} answered none of {len(answers)} requests; the last'
        f' error: {type(answers[-1]).__name__}: {" ".join(said.split())[:200]}'
      )
    return answers

  async def _ask_all(self, chats):
    slots = asyncio.Semaphore(self._settings.concurrency)
    async with self._openai.AsyncOpenAI(
      api_key=self._key,
      base_url=self._settings.base_url or None,
      max_retries=self._settings.retries,
      timeout=TIMEOUT_SECONDS,
    ) as client:

      async def one(messages):
        async with slots:
          return await self._ask(client, messages)

      return await asyncio.gather(*map(one, chats))

  async def _ask(self, client, messages):
    settings = self._settings
    try:
      answer = await client.chat.completions.create(
        model=settings.model,
        messages=messages,
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        extra_body=self._extra,
      )
      return answer.choices[0].message.content or ''
    except self._openai.APIStatusError as error:
      if error.status_code in _HOPELESS:
        raise UserError(
          f'{self._where()}: HTTP {error.status_code}:'
          f' {_HOPELESS[error.status_code]}'
        ) from None
      return error
    except (
      self._openai.APIError,
      # and what the library makes of answers that are not a completion
      AttributeError,
      IndexError,
      TypeError,
      ValueError,
    ) as error:
      return error

  def _useless(self, answer):
    """Whether an answer speaks against the endpoint.

    Where it has answered before, a request that it refuses (one too long, for
    instance) only speaks against the request.
    """
    refused = (
      isinstance(answer, self._openai.APIStatusError)
      and answer.status_code < 429
    )
    return isinstance(answer, Exception) and not (refused and self._answered)

  def _where(self):
    base = self._settings.base_url or 'the OpenAI endpoint'
    return f'{base} (model {self._settings.model})'
