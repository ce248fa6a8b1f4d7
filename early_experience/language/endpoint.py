"""The one client of OpenAI-compatible endpoints: many requests at a time."""

import asyncio
import concurrent.futures
import json
import os
import re
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any

from ml_collections import ConfigDict

from early_experience.language.answer import (
  Answer,
  Chat,
  Failure,
  in_one_line,
)
from early_experience.runtime.errors import UserError, need_extra

KEY = 'OPENAI_API_KEY'
BYTES_A_TOKEN, TOKENS_A_MESSAGE = 4, 4  # of estimates; English, most tokenizers
# Seconds before a retry: the longest that the library obeys, and that we do.
LIBRARY_WAITS, MOST_WAITS = 60, 3600
# How servers say that a request is longer than their model reads.
_TOO_LONG = re.compile(
  r'context.(length|size|window)|prompt is too long|input tokens exceed',
  re.IGNORECASE,
)
# What no retry mends and every other request would meet too.
_HOPELESS = {
  401: f'the key in {KEY} is refused',
  403: f'the key in {KEY} has no access',
  404: 'there is no such model or path',
}


class Client:
  """Asks a server, by `settings.concurrency` requests at a time.

  Rate limits (429), server errors, timeouts and broken connections are tried
  again by the library, `retries` times, after a wait that doubles each time or
  that the server names. The key comes from the environment and goes nowhere but
  to the endpoint.

  Args:
    settings: `base_url`, `model`, `concurrency`, `retries`, `timeout_seconds`.
    where: their place, e.g. `config.reflect.openai`; errors name it.

  Attributes:
    name: of the model.
    address: of the endpoint, for errors.

  Raises:
    UserError: the library is not installed, no model is named, the address or
      the key is none, or there is no key for the library's own endpoint.
  """

  def __init__(self, settings: ConfigDict, where: str):
    try:
      import openai
    except ImportError:
      raise need_extra('openai', 'openai') from None
    if not settings.model:
      raise UserError(f'{where}.model is empty: name a model')
    url = settings.base_url
    if url and not url.startswith(('http://', 'https://')):
      raise UserError(
        f'{where}.base_url does not begin with http:// or https://'
      )
    self._key = os.environ.get(KEY, '').strip()  # of a file's last newline
    if not self._key.isascii() or not self._key.isprintable():
      raise UserError(f'{KEY} holds a character that no header can have')
    if not self._key and not settings.base_url:
      raise UserError(
        f'{KEY} is not set in the environment; a local endpoint that needs no'
        f' key is named by {where}.base_url'
      )
    self._openai, self._settings, self._where = openai, settings, where
    self.name = settings.model
    self.address = f'{_without_secrets(settings.base_url)} (model {self.name})'

  def send(
    self, requests: Sequence, keep: Callable[[int, Any], None] | None = None
  ) -> list:
    """Sends them all, in this order.

    Args:
      requests: as `_create` takes them.
      keep: is told the place of each and its answer, as soon as it comes.

    Returns:
      What `_read` makes of each answer, or the `Failure` it ended in.

    Raises:
      UserError: the endpoint refuses us.
    """
    try:
      asyncio.get_running_loop()
    except RuntimeError:
      answers = asyncio.run(self._send_all(requests, keep))
    else:  # a notebook, or a browser's driver, has one of its own
      with concurrent.futures.ThreadPoolExecutor(1) as thread:
        answers = thread.submit(
          asyncio.run, self._send_all(requests, keep)
        ).result()
    return answers

  async def _send_all(self, requests, keep):
    slots = asyncio.Semaphore(self._settings.concurrency)
    async with self._openai.AsyncOpenAI(
      api_key=self._key or 'none',
      base_url=self._settings.base_url or None,
      max_retries=self._settings.retries,
      timeout=self._settings.timeout_seconds,
    ) as client:

      async def one(place, request):
        async with slots:
          answer = await self._ask(client, request)
        if keep and not isinstance(answer, Failure):
          keep(place, answer)
        return answer

      return await asyncio.gather(*map(one, range(len(requests)), requests))

  async def _create(self, client, request):
    """The server's raw response to a request."""
    raise NotImplementedError

  def _read(self, body, retries):
    """The answer in a response; whatever else it is, an exception."""
    raise NotImplementedError

  async def _ask(self, client, request, waits=0):
    settings, failed = self._settings, self._failed
    # The library's own, each time that we waited and this time.
    retries = waits + (waits + 1) * settings.retries
    try:
      response = await self._create(client, request)
    except self._openai.APIStatusError as error:
      status = error.status_code
      if status in _HOPELESS:
        raise UserError(
          f'{self.address}: HTTP {status}: {_HOPELESS[status]}'
        ) from None
      if status == 429:
        seconds = _long_wait(error.response.headers.get('retry-after'))
        if not seconds or waits == settings.retries:
          return failed('rate limit', error, retries)
        await asyncio.sleep(seconds)
        return await self._ask(client, request, waits + 1)
      if status >= 500:
        return failed('server', error, retries)
      said = f'{error} {error.code}'
      reason = 'too long' if _TOO_LONG.search(said) else 'refused'
      return failed(reason, error, remedy=self._remedy(str(error)))
    except self._openai.APITimeoutError as error:
      return failed('timeout', error, retries)
    except self._openai.APIConnectionError as error:
      return failed('connection', error, retries)
    except (self._openai.OpenAIError, ValueError) as error:
      return failed('malformed', error)
    try:
      taken = retries - settings.retries + response.retries_taken
      return self._read(response.text, taken)
    except (
      ValueError,
      LookupError,
      TypeError,
      AttributeError,
      RecursionError,
    ) as error:
      begins = in_one_line(self._without_key(response.text), 60)
      return failed('malformed', f'{error!r}; the answer begins {begins!r}')

  def _remedy(self, said):
    """What mends a request that the server refuses, for the error."""
    return ''

  def _failed(self, reason, error, retries=0, remedy=''):
    if isinstance(error, Exception):
      error = f'{type(error).__name__}: {error}'
    said = in_one_line(self._without_key(error)) + remedy
    return Failure(reason, said, retries=retries)

  def _without_key(self, text):
    """Some servers say the key again that they refuse."""
    return text.replace(self._key, KEY) if self._key else text


class Endpoint(Client):
  """Answers chats.

  Args:
    settings: as `config.endpoint()` makes them.
    where: their place.

  Attributes:
    request: what else an answer depends on.

  Raises:
    UserError: as a `Client`.
  """

  def __init__(self, settings: ConfigDict, where: str):
    super().__init__(settings, where)
    kwargs = settings.template_kwargs.to_dict()
    self.request = {
      'max_tokens': settings.max_tokens,
      'template_kwargs': kwargs,
    }
    self._extra = {'chat_template_kwargs': kwargs} if kwargs else None

  def count_tokens(self, messages: list[dict]) -> int:
    """About how many tokens a request has: one for each 4 bytes of text."""
    return sum(
      TOKENS_A_MESSAGE + -(-len(m['content'].encode()) // BYTES_A_TOKEN)
      for m in messages
    )

  def answer(
    self,
    chats: Sequence[tuple[Chat, float]],
    keep: Callable[[int, Answer], None],
  ) -> list[Answer | Failure]:
    """Asks them all, each with its temperature; see `send`."""
    return self.send(chats, keep)

  async def _create(self, client, request):
    settings, (chat, temperature) = self._settings, request
    options = {settings.token_limit: settings.max_tokens}
    if temperature is not None:
      options['temperature'] = temperature
    return await client.chat.completions.with_raw_response.create(
      model=settings.model,
      messages=chat.messages,
      **options,
      extra_body=self._extra,
    )

  def _read(self, body, retries):
    """The answer in a chat completion; whatever else it is, an exception."""
    completion = json.loads(body)
    choice = completion['choices'][0]
    message = choice['message']
    text = message.get('content') or ''
    if not isinstance(text, str):
      raise TypeError('the content is no text')
    for key in ('reasoning_content', 'reasoning'):  # of vLLM, and of newer ones
      if isinstance(message.get(key), str) and '</think>' not in text:
        text = f'<think>{message[key]}</think>{text}'
    used = completion.get('usage') or {}
    tokens = [used.get(f'{k}_tokens') for k in ('prompt', 'completion')]
    # Half a surrogate pair is JSON, but no text on disk.
    text = text.encode(errors='replace').decode()
    return Answer(
      self._without_key(text),
      choice.get('finish_reason') == 'length',
      False,
      *map(_count, tokens),
      retries=retries,
    )

  def _remedy(self, said):
    """The setting for a server that does not take what others do."""
    settings = self._settings
    if 'max_completion_tokens' in said and settings.token_limit == 'max_tokens':
      return f'; set {self._where}.token_limit=max_completion_tokens'
    if "'temperature'" in said and settings.sends_temperature:
      return f'; set {self._where}.sends_temperature=False'
    return ''


def _count(tokens):
  """What a server says of tokens; 0 where it is no such number."""
  is_count = isinstance(tokens, int) and 0 <= tokens < 1 << 53
  return int(tokens) if is_count else 0


def _long_wait(retry_after):
  """Seconds that a server wants us to wait, where the library would not."""
  try:
    seconds = float(retry_after or 0)
  except ValueError:  # a date
    return 0
  return seconds if LIBRARY_WAITS < seconds <= MOST_WAITS else 0


def _without_secrets(base_url):
  """An address as it may be shown."""
  url = urllib.parse.urlsplit(base_url)
  host = url.netloc.rpartition('@')[2]  # what precedes it is a password
  return url._replace(netloc=host, query='').geturl() or 'the OpenAI endpoint'
