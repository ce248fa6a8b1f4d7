"""Thinking longer: several samples of each decision, of which most decide."""

import dataclasses
from collections.abc import Sequence

from early_experience.evaluation.decisions import Decision, Request
from early_experience.evaluation.look_ahead import LookAhead
from early_experience.evaluation.rollouts import Policy
from early_experience.language import accounting
from early_experience.work.units import Failure


class Voting:
  """A policy that is asked several times for each decision.

  A sample is a thought and its action. Where most samples agree on an action,
  as the environment writes it, that is taken, with the thought of the first of
  them; of a tie, the action that was sampled first (self-consistency, arXiv
  2203.11171). Samples without an action do not vote, nor do those that are
  foretold to come to nothing, unless all are. Fewer samples are the first ones
  of more.

  Args:
    policy: that is asked; all samples of a slot stand side by side in it.
    samples: of a decision.
    ahead: foretells.
  """

  def __init__(
    self, policy: Policy, samples: int, ahead: LookAhead | None = None
  ):
    self._policy, self._samples, self._ahead = policy, samples, ahead
    self.lists = policy.lists
    self._heard: dict[str, list[Decision | Failure | None]] = {}

  def act(
    self, requests: Sequence[Request | None]
  ) -> list[Decision | Failure | None]:
    rows = [request for request in requests for _ in range(self._samples)]
    heard = []
    for request in requests:
      none = [None] * self._samples
      heard += self._heard.pop(request.key, none) if request else none
    asked = [
      dataclasses.replace(request, sample=row % self._samples)
      if request and not heard[row]
      else None
      for row, request in enumerate(rows)
    ]
    new = self._policy.act(asked)
    heard = [a or b for a, b in zip(heard, new, strict=True)]
    parts = [
      slice(i, i + self._samples) for i in range(0, len(rows), self._samples)
    ]
    whole = [None not in heard[part] for part in parts]
    idle = self._idle(rows, heard, whole)
    for request, part in zip(requests, parts, strict=True):
      if request and None in heard[part]:
        self._heard[request.key] = heard[part]
    return [
      together(heard[part], idle[part]) if is_whole else None
      for part, is_whole in zip(parts, whole, strict=True)
    ]

  def _idle(self, rows, heard, whole):
    if not self._ahead:
      return [False] * len(rows)
    actions = [
      one.action
      if whole[row // self._samples] and isinstance(one, Decision)
      else None
      for row, one in enumerate(heard)
    ]
    return self._ahead.idle(rows, actions)


def together(
  samples: Sequence[Decision | Failure], idle: Sequence[bool]
) -> Decision | Failure:
  """One decision of several samples; a failure where each is one.

  Args:
    samples: all there are.
    idle: which of them are foretold to come to nothing.
  """
  decided = [one for one in samples if isinstance(one, Decision)]
  if not decided:
    return samples[0]
  acting = [
    (one, comes_to_nothing)
    for one, comes_to_nothing in zip(samples, idle, strict=True)
    if isinstance(one, Decision) and one.action is not None
  ]
  votes = [one for one, comes_to_nothing in acting if not comes_to_nothing]
  votes = votes or [one for one, _ in acting]
  counts = [one.answers for one in decided if one.answers]
  return dataclasses.replace(
    (votes or decided)[0], answers=accounting.total(counts), votes=tuple(votes)
  )
