"""Completions of token ids, by a server that says all that it samples.

What is sent and what comes back are tokens: no text stands between a policy and
what it learns from. vLLM gives the ids of an answer from 0.10.2 on.
"""

import dataclasses
import json
import math

from ml_collections import ConfigDict

from early_experience.language.answer import in_one_line
from early_experience.language.endpoint import Client
from early_experience.runtime.errors import UserError

_ID = 'token_id:'  # of servers that write a token's id for its text


@dataclasses.dataclass(frozen=True)
class Prompt:
  """What a model is to go on with.

  Attributes:
    ids: that it reads.
    max_tokens: that it may write, its end included.
    temperature: of its samples; nothing else changes its distribution.
    seed: of its samples.
  """

  ids: list[int]
  max_tokens: int
  temperature: float
  seed: int


@dataclasses.dataclass(frozen=True)
class Completion:
  """What it wrote.

  Attributes:
    ids: its end included, unless it was cut off.
    logps: with which each was sampled.
    ended: it was not cut off.
  """

  ids: list[int]
  logps: list[float]
  ended: bool


class Completions(Client):
  """Goes on with prompts; see `send`.

  Args:
    settings: as for a `Client`.
    where: their place.
    stop_ids: each ends an answer, and nothing else does.

  Attributes:
    model: that is asked, among those of the server.
  """

  def __init__(
    self, settings: ConfigDict, where: str, stop_ids: tuple[int, ...]
  ):
    super().__init__(settings, where)
    self.model, self._stop_ids = settings.model, stop_ids

  def call(self, path: str, body: dict | None = None) -> tuple[int, str]:
    """Asks for anything else; the HTTP status, and what was said.

    Args:
      path: below the address.
      body: to be posted; None: nothing is.

    Raises:
      UserError: there is no connection.
    """
    settings = self._settings
    with self._openai.OpenAI(
      api_key=self._key or 'none',
      base_url=settings.base_url,
      max_retries=settings.retries,
      timeout=settings.timeout_seconds,
    ) as client:
      try:
        if body is None:
          return 200, client.get(path, cast_to=str)
        return 200, client.post(path, body=body, cast_to=str)
      except self._openai.APIStatusError as error:
        said = in_one_line(self._without_key(error.response.text))
        return error.status_code, said
      except self._openai.APIConnectionError as error:
        said = in_one_line(self._without_key(str(error)))
        raise UserError(f'{self.address} does not answer: {said}') from None

  async def _create(self, client, request):
    return await client.completions.with_raw_response.create(
      model=self.model,
      prompt=request.ids,
      max_tokens=request.max_tokens,
      temperature=request.temperature,
      seed=request.seed,
      logprobs=1,
      # Else what the model's own generation_config.json says.
      top_p=1.0,
      extra_body={
        'top_k': -1,
        'min_p': 0.0,
        'repetition_penalty': 1.0,
        'stop_token_ids': list(self._stop_ids),
        'ignore_eos': True,
        'return_token_ids': True,
        'return_tokens_as_token_ids': True,
      },
    )

  def _read(self, body, retries):
    del retries
    whole = json.loads(body)
    choice = whole['choices'][0]
    told = choice.get('logprobs') or {}
    logps, ids = told.get('token_logprobs'), choice.get('token_ids')
    if logps is None:
      raise UserError(
        f'{self.address} tells no log-probabilities with its completions, and'
        ' nothing can be learnt without: use vLLM, or another server that does'
      )
    texts = told.get('tokens') or ['']
    if ids is None and all(text.startswith(_ID) for text in texts):
      ids = [int(text.removeprefix(_ID)) for text in texts]
    if ids is None:
      raise UserError(
        f'{self.address} tells no token ids with its completions, and its texts'
        ' may be those of other tokens: use vLLM from 0.10.2 on'
      )
    if len(ids) != len(logps) or not all(map(math.isfinite, logps)):
      raise ValueError('not a log-probability for each token')
    ended = choice.get('finish_reason') != 'length'
    if ended and (not ids or ids[-1] not in self._stop_ids):
      raise UserError(
        f'{self.address} leaves the token that ends an answer out of its token'
        ' ids, but it is to be learnt too: use vLLM from 0.10.2 on'
      )
    return Completion(list(ids), list(logps), ended)
