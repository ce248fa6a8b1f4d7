"""Alternatives by a language model: what it is asked, what it decides for."""

import collections
import contextlib
import itertools
import json
import re
from collections.abc import Iterator, Sequence

from early_experience.experience import conversation, render
from early_experience.experience.answer_format import AnswerFormat
from early_experience.exploration.proposers import Context
from early_experience.language import accounting, prompts
from early_experience.language.answer import Answer, Chat, spoken
from early_experience.language.model import LanguageModel
from early_experience.runtime.errors import UserError

# What marks the action in an answer, the likeliest first. An answer that was
# cut off may lack the closing tag.
_MARKS = (
  re.compile(r'<action>(.*?)</action>', re.DOTALL | re.IGNORECASE),
  re.compile(r'<action>\s*(.+)', re.IGNORECASE),
  re.compile(r'^\W*action\W*:[\s*]*(.+)', re.IGNORECASE | re.MULTILINE),
)
_FENCE = re.compile(r'^```\w*\n(.*?)\n?```[ \t]*$', re.DOTALL | re.MULTILINE)
_JSON = re.compile(r'^[{\[]', re.MULTILINE)


class Served:
  """What a language model would do.

  Each sample is a request of its own: not every server gives several answers
  to one. A request without an answer is a proposal less, and so is an answer
  that was cut off before its action was written.

  Args:
    model: is asked; its settings have the temperature, or several.
    answers: how the actions of a history are written.
    system: opens each chat; '' = nothing does.
    prompt: a file of `language/prompts` that does so in its place.
  """

  def __init__(
    self,
    model: LanguageModel,
    answers: AnswerFormat,
    system: str = '',
    prompt: str = '',
  ):
    if system and prompt:
      raise UserError(f'{model.where} has both system and prompt')
    if prompt:
      prompts.check(prompt, f'{model.where}.prompt')
    self.model, self._answers = model, answers
    self._system, self._prompt = system, prompt
    self._heard = collections.defaultdict(list)

  def propose(self, contexts, k):
    answers = iter(self.model.ask(list(self.chats(contexts, k))))
    proposals = []
    for context in contexts:
      own = list(itertools.islice(answers, k))
      self._heard[context.task_id] += own
      proposals.append(
        [
          action_in(answer.text, answer.truncated)
          for answer in own
          if isinstance(answer, Answer)
        ]
      )
    return proposals

  def chats(self, contexts: Sequence[Context], k: int) -> Iterator[Chat]:
    """What `propose` asks: k samples for each context."""
    for context in contexts:
      script = render.history(
        context.instruction, context.observations, context.actions
      )
      if system := self._opening(context):
        script = (render.Turn('system', system), *script)
      messages = conversation.chat(script, self._answers)
      for sample in range(k):
        yield Chat(messages, self._prompt, sample)

  def heard(self, task_id: str) -> dict:
    """Counts what was answered about a task since this was asked last."""
    return accounting.count(self._heard.pop(task_id, ()), self.model.prices)

  def _opening(self, context):
    if not self._prompt:
      return self._system
    options = ''
    if context.admissible is not None:
      listed = '\n'.join(f'- {action}' for action in context.admissible)
      options = f'\nWhat the environment would accept now:\n{listed}\n'
    return prompts.fill(self._prompt, options=options)


def action_in(answer: str, truncated: bool = False) -> str:
  """The action that a model's free text decides for; '' if there is none.

  What follows `Action:` or stands between `<action>` tags, where there are
  several the last one; else the last line that has text. JSON may take several
  lines, and all of it may be fenced. Thoughts in `<think>` tags do not count.

  Args:
    answer: of a model.
    truncated: it was cut off. Then its last line is not whole, and there must
      be a mark before it.
  """
  answer = _FENCE.sub(r'\1', spoken(answer)).strip()
  closed, *others = _MARKS
  if found := closed.findall(answer):
    return found[-1].strip()
  if truncated:
    answer = answer.rpartition('\n')[0]
  for mark in others:
    if found := list(mark.finditer(answer)):
      return _first(answer[found[-1].start(1) :])
  if truncated or not answer:
    return ''
  for found in _JSON.finditer(answer):
    if _first(rest := answer[found.start() :]) == rest:
      return rest
  return answer.splitlines()[-1].strip()


def _first(text):
  """The first line of a text, or all of the JSON that it begins with."""
  with contextlib.suppress(ValueError, RecursionError):
    if text.startswith(('{', '[')):
      return text[: json.JSONDecoder().raw_decode(text)[1]]
  return text.partition('\n')[0].strip()
