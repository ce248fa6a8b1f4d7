"""Episodes side by side: a policy meets tasks, and what happened is recorded.

A policy is a function of what it is shown. `act` gets one request a slot, or
None for a slot with nothing to decide, and answers with a decision, or with
None where it needs to be asked again before it can tell. Environments live
elsewhere, each in the seat of its slot: see `work/hosts.py`.
"""

import collections
import dataclasses
import random
from collections.abc import Generator, Iterable, Sequence
from typing import Protocol

from early_experience.envs.guard import check_record, check_text
from early_experience.envs.interface import Environment, Task
from early_experience.experience import render
from early_experience.work import hosts, units
from early_experience.work.hosts import Call
from early_experience.work.units import Failure

# A turn that takes longer is not waited for: the other episodes go on.
_PATIENCE_SECONDS = 10.0
# The stages that train policies, by what `config.evaluate` calls these.
FOLDERS = {'trained': 'train', 'rl': 'rl'}


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

  def act(
    self, requests: Sequence[Request | None]
  ) -> list[Decision | Failure | None]:
    """Decides for each slot.

    Returns:
      For each: None is the answer to None, or `ask again`; a `Failure` says
      why this episode cannot go on.
    """


class RandomPolicy:
  """Picks among the admissible actions, each as likely as any other."""

  def __init__(self, seed: int):
    self._seed = seed

  def act(
    self, requests: Sequence[Request | None]
  ) -> list[Decision | Failure | None]:
    return [request and self._decide(request) for request in requests]

  def _decide(self, request):
    if not request.admissible:
      return nothing_admissible(request, "evaluate.policy='random'")
    rng = random.Random(f'{self._seed}/{request.key}')
    return Decision(rng.choice(request.admissible))


def nothing_admissible(request: Request, setting: str) -> Failure:
  """Of a setting that needs actions to choose from, where there are none."""
  return Failure(
    'nothing admissible',
    f'config.{setting} needs an environment that lists its admissible actions;'
    f' there are none at {request.key}',
  )


def begin(env: Environment, task: Task) -> tuple:
  """Starts an episode: the instruction, the turn, and what is admissible."""
  turn = env.reset(task)
  return env.instruction, turn, env.admissible()


def act(env: Environment, action: str, last: bool) -> tuple:
  """One turn: the action as it was executed, the turn, what is admissible then.

  At the episode's end what language models said in it, in place of actions.
  """
  action = env.canonical(action)
  check_text('action', action)
  turn = env.step(action)
  over = turn.done or last
  return action, turn, env.answers() if over else env.admissible()


def leave(env: Environment) -> dict | None:
  """Ends an episode that does not go on."""
  return env.answers()


class _Episode:
  """A task being played.

  Attributes:
    request: the decision to take now; None while the environment is called.
    end: why it ends; the policy's `Failure`, where it can take no decision.
  """

  def __init__(self, task, max_steps):
    self.task, self.request, self.end = task, None, ''
    self._max_steps, self._steps = max_steps, []

  def begin(self):
    return self._call(begin, self.task)

  def decide(self, decision):
    """The call that follows on a decision."""
    self._decision = decision
    if isinstance(decision, Failure) or decision.action is None:
      failed = isinstance(decision, Failure)
      self.end = decision if failed else decision.why
      return self._call(leave)
    last = len(self._steps) + 1 == self._max_steps
    return self._call(act, decision.action, last)

  def _call(self, function, *args):
    self.request = None
    self._called = function
    return Call(function, args, first=function is begin)

  def hear(self, answer):
    """Takes what the call returned; the result, where the episode is over."""
    if isinstance(answer, Failure):
      return answer
    if self._called is leave:
      return self.end if self.end is self._decision else self._record(answer)
    if self._called is begin:
      self._instruction, self._turn, admissible = answer
      self._script = render.opening(self._instruction, self._turn.observation)
    else:
      before = self._turn.observation
      action, self._turn, admissible = answer
      self._script += render.exchange(action, self._turn.observation)
      self._steps.append(
        {
          'observation': before,
          'thought': self._decision.thought,
          'action': action,
          'valid': self._turn.valid,
        }
      )
      if self._turn.done or len(self._steps) == self._max_steps:
        self.end = 'done' if self._turn.done else 'max_steps'
        return self._record(admissible)
    key = f'{self.task.id}/{len(self._steps)}'
    self.request = Request(key, self._script, admissible)
    return None

  def _record(self, said):
    record = {
      'task_id': self.task.id,
      'split': self.task.split,
      'task_type': self.task.type,
      'instruction': self._instruction,
      'success': self._turn.success,
      'score': self._turn.score,
      'end': self.end,
      'steps': self._steps,
      'final_observation': self._turn.observation,
    } | ({} if said is None else {'answers': said})
    return units.attempt(check_record, record)


def run(
  tasks: Iterable[Task],
  seats: hosts.Hosts | hosts.Here,
  policy: Policy,
  *,
  slots: int,
  max_steps: int,
  tries: int,
) -> Generator[tuple[Task, dict | Failure]]:
  """Plays every task to its end; a slot whose episode ends takes the next one.

  A task on which the environment fails is played anew. Where it hung, or its
  process died, it waits until all others are done, and then has its tries with
  nothing beside it.

  Args:
    tasks: to play, in order.
    seats: environments, one for each slot.
    policy: acts in all slots at once.
    slots: episodes side by side.
    max_steps: decisions an episode.
    tries: of a task.

  Yields:
    A task and its record, as its episode ends; or the `Failure` of its
    environment, or the policy's. The record's `end` says why it did: `done`,
    `max_steps`, or a decision's `why`.
  """
  suspects = []
  for task, result in _play(tasks, seats, policy, slots, max_steps, tries):
    if result is None:
      suspects.append(task)
    else:
      yield task, result
  for task in suspects:
    for _ in range(tries):
      seats.close()  # a new process, and no other
      ((_, result),) = _play([task], seats, policy, 1, max_steps, 1, True)
      if not isinstance(result, Failure):
        break
    yield task, result


def _play(tasks, seats, policy, slots, max_steps, tries, alone=False):
  """As `run`; the result is None where a task is to be played `alone`."""
  line, failed = collections.deque(tasks), collections.Counter()
  episodes: list[_Episode | None] = [None] * slots
  calls = {}

  def start(slot):
    episodes[slot] = _Episode(line.popleft(), max_steps) if line else None
    if episodes[slot]:
      calls[slot] = episodes[slot].begin()

  def settled(episode, result):
    """What to yield of its task; nothing, where it is to be played again."""
    task, lost = episode.task, result is hosts.LOST
    if not isinstance(result, Failure) or result is episode.end:
      return [(task, result)]
    if result.reason in ('hang', 'crash') and not lost and not alone:
      return [(task, None)]
    failed[task, lost] += 1
    if failed[task, lost] < tries:
      line.append(task)
      return []
    return [(task, None if lost and not alone else result)]

  for slot in range(slots):
    start(slot)
  while any(episodes):
    seats.send(calls)
    calls.clear()
    idle = not any(e and e.request for e in episodes)
    answers = seats.receive(_PATIENCE_SECONDS, need=idle)
    for slot, answer in sorted(answers.items()):
      episode = episodes[slot]
      if episode is None:  # its process ended when its tasks were done
        continue
      result = episode.hear(answer)
      if result is not None:
        yield from settled(episode, result)
        start(slot)
    requests = [episode and episode.request for episode in episodes]
    if calls or not any(requests):
      continue  # what has begun is decided with the others
    for slot, decision in enumerate(policy.act(requests)):
      if decision is not None:
        calls[slot] = episodes[slot].decide(decision)
