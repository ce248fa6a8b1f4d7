"""Rationales after STaR (arXiv 2203.14465): without any outcome to go by.

A model is shown what an agent would be, thinks, and acts. Where it takes the
expert's action, its thoughts are the rationale; the baseline of the method.
"""

from early_experience.experience import render
from early_experience.experience.answer_format import AnswerFormat
from early_experience.language.acting import Acting
from early_experience.language.answer import Answer, Chat, Failure
from early_experience.language.model import LanguageModel
from early_experience.reflection.decision import Decision, Draft

PROMPT, OPTIONS = 'react-1', 'options-1'


class Star:
  """Asks for one decision at each state of the expert's.

  Args:
    model: is asked.
    answers: how the actions of a history are written.
  """

  def __init__(self, model: LanguageModel, answers: AnswerFormat):
    self.model = model
    self._acting = Acting(answers, model.where, '', PROMPT, OPTIONS)
    self.name = f'{model.name} star {self._acting.prompts}'

  def chat(self, decision: Decision) -> Chat:
    """What is asked at a state."""
    script = render.history(
      decision.instruction, decision.observations, decision.actions
    )
    messages = self._acting.messages(script, decision.admissible)
    return Chat(messages, self._acting.prompts, decision.index)

  def write(self, decisions: list[Decision]) -> list[Draft]:
    """One draft a decision; one that decides otherwise fails for that.

    Raises:
      UserError: the model cannot be used at all.
    """
    answers = self.model.ask([self.chat(decision) for decision in decisions])
    return [
      self._draft(answer, decision)
      for answer, decision in zip(answers, decisions, strict=True)
    ]

  def _draft(self, answer: Answer | Failure, decision):
    if isinstance(answer, Failure):
      return Draft('', (), answer.reason, answer)
    thought, action = self._acting.read(answer)
    failure = None if thought else 'empty'
    if action.split() != decision.action.split():
      cut = answer.truncated and not action
      failure = 'truncated' if cut else 'another action'
    return Draft(thought or '', (), failure, answer, acts=True)
