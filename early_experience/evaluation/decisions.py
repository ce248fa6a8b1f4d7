"""What a policy is asked, and what it answers."""

import dataclasses

from early_experience.experience import render


@dataclasses.dataclass(frozen=True)
class Request:
  """One decision to take.

  Attributes:
    key: task and number of the step.
    script: the turns so far, from `render`.
    admissible: the actions possible, where the policy chooses among them and
      the environment lists them.
    sample: which one of several samples of the decision is wanted.
  """

  key: str
  script: render.Script
  admissible: tuple[str, ...] | None
  sample: int = 0

  @property
  def chance(self) -> str:
    """All that chance may depend on, beside a seed: no episode beside it."""
    return f'{self.key}/sample {self.sample}' if self.sample else self.key


@dataclasses.dataclass(frozen=True)
class Said:
  """A turn as a model sampled it.

  Attributes:
    role: `thought`, `action`, or `observation`, where that was foretold.
    ids: its tokens, their end included.
    logps: with which each was sampled; 0 where nothing else could be said.
    allowed: for each token the ids among which it was chosen; None: all.
  """

  role: str
  ids: list[int]
  logps: list[float]
  allowed: list[list[int]] | None = None


@dataclasses.dataclass(frozen=True)
class Decision:
  """An action and the thought before it.

  Attributes:
    action: None where there is none, which ends the episode.
    thought: None where the policy does not think.
    why: where there is no action: `out_of_context`, the context is longer than
      the policy can read; or `no_action`, it wrote none that it could choose.
    said: the tokens of both as they were sampled, where a model sampled them.
    answers: what a language model was asked for it, as `accounting.count` has.
    votes: decisions that were sampled, to choose from by their actions, of
      which none is None; () = this one alone.
  """

  action: str | None
  thought: str | None = None
  why: str = 'no_action'
  said: tuple[Said, ...] = dataclasses.field(default=(), compare=False)
  answers: dict | None = dataclasses.field(default=None, compare=False)
  votes: 'tuple[Decision, ...]' = ()
