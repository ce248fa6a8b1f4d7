"""What is asked of a language model, and what comes back."""

import dataclasses
import re

_DOUBLED_CHARACTERS = 100  # of the start; if they recur, the text is twice
_COPY_CHARACTERS = 20  # of a copy, at least


@dataclasses.dataclass(frozen=True)
class Chat:
  """One request.

  Attributes:
    messages: with `role` and `content` each.
    prompt: version of the prompt that wrote them; '' where none did.
    sample: which one of several samples of the same messages.
  """

  messages: list[dict]
  prompt: str = ''
  sample: int = 0


@dataclasses.dataclass(frozen=True)
class Answer:
  """A text.

  Attributes:
    text: what the model said, once, and not what it thought.
    thought: what it thought before, where its server leaves that in.
    truncated: it was cut off at `max_tokens`.
    doubled: it was said twice, and the second time was cut away.
    input_tokens: of the request, as whoever answered counts them.
    output_tokens: of the answer, likewise.
    cached: it was on disk already, and cost nothing.
    retries: how often it had to be asked for again.
  """

  text: str
  truncated: bool = False
  doubled: bool = False
  input_tokens: int = 0
  output_tokens: int = 0
  cached: bool = False
  retries: int = 0
  thought: str = ''


@dataclasses.dataclass(frozen=True)
class Failure:
  """No text, and why.

  Attributes:
    reason: `rate limit`, `timeout`, `connection`, `server` (HTTP 5xx),
      `refused` (HTTP 4xx), `malformed` (no chat completion), `empty`,
      `truncated` before the first word, or `too long` for the model.
    detail: what else is known, without secrets.
    input_tokens, output_tokens, cached, retries: as of an answer.
  """

  reason: str
  detail: str = ''
  input_tokens: int = 0
  output_tokens: int = 0
  cached: bool = False
  retries: int = 0


def judged(answer: Answer | Failure) -> Answer | Failure:
  """An answer as it may be used: said aloud and once, and not empty."""
  if isinstance(answer, Failure):
    return answer
  said = spoken(answer.text)
  text = halved(said)
  if text.strip():
    doubled = len(text) < len(said.rstrip())
    # What was cut off is then a copy of what is kept.
    cut = answer.truncated and not doubled
    return dataclasses.replace(
      answer,
      text=text,
      truncated=cut,
      doubled=doubled,
      thought=_unspoken(answer.text),
    )
  reason = 'truncated' if answer.truncated else 'empty'
  return Failure(
    reason,
    '',
    answer.input_tokens,
    answer.output_tokens,
    answer.cached,
    answer.retries,
  )


def spoken(text: str) -> str:
  """What follows the thoughts of a reasoning model, whose start some leave out.

  Not every server takes them out.
  """
  return text.rpartition('</think>')[2].partition('<think>')[0].lstrip('\n')


def _unspoken(text):
  """What `spoken` leaves out of an answer."""
  before, _, after = text.rpartition('</think>')
  return (
    (before or after.partition('<think>')[2]).replace('<think>', '').strip()
  )


def halved(text: str) -> str:
  """The first copy of a text that was written twice, or over and over."""
  probe = text[: min(_DOUBLED_CHARACTERS, len(text) // 2 - 1)]
  if len(probe) < _COPY_CHARACTERS:
    return text
  again = text.find(probe, _COPY_CHARACTERS)
  return text if again < 0 else text[:again].rstrip()


def in_one_line(text: str, characters: int = 200) -> str:
  """The start of a text, for an error of one line."""
  return re.sub(r'\s+', ' ', text).strip()[:characters]
