"""Who proposes the alternative actions of a state.

A proposer reads what is recorded of a state and never touches the
environment, so all states of many trajectories can be asked at once.
"""

import collections
import dataclasses
import functools
import random
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from early_experience.experience.records import PROPOSERS, Trajectory
from early_experience.runtime.errors import UserError
from early_experience.work import units
from early_experience.work.units import Failure


@dataclasses.dataclass(frozen=True)
class Context:
  """What an agent knows in a recorded state.

  Attributes:
    task_id: of the task; with `step` it names the state.
    step: index of the state in its trajectory.
    instruction: what the agent is asked to do.
    observations: all so far, the current one last.
    actions: all so far; one fewer.
    admissible: the actions that the environment lists now, or None.
  """

  task_id: str
  step: int
  instruction: str
  observations: tuple[str, ...]
  actions: tuple[str, ...]
  admissible: tuple[str, ...] | None


def contexts_of(
  trajectory: Trajectory,
  without: Callable[[str, str], str] = lambda instruction, _: instruction,
) -> list[Context]:
  """What an agent knows in each state of a trajectory.

  Args:
    trajectory: with the expert's action in each state.
    without: `Environment.without`, which restates the instruction.
  """
  observations = tuple(step.observation for step in trajectory.steps)
  actions = tuple(step.action for step in trajectory.steps)
  return [
    Context(
      trajectory.task_id,
      index,
      without(trajectory.instruction, step.expert_action),
      observations[: index + 1],
      actions[:index],
      step.admissible,
    )
    for index, step in enumerate(trajectory.steps)
  ]


class Proposer(Protocol):
  """Proposes actions for states; the caller canonicalises and dedupes."""

  def propose(self, contexts: Sequence[Context], k: int) -> list[list[str]]:
    """Action texts for each context, the first to be tried first.

    Args:
      contexts: the states.
      k: how many a model samples.
    """


class Uniform:
  """Admissible actions in random order: sampling without replacement.

  The order is a pure function of the seed, the task and the step, whatever
  else is explored beside it (arXiv 2510.08558, appendix B.1).
  """

  def __init__(self, seed: int):
    self._seed = seed

  def propose(self, contexts, k):
    del k  # all of them: which are duplicates is for the caller to say
    return [
      _shuffled(context.admissible or (), context, self._seed)  # or lists none
      for context in contexts
    ]


class Recalled:
  """What other states of the episode list and this one does not.

  Later ones, too. The environment will reject most of it: an agent that only
  ever sees what can be done never learns what cannot. In an order as `Uniform`
  has it.
  """

  def __init__(self, seed: int):
    self._seed = seed

  def propose(self, contexts, k):
    del k
    listed = collections.defaultdict(dict)
    for context in contexts:
      listed[context.task_id].update(dict.fromkeys(context.admissible or ()))
    proposals = []
    for context in contexts:
      here = set(context.admissible or ())
      others = [a for a in listed[context.task_id] if a not in here]
      proposals.append(_shuffled(others, context, f'recalled/{self._seed}'))
    return proposals


class Exhaustive:
  """Every admissible action (appendix B.7)."""

  def propose(self, contexts, k):
    del k
    return [list(context.admissible or ()) for context in contexts]


class Policy:
  """What a trained agent would do, sampled at a temperature.

  Args:
    agent: has `propose(histories, k, temperature, seed)`, where a history is
      (instruction, observations, actions).
    temperature: of its samples; 1.0 in appendix B.1.
    seed: together with the first state asked about, fixes the samples.
  """

  def __init__(self, agent, temperature: float, seed: int):
    self._agent, self._temperature, self._seed = agent, temperature, seed

  def propose(self, contexts, k):
    first = f'{self._seed}/{contexts[0].task_id}/{contexts[0].step}'
    return self._agent.propose(
      [
        (c.instruction, list(c.observations), list(c.actions)) for c in contexts
      ],
      k,
      self._temperature,
      random.Random(first).getrandbits(31),
    )


def limits(shares: dict[str, float], k: int) -> dict[str, float]:
  """The most alternatives that a state has once each proposer was asked.

  In the order of asking, so that what one leaves open the next may fill.
  `exhaustive` has no limit.

  Args:
    shares: of k, by proposer.
    k: alternatives a state.
  """
  upto, found = 0.0, {}
  for name in (name for name in PROPOSERS if name in shares):
    upto += shares[name] / sum(shares.values())
    found[name] = float('inf') if name == 'exhaustive' else round(k * upto)
  return found


def alternatives(
  contexts: Sequence[Context],
  known: Sequence[Collection[str]],
  proposers: dict[str, tuple[Proposer, float]],
  k: int,
  canonical: Callable[[str], str],
) -> list[list[tuple[str, str]] | Failure]:
  """Chooses up to k distinct alternatives a state from several proposers.

  A proposer is asked for as many as its limit, see `limits`. What several
  propose bears the names of all, so that each one's draw can be told from the
  others'. The order mixes proposers, for row sets take the first few.

  Args:
    contexts: the states.
    known: canonical actions in each that are never among the results: the
      expert's, and what was tried already.
    proposers: name -> (proposer, share of k).
    k: alternatives a state.
    canonical: makes equal actions equal text.

  Returns:
    For each state, (action, its proposers joined by `+`), as proposed; or the
    `Failure` that `canonical` ended in.
  """
  chosen, failed = [{} for _ in contexts], [None] * len(contexts)
  shares = {name: share for name, (_, share) in proposers.items()}
  for name, limit in limits(shares, k).items():
    if not limit:
      continue
    proposals = proposers[name][0].propose(contexts, limit)
    for place, state in enumerate(zip(proposals, known, strict=True)):
      fill = functools.partial(_fill, chosen[place], limit, name, *state)
      failed[place] = failed[place] or units.attempt(fill, canonical)
  return [
    failure or _mixed(taken, context)
    for taken, failure, context in zip(chosen, failed, contexts, strict=True)
  ]


def check_shares(shares: dict[str, float]) -> dict[str, float]:
  """The shares that are not 0.

  Raises:
    UserError: there are none.
  """
  shares = {name: share for name, share in shares.items() if share}
  if not shares:
    raise UserError('config.explore.proposers has no share above 0')
  return shares


def check_admissible(
  shares: dict[str, float], trajectories: Sequence[Trajectory]
) -> None:
  """Refuses to choose among actions that no state lists.

  Raises:
    UserError: a proposer needs them.
  """
  listed = (step.admissible for t in trajectories for step in t.steps)
  if {'recalled', 'uniform', 'exhaustive'} & shares.keys() and not any(listed):
    raise UserError(
      'the environment does not list its actions in any state; give'
      ' config.explore.proposers shares of policy or openai alone'
    )


def _fill(taken, limit, name, actions, known, canonical):
  """Takes actions up to the limit; they bear the name of who proposed them."""
  for action in map(canonical, actions):
    if len(taken) >= limit:
      break
    if action and action not in known:
      taken.setdefault(action, {})[name] = None


def _mixed(taken, context):
  """(action, its proposers), at random but with each one's in its own order.

  So the first few are as all are, and the first few of one proposer do not
  depend on who proposes beside it.
  """
  named = {action: '+'.join(names) for action, names in taken.items()}
  order = _shuffled(named.values(), context, 'order')
  left = {name: iter([a for a in named if named[a] == name]) for name in order}
  return [(next(left[name]), name) for name in order]


def _shuffled(actions, context, seed):
  """In an order that follows from the seed, the task and the step alone."""
  actions = list(actions)
  random.Random(f'{seed}/{context.task_id}/{context.step}').shuffle(actions)
  return actions
