"""What is tried in each state of each trajectory: the work of `explore`."""

import itertools
from collections.abc import Iterator, Mapping, Sequence, Set

from early_experience.envs.interface import Environment, Task
from early_experience.experience import records
from early_experience.exploration import proposers
from early_experience.work.units import Failure, attempt

# Trajectories whose states are proposed for together: enough for a policy to
# fill its batch. Fixed, so that a continued run asks the same questions.
GROUP = 16


def known_in(
  env: Environment, trajectory: records.Trajectory
) -> tuple[list[proposers.Context], Failure | None]:
  """What a proposer knows in each state, without what `env` keeps from it.

  With the `Failure` that its own words for a state ended in, or None.
  """
  plain = proposers.contexts_of(trajectory)
  found = attempt(lambda t: proposers.contexts_of(t, env.without), trajectory)
  return (plain, found) if isinstance(found, Failure) else (found, None)


def units(
  env: Environment,
  named: Mapping[str, tuple[proposers.Proposer, float]],
  k: int,
  trajectories: Sequence[records.Trajectory],
  tasks: Mapping[str, Task],
  done: Set[str],
) -> Iterator[tuple]:
  """Yields (task, trajectory, its proposals, what a language model answered).

  In place of proposals there may be the `Failure` that the environment's own
  words for a state or an action ended in: it is the trajectory's.
  The next group's proposals are asked for while workers branch.

  Args:
    env: that the trajectories are of.
    named: proposers with their shares, by name.
    k: alternatives a state.
    trajectories: in the order of their groups.
    tasks: by id, those of the trajectories.
    done: ids of tasks that are explored already, or set aside.
  """
  for start in range(0, len(trajectories), GROUP):
    group = trajectories[start : start + GROUP]
    if done.issuperset(t.task_id for t in group):
      continue
    known, failed = zip(*(known_in(env, t) for t in group), strict=True)
    contexts = list(itertools.chain(*known))
    steps = [step for t in group for step in t.steps]
    known = [step.tried | {step.expert_action: None} for step in steps]
    proposals = iter(
      proposers.alternatives(contexts, known, named, k, env.canonical)
    )
    for trajectory, failure in zip(group, failed, strict=True):
      own = list(itertools.islice(proposals, len(trajectory.steps)))
      faults = (one for one in (failure, *own) if isinstance(one, Failure))
      own = next(faults, None) or [
        _advised(step) + some
        for step, some in zip(trajectory.steps, own, strict=True)
      ]
      heard = None
      if 'openai' in named:
        heard = named['openai'][0].heard(trajectory.task_id)
      if trajectory.task_id not in done:
        yield tasks[trajectory.task_id], trajectory, own, heard


def _advised(step):
  """What the expert would do, where that was not tried yet."""
  known = step.expert_action in step.tried
  return [] if known else [(step.expert_action, records.EXPERT)]
