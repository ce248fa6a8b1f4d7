"""One decision of the expert with all that a writer may weigh."""

import dataclasses
import random

from early_experience.experience.records import (
  LISTED,
  MODELS,
  Alternative,
  Trajectory,
)
from early_experience.language.answer import Answer, Failure


@dataclasses.dataclass(frozen=True)
class Decision:
  """What a rationale is written for, and from.

  Attributes:
    task_id: of the task; with `step` and `index` it names the decision.
    step: index of the state in its trajectory.
    index: which of the state's rationales this is.
    instruction: what the agent is asked to do.
    observations: all so far, the current one last.
    actions: all so far; one fewer.
    admissible: the actions that the environment lists now, or None.
    action: the expert's.
    outcome: what it led to, or a summary of that. For judgement only: the agent
      has not seen it.
    alternatives: those to weigh; their outcomes, likewise, are for judgement
      only.
    plan: what the expert did afterwards; for judgement only.
  """

  task_id: str
  step: int
  index: int
  instruction: str
  observations: tuple[str, ...]
  actions: tuple[str, ...]
  admissible: tuple[str, ...] | None
  action: str
  outcome: str
  alternatives: tuple[Alternative, ...]
  plan: tuple[str, ...]

  @property
  def seen(self) -> tuple[str, ...]:
    """All texts that the agent has met."""
    return (self.instruction, *self.observations, *self.actions)

  @property
  def known(self) -> tuple[str, ...]:
    """All texts that a rationale may refer to: met, or possible to do."""
    others = (other.action for other in self.alternatives)
    return (*self.seen, self.action, *others, *(self.admissible or ()))

  def rng(self, seed: int) -> random.Random:
    """Chance that depends on the seed and on this decision alone."""
    return random.Random(f'{seed}/{self.task_id}/{self.step}/{self.index}')


@dataclasses.dataclass(frozen=True)
class Draft:
  """What a writer wrote.

  Attributes:
    text: the monologue, unchecked.
    compared: actions of the alternatives it weighed.
    failure: why there is no text to use, where there is none.
    answer: of the language model, where one wrote it.
    acts: its writer took the action itself, as an agent: so it knows nothing
      that an agent does not, and need not say what it decides for.
  """

  text: str
  compared: tuple[str, ...]
  failure: str | None = None
  answer: Answer | Failure | None = None
  acts: bool = False


def decisions_of(
  trajectory: Trajectory,
  k: int,
  per_alternative: bool,
  seed: int,
  invalid: str = 'replace',
  max_steps: int = 0,
) -> list[Decision]:
  """The decisions of a trajectory that a writer is asked about.

  States without alternatives have nothing to compare and are left out,
  unless k is 0, which asks for rationales without comparison. So is what a
  policy played: what the expert would have done afterwards is not known.

  Args:
    trajectory: explored.
    k: alternatives to weigh, at most. A model's own are preferred; else chance
      decides.
    per_alternative: one decision for each of them, not one for all.
    seed: of that chance.
    invalid: `replace`: what the environment rejected or does not list gives way
      to any other (arXiv 2510.08558, appendix B.1), so that it is weighed only
      where there are too few; `keep` (B.2): it counts like the rest.
    max_steps: a longer trajectory is left out (B.2); 0 = none is.
  """
  found = []
  too_long = max_steps and len(trajectory.steps) > max_steps
  if too_long or not trajectory.by_expert:
    return found
  observations = tuple(step.observation for step in trajectory.steps)
  actions = tuple(step.action for step in trajectory.steps)
  for i, step in enumerate(trajectory.steps):
    chosen = _choose(step, k, f'{seed}/{trajectory.task_id}/{i}', invalid)
    if k and not chosen:
      continue
    apart = per_alternative and k
    groups = [(one,) for one in chosen] if apart else [chosen]
    for index, group in enumerate(groups):
      found.append(
        Decision(
          trajectory.task_id,
          i,
          index,
          trajectory.instruction,
          observations[: i + 1],
          actions[:i],
          step.admissible,
          step.action,
          trajectory.told(i),
          tuple(_told(other) for other in group),
          actions[i + 1 :],
        )
      )
  return found


def _told(other):
  return dataclasses.replace(other, observation=other.told)


def _choose(step, k, seed, invalid):
  mixed = random.Random(seed).sample(step.alternatives, len(step.alternatives))
  mixed.sort(
    key=lambda a: (
      invalid == 'replace' and not _possible(a, step.admissible),
      not a.is_by(MODELS),
    )
  )
  return mixed[:k]


def _possible(alternative, admissible):
  """Whether an action was accepted, and is one of those listed."""
  # What was drawn from the list is on it, however the list writes it.
  if alternative.is_by(MODELS) and not alternative.is_by(LISTED):
    listed = admissible is None or alternative.action in admissible
    return alternative.valid and listed
  return alternative.valid
