"""Rationales by a language model behind any OpenAI-compatible endpoint."""

from ml_collections import ConfigDict

from early_experience.endpoint import Endpoint
from early_experience.reflection import prompts
from early_experience.reflection.decision import Decision, Draft


class OpenAIWriter:
  """Asks for one rationale a decision.

  Args:
    settings: `config.reflect.openai`.

  Raises:
    UserError: the endpoint cannot be asked; see `Endpoint`.
  """

  def __init__(self, settings: ConfigDict):
    self._endpoint = Endpoint(settings, 'config.reflect.openai')
    self.name = f'{settings.model} {prompts.RATIONALE}'

  def write(self, decisions: list[Decision]) -> list[Draft]:
    """One draft a decision; one that got no answer fails as `endpoint`.

    Raises:
      UserError: the endpoint refuses us, or is down: not one answer came.
    """
    asked = [
      [{'role': 'user', 'content': prompts.rationale(decision)}]
      for decision in decisions
    ]
    return [
      _draft(answer, decision)
      for answer, decision in zip(
        self._endpoint.ask(asked), decisions, strict=True
      )
    ]


def _draft(answer, decision):
  compared = tuple(other.action for other in decision.alternatives)
  if isinstance(answer, str):
    return Draft(answer, compared)
  return Draft('', compared, failure='endpoint')
