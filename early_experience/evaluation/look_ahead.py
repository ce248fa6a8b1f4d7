"""What a policy's own model of the world says of actions not yet taken."""

from collections.abc import Iterable, Sequence

from early_experience.evaluation.decisions import Request
from early_experience.experience import render
from early_experience.experience.records import Trajectory


class LookAhead:
  """Tells actions of which a policy foretells that nothing happens.

  The outcome that it finds likeliest is then, word for word, what is seen
  already, or what an environment has answered to a rejected action. What it
  foretells at more than `max_tokens` is something.

  Args:
    agent: the policy; its `foretell` is asked.
    rejections: such answers.
    style: `config.prepare.world_model`.
    max_tokens: of an outcome, its end included.
  """

  def __init__(
    self, agent, rejections: Iterable[str], style: str, max_tokens: int
  ):
    self._agent = agent
    # Some tokenizers drop the blanks around what a model says.
    self._rejections = frozenset(map(str.strip, rejections))
    self._prefix = render.world_model_prefix(style)
    self._max_tokens = max_tokens

  def idle(
    self, requests: Sequence[Request | None], actions: Sequence[str | None]
  ) -> list[bool]:
    """Whether nothing would happen, for each row of the agent.

    Args:
      requests: the decision of each row.
      actions: what would be done; None: nothing is foretold.
    """
    scripts = [
      None
      if action is None
      else (*self._prefix, *request.script, render.Turn('action', action))
      for request, action in zip(requests, actions, strict=True)
    ]
    outcomes = self._agent.foretell(scripts, self._max_tokens)
    return [
      outcome is not None and self._is_nothing(outcome.strip(), request)
      for request, outcome in zip(requests, outcomes, strict=True)
    ]

  def _is_nothing(self, outcome, request):
    seen = request.script[-1].text.strip()
    return outcome == seen or outcome in self._rejections


def rejections(trajectories: Iterable[Trajectory]) -> set[str]:
  """What environments answered to the alternatives that they rejected."""
  return {
    other.told
    for trajectory in trajectories
    for step in trajectory.steps
    for other in step.alternatives
    if not other.valid
  }
