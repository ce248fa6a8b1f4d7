"""Episodes side by side: a policy meets tasks, and what happened is recorded.

A policy is a function of what it is shown. `act` gets one request a slot, or
None for a slot with nothing to decide, and answers with a decision, or with
None where it needs to be asked again before it can tell. Environments live
elsewhere, each in the seat of its slot: see `work/hosts.py`.
"""

import collections
import random
from collections.abc import Generator, Iterable, Sequence
from typing import Protocol

from early_experience.envs.interface import Task
from early_experience.evaluation.decisions import Decision, Request
from early_experience.evaluation.episode import Episode
from early_experience.work import hosts
from early_experience.work.units import Failure

# A turn that takes longer is not waited for: the other episodes go on.
_PATIENCE_SECONDS = 10.0
# The stages that train policies, by what `config.evaluate` calls these.
FOLDERS = {'trained': 'train', 'rl': 'rl'}


class Policy(Protocol):
  """Whoever acts.

  Attributes:
    lists: whether its requests need what is admissible.
  """

  lists: bool

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

  lists = True

  def __init__(self, seed: int):
    self._seed = seed

  def act(
    self, requests: Sequence[Request | None]
  ) -> list[Decision | Failure | None]:
    return [request and self._decide(request) for request in requests]

  def _decide(self, request):
    if not request.admissible:
      return nothing_admissible(request, "evaluate.policy='random'")
    rng = random.Random(f'{self._seed}/{request.chance}')
    return Decision(rng.choice(request.admissible))


def nothing_admissible(request: Request, setting: str) -> Failure:
  """Of a setting that needs actions to choose from, where there are none."""
  return Failure(
    'nothing admissible',
    f'config.{setting} needs an environment that lists its admissible actions;'
    f' there are none at {request.key}',
  )


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
  episodes: list[Episode | None] = [None] * slots
  calls = {}

  def start(slot):
    episodes[slot] = None
    if line:
      episodes[slot] = Episode(line.popleft(), max_steps, policy.lists)
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
