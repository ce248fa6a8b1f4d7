"""Alternatives by a language model: what it is asked, what it decides for."""

import collections
import itertools
from collections.abc import Iterator, Sequence

from early_experience.experience import render
from early_experience.experience.answer_format import AnswerFormat
from early_experience.exploration.proposers import Context
from early_experience.language import accounting
from early_experience.language.acting import Acting, action_in
from early_experience.language.answer import Answer, Chat
from early_experience.language.model import LanguageModel


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
    self._acting = Acting(answers, model.where, system, prompt)
    self.model = model
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
      messages = self._acting.messages(script, context.admissible)
      for sample in range(k):
        yield Chat(messages, self._acting.prompts, sample)

  def heard(self, task_id: str) -> dict:
    """Counts what was answered about a task since this was asked last."""
    return accounting.count(self._heard.pop(task_id, ()), self.model.prices)
