"""Episodes side by side: a policy meets tasks, and what happened is recorded.

A policy is a function of what it is shown. `act` gets one request a slot, or
None for an empty slot, and answers with a decision, or with None where it
needs to be asked again before it can tell.
"""

import dataclasses
import random
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Protocol

from early_experience.envs.interface import Environment, Task, Turn
from early_experience.experience import render
from early_experience.runtime.errors import UserError
from early_experience.work import units


@dataclasses.dataclass(frozen=True)
class Request:
  """One decision to take.

  Attributes:
    key: task and number of the step; all that chance may depend on, so that an
      episode does not depend on those beside it.
    script: the turns so far, from `render`.
    admissible: the actions possible, where the environment lists them.
  """

  key: str
  script: render.Script
  admissible: tuple[str, ...] | None


@dataclasses.dataclass(frozen=True)
class Said:
  """A turn as a model sampled it.

  Attributes:
    role: `thought` or `action`.
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
  """

  action: str | None
  thought: str | None = None
  why: str = 'no_action'
  said: tuple[Said, ...] = dataclasses.field(default=(), compare=False)


class Policy(Protocol):
  """Whoever acts."""

  def act(self, requests: Sequence[Request | None]) -> list[Decision | None]:
    """Decides for each slot; None is the answer to None, or `ask again`."""


class RandomPolicy:
  """Picks among the admissible actions, each as likely as any other."""

  def __init__(self, seed: int):
    self._seed = seed

  def act(self, requests: Sequence[Request | None]) -> list[Decision | None]:
    return [request and self._decide(request) for request in requests]

  def _decide(self, request):
    need_admissible(request, "evaluate.policy='random'")
    rng = random.Random(f'{self._seed}/{request.key}')
    return Decision(rng.choice(request.admissible))


def need_admissible(request: Request, setting: str) -> tuple[str, ...]:
  """The admissible actions.

  Raises:
    UserError: there are none to choose from; the message names the setting.
  """
  if not request.admissible:
    raise UserError(
      f'config.{setting} needs an environment that lists its admissible'
      f' actions; there are none at {request.key}'
    )
  return request.admissible


class _Episode:
  """A task being played in one environment."""

  def __init__(self, task, environment):
    self.task = task
    self.environment = environment
    self.turn: Turn = environment.reset(task)
    self.script = render.opening(environment.instruction, self.turn.observation)
    self.steps = []
    self.request = self._ask()

  def _ask(self):
    return Request(
      f'{self.task.id}/{len(self.steps)}',
      self.script,
      self.environment.admissible(),
    )

  def apply(self, decision):
    before = self.turn.observation
    action = self.environment.canonical(decision.action)
    self.turn = self.environment.step(action)
    self.script += render.exchange(action, self.turn.observation)
    self.steps.append(
      {
        'observation': before,
        'thought': decision.thought,
        'action': action,
        'valid': self.turn.valid,
      }
    )
    if not self.turn.done:
      self.request = self._ask()

  def record(self, end):
    said = self.environment.answers()
    return {
      'task_id': self.task.id,
      'split': self.task.split,
      'task_type': self.task.type,
      'instruction': self.environment.instruction,
      'success': self.turn.success,
      'score': self.turn.score,
      'end': end,
      'steps': self.steps,
      'final_observation': self.turn.observation,
    } | ({} if said is None else {'answers': said})


def run(
  tasks: Iterable[Task],
  environments: Sequence[Environment],
  policy: Policy,
  *,
  max_steps: int,
  renew: Callable[[Environment], Environment],
) -> Generator[tuple[Task, dict | units.Failure]]:
  """Plays every task once; a slot whose episode ends takes the next task.

  Args:
    tasks: to play, in order.
    environments: one a slot.
    policy: acts in all slots at once.
    max_steps: decisions an episode.
    renew: makes an environment in place of one that failed.

  Yields:
    A task and its record, as its episode ends; or the `Failure` of its
    environment. The record's `end` says why it did: `done`, `max_steps`, or a
    decision's `why`.
  """
  tasks, environments = iter(tasks), list(environments)
  slots: list[_Episode | None] = [None] * len(environments)

  def start(i):
    slots[i] = None
    for task in tasks:
      found = units.attempt(lambda t: _Episode(t, environments[i]), task)
      if not isinstance(found, units.Failure):
        slots[i] = found
        return
      environments[i] = renew(environments[i])
      yield task, found

  for i in range(len(slots)):
    yield from start(i)
  while any(slots):
    decisions = policy.act([episode and episode.request for episode in slots])
    for i, decision in enumerate(decisions):
      episode = slots[i]
      if episode is None or decision is None:
        continue
      failure = end = None
      if decision.action is None:
        end = decision.why
      else:
        failure = units.attempt(episode.apply, decision)
        if len(episode.steps) >= max_steps:
          end = 'max_steps'
        if episode.turn.done:
          end = 'done'
      if failure:
        environments[i] = renew(environments[i])
        yield episode.task, failure
      elif end:
        yield episode.task, episode.record(end)
      if failure or end:
        yield from start(i)
