"""Rationales by a language model."""

from early_experience.language import prompts
from early_experience.language.answer import Answer, Chat, Failure
from early_experience.language.model import LanguageModel
from early_experience.reflection.decision import Decision, Draft

PROMPT = 'rationale-1'


class OpenAIWriter:
  """Asks for one rationale a decision.

  Args:
    model: is asked.
  """

  def __init__(self, model: LanguageModel):
    self.model = model
    self.name = f'{model.name} {PROMPT}'

  def chat(self, decision: Decision) -> Chat:
    """What is asked about a decision."""
    message = {'role': 'user', 'content': _text(decision)}
    return Chat([message], PROMPT, decision.index)

  def write(self, decisions: list[Decision]) -> list[Draft]:
    """One draft a decision; one that got no answer fails for its reason.

    Raises:
      UserError: the model cannot be used at all.
    """
    answers = self.model.ask([self.chat(decision) for decision in decisions])
    return [
      _draft(answer, decision)
      for answer, decision in zip(answers, decisions, strict=True)
    ]


def _draft(answer: Answer | Failure, decision):
  compared = tuple(other.action for other in decision.alternatives)
  if isinstance(answer, Failure):
    return Draft('', compared, answer.reason, answer)
  failure = 'truncated' if answer.truncated else None
  return Draft(answer.text, compared, failure, answer)


def _text(decision):
  past = zip(decision.actions, decision.observations, strict=False)
  history = [f'{seen}\n> {action}' for action, seen in past]
  others = [
    f'- {other.action}: {other.observation}' for other in decision.alternatives
  ]
  return prompts.fill(
    PROMPT,
    instruction=decision.instruction,
    history='\n'.join(history) or 'Nothing; this is the first step.',
    observation=decision.observations[-1],
    admissible=', '.join(decision.admissible or ['whatever it can express']),
    action=decision.action,
    outcome=decision.outcome,
    alternatives='\n'.join(others) or 'None.',
  )
