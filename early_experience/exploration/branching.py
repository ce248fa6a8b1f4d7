"""Takes branches off a recorded trajectory, replaying as little as possible.

Where an environment can copy itself, or the operating system can copy it by a
fork, an alternative costs its own step. Else the episode is reset and replayed
after each alternative that changed the state, and only after those: one that
left the `fingerprint` as it was leaves the next where it should be.

No branch is taken from a state that is not proven to be the recorded one.

An alternative may be followed by what the expert did from here on, to see
whether that still ends as it ended: then the expert's action is right there
too, which nobody has to be asked for.
"""

import dataclasses
import functools
import itertools

from early_experience.envs import own
from early_experience.envs.guard import Misbehaves, check_record
from early_experience.envs.interface import Environment, Task, Turn
from early_experience.experience import records
from early_experience.experience.records import Alternative, Trajectory
from early_experience.exploration import fork
from early_experience.work.units import Failure, Fault

# For each step, (action, proposer) of each alternative.
Proposals = list[list[tuple[str, str]]]


@dataclasses.dataclass(frozen=True)
class Tried:
  """What became of an alternative.

  Attributes:
    turn: the environment's answer.
    moved: it changed the state, or may have.
    rejoins: whether the expert's actions still end as they ended behind it;
      None where nobody asked.
  """

  turn: Turn
  moved: bool
  rejoins: bool | None


@dataclasses.dataclass(frozen=True)
class Rest:
  """What the expert did from a state on, and what came of it.

  Attributes:
    actions: in order; the first one is right here.
    success, score: of the episode.
  """

  actions: tuple[str, ...]
  success: bool
  score: float

  def ends_alike(self, env: Environment) -> bool:
    """Whether it does, from the state that the environment is in.

    The first action must be accepted. A later one may not be: what it was for
    may have been done already.
    """
    first, *later = self.actions
    turn = env.step(first)
    if not turn.valid:
      return False
    for action in later:
      if turn.done:
        break
      turn = env.step(action)
    return (turn.success, turn.score) == (self.success, self.score)


def branch_in_own(
  settings: str,
  unit: tuple[Task, Trajectory, Proposals],
  rejoin: bool = False,
) -> dict:
  """Explores one trajectory in a worker's own environment.

  Args:
    settings: `config.env` as JSON text.
    unit: arguments of `branch`; more may follow.
    rejoin: as for `branch`.

  Returns:
    The trajectory's record, with its alternatives.
  """
  with own.environment(settings) as env:
    return branch_in(env, unit, rejoin)


def branch_in(env: Environment, unit: tuple, rejoin: bool = False) -> dict:
  """Likewise in a given environment."""
  task, trajectory, proposals, *_ = unit
  if isinstance(proposals, Failure):  # none could be made
    raise Fault(proposals.reason, proposals.error)
  explored = branch(env, task, trajectory, proposals, rejoin)
  return check_record(records.to_json(explored))


def branch(
  env: Environment,
  task: Task,
  trajectory: Trajectory,
  proposals: Proposals,
  rejoin: bool = False,
) -> Trajectory:
  """Executes alternatives in the states of a trajectory.

  Args:
    env: in any state.
    task: the trajectory's.
    trajectory: what the expert did, or a policy.
    proposals: of each step.
    rejoin: also finds out whether the expert's actions from that state on,
      behind an alternative, still end as they ended.

  Returns:
    The trajectory with these alternatives behind those it had.

  Raises:
    Misbehaves: a state differs from the recorded one; the message names the
      task and the step.
  """
  _begin(env, task, trajectory)
  _prove_admissible(env, trajectory, 0)
  steps = []
  for index, step in enumerate(trajectory.steps):
    again = functools.partial(arrive, env, task, trajectory, index)
    actions = [action for action, _ in proposals[index]]
    rest = _rest(trajectory, index) if rejoin else None
    tried = try_all(env, actions, again, rest)
    _advance(env, trajectory, index)
    found = tuple(
      Alternative(
        action,
        one.turn.observation,
        one.turn.done,
        one.turn.valid,
        proposer,
        rejoins=one.rejoins,
      )
      for (action, proposer), one in zip(proposals[index], tried, strict=True)
    )
    found = step.alternatives + found
    steps.append(dataclasses.replace(step, alternatives=found))
    _prove_admissible(env, trajectory, index + 1)
  return dataclasses.replace(trajectory, steps=tuple(steps))


def try_all(
  env: Environment, actions: list[str], again, rest: Rest | None = None
) -> list[Tried]:
  """Executes each action in the state that the environment is in.

  Args:
    env: is in that state afterwards too.
    actions: alternatives to each other.
    again: brings the environment back to that state, from any other.
    rest: is executed behind each that changed the state; None: nothing is.
  """
  if not actions:
    return []
  forks = env.branching == 'fork'  # then nothing has to be brought back
  here = None if forks and rest is None else env.fingerprint()
  if forks:
    act = functools.partial(_try, here=here, rest=rest)
    return [fork.peek(env, action, act) for action in actions]
  twin = env.clone()
  actor, moved, tried = twin or env, False, []
  for action in actions:
    if moved and twin is not None:
      actor = env.clone()
    elif moved:
      again()
    tried.append(_try(actor, action, here, rest))
    moved = tried[-1].moved
  if moved and twin is None:
    again()
  return tried


def _try(env, action, here, rest):
  turn = env.step(action)
  moved = turn.done or here is None or env.fingerprint() != here
  rejoins = None
  if rest is not None:
    rejoins = not moved or not turn.done and rest.ends_alike(env)
  return Tried(turn, moved, rejoins)


def _rest(trajectory, index):
  """None where a policy went another way than the expert would, or failed."""
  step = trajectory.steps[index]
  failed = not (trajectory.by_expert or trajectory.success)
  if failed or step.action != step.expert_action:
    return None
  actions = tuple(step.action for step in trajectory.steps[index:])
  return Rest(actions, trajectory.success, trajectory.score)


def arrive(
  env: Environment, task: Task, trajectory: Trajectory, index: int
) -> None:
  """Resets and replays up to the state before step `index`.

  The observations on the way and all that is recorded of the state itself are
  proven; `branch` has proven the states on the way already.

  Raises:
    Misbehaves: as `branch`.
  """
  _begin(env, task, trajectory)
  for before in range(index):
    _advance(env, trajectory, before)
  _prove_admissible(env, trajectory, index)


def _begin(env, task, trajectory):
  turn = env.reset(task)
  _prove(trajectory, 0, 'instruction', trajectory.instruction, env.instruction)
  _prove_turn(turn, trajectory, 0)


def _advance(env, trajectory, index):
  """Takes the expert's action and proves what it leads to."""
  turn = env.step(trajectory.steps[index].action)
  _prove_turn(turn, trajectory, index + 1)
  return turn


def _prove_turn(turn, trajectory, index):
  if index < len(trajectory.steps):
    recorded = trajectory.steps[index].observation
    _prove(trajectory, index, 'observation', recorded, turn.observation)
  else:
    end = (trajectory.final_observation, trajectory.success, trajectory.score)
    now = (turn.observation, turn.success, turn.score)
    _prove(trajectory, index, 'outcome', end, now)


def _prove_admissible(env, trajectory, index):
  if index < len(trajectory.steps):
    recorded = trajectory.steps[index].admissible
    _prove(trajectory, index, 'admissible list', recorded, env.admissible())


def _prove(trajectory, index, what, recorded, found):
  if recorded != found:
    raise Misbehaves(
      'no longer replays',
      f'task {trajectory.task_id} step {index}: the {what} is not the'
      f' recorded one: {_difference(recorded, found)}',
    )


def _difference(recorded, found):
  """The first place where two values part, short enough for one line."""
  a, b = repr(recorded), repr(found)
  pairs = enumerate(itertools.zip_longest(a, b))
  at = max(0, next(i for i, (x, y) in pairs if x != y) - 20)
  return f'recorded ...{a[at : at + 60]}, found ...{b[at : at + 60]}'
