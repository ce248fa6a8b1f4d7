"""Takes branches off a recorded trajectory, replaying as little as possible.

Where an environment can copy itself, or the operating system can copy it by a
fork, an alternative costs its own step. Else the episode is reset and replayed
after each alternative that changed the state, and only after those: one that
left the `fingerprint` as it was leaves the next where it should be.

No branch is taken from a state that is not proven to be the recorded one.
"""

import dataclasses
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


def branch_in_own(
  settings: str, unit: tuple[Task, Trajectory, Proposals]
) -> dict:
  """Explores one trajectory in a worker's own environment.

  Args:
    settings: `config.env` as JSON text.
    unit: arguments of `branch`; more may follow.

  Returns:
    The trajectory's record, with its alternatives.
  """
  with own.environment(settings) as env:
    return branch_in(env, unit)


def branch_in(env: Environment, unit: tuple) -> dict:
  """Likewise in a given environment."""
  task, trajectory, proposals, *_ = unit
  if isinstance(proposals, Failure):  # none could be made
    raise Fault(proposals.reason, proposals.error)
  return check_record(records.to_json(branch(env, task, trajectory, proposals)))


def branch(
  env: Environment, task: Task, trajectory: Trajectory, proposals: Proposals
) -> Trajectory:
  """Executes alternatives in the states of a trajectory.

  Args:
    env: in any state.
    task: the trajectory's.
    trajectory: what the expert did.
    proposals: of each step.

  Returns:
    The trajectory with these alternatives in place of any it had.

  Raises:
    Misbehaves: a state differs from the recorded one; the message names the
      task and the step.
  """
  _begin(env, task, trajectory)
  _prove_admissible(env, trajectory, 0)
  steps = []
  for index, step in enumerate(trajectory.steps):
    actions = [action for action, _ in proposals[index]]
    turns = try_all(
      env, actions, lambda at=index: arrive(env, task, trajectory, at)
    )
    found = tuple(
      Alternative(action, turn.observation, turn.done, turn.valid, proposer)
      for (action, proposer), turn in zip(proposals[index], turns, strict=True)
    )
    steps.append(dataclasses.replace(step, alternatives=found))
    _advance(env, trajectory, index)
    _prove_admissible(env, trajectory, index + 1)
  return dataclasses.replace(trajectory, steps=tuple(steps))


def try_all(env: Environment, actions: list[str], again) -> list[Turn]:
  """Executes each action in the state that the environment is in.

  Args:
    env: is in that state afterwards too.
    actions: alternatives to each other.
    again: brings the environment back to that state, from any other.

  Returns:
    What each action led to.
  """
  if not actions:
    return []
  if env.branching == 'fork':
    return [fork.peek(env, action) for action in actions]
  here = env.fingerprint()
  twin = env.clone()
  actor, moved, turns = twin or env, False, []
  for action in actions:
    if moved and twin is not None:
      actor = env.clone()
    elif moved:
      again()
    turns.append(actor.step(action))
    moved = turns[-1].done or here is None or actor.fingerprint() != here
  if moved and twin is None:
    again()
  return turns


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
