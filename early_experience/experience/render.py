"""Trajectories to scripts: the three datasets, and the one prompt they share.

A script is what a model reads and writes, turn by turn, with the objective
that each turn is scored for. The datasets differ here and nowhere else.

The history that precedes a decision has the task, the observations and the
actions, and no thoughts: evaluation renders it by the same functions.
"""

import dataclasses
from collections.abc import Sequence

from early_experience.config import OBJECTIVES as OBJECTIVES
from early_experience.experience.records import Trajectory

ROLES = ('system', 'task', 'observation', 'action', 'thought')

WORLD_MODEL_INSTRUCTION = (
  'Act as the environment: answer each action with what is observed next.'
)


@dataclasses.dataclass(frozen=True)
class Turn:
  """One message.

  Attributes:
    role: one of `ROLES`.
    text: without any markup.
    scores: the objective that the text and its end are targets of, or None
      for context. The role itself is never a target: who speaks next is
      decided by who runs the model.
  """

  role: str
  text: str
  scores: str | None = None


Script = tuple[Turn, ...]


def opening(instruction: str, observation: str) -> Script:
  """The turns before the first decision."""
  return Turn('task', instruction), Turn('observation', observation)


def exchange(
  action: str, observation: str, scores: str | None = None
) -> Script:
  """An action and its outcome; `scores` is about the outcome."""
  return Turn('action', action), Turn('observation', observation, scores)


def history(
  instruction: str, observations: Sequence[str], actions: Sequence[str]
) -> Script:
  """The turns before a decision.

  Args:
    instruction: of the task.
    observations: one more than `actions`; the last one is to be acted on.
    actions: those taken so far.
  """
  script = opening(instruction, observations[0])
  for action, observation in zip(actions, observations[1:], strict=True):
    script += exchange(action, observation)
  return script


def world_model_prefix(style: str) -> Script:
  """What a world-model script starts with: nothing, or its instruction.

  Args:
    style: `inline`, where outcomes are the environment's turns as a policy
      sees them, or `instructed`, where they stand behind an instruction of
      their own, so that a policy never learns to write observations.
  """
  if style == 'inline':
    return ()
  return (Turn('system', WORLD_MODEL_INSTRUCTION),)


def imitation(trajectory: Trajectory) -> list[Script]:
  """The expert's actions (equation 1): an episode is one script.

  Where the expert left a thought, that decision is a script of its own:
  thought, then action. Thoughts do not enter the history. So is what it would
  have done where a policy did something else.
  """
  episode, past, apart = _opening(trajectory), _opening(trajectory), []
  for i, step in enumerate(trajectory.steps):
    outcome = Turn('observation', trajectory.outcome(i))
    right = (Turn('action', step.expert_action, 'imitation'),)
    if step.thought is not None:
      right = _think(step.thought, step.expert_action, 'imitation')
    if step.thought is None and step.expert_action == step.action:
      episode += *right, outcome
    else:
      episode += Turn('action', step.action), outcome
      apart.append(past + right)
    past += Turn('action', step.action), outcome
  return [episode, *apart]


def world_model(
  trajectory: Trajectory, k: int, style: str = 'inline'
) -> list[Script]:
  """Next observations (equation 3): the expert's own, and the branches'.

  Where an outcome has a summary, that is the target, on a branch of its own:
  what follows in the history are outcomes as the policy sees them.

  Args:
    trajectory: explored where `k` is not 0.
    k: alternatives of each state, the first ones recorded.
    style: see `world_model_prefix`.
  """
  prefix, branches = world_model_prefix(style), []
  past = prefix + _opening(trajectory)
  trunk = past
  for i, step in enumerate(trajectory.steps):
    for other in step.alternatives[:k]:
      branches.append(past + exchange(other.action, other.told, 'world_model'))
    outcome, scores = trajectory.outcome(i), 'world_model'
    if step.summary is not None:
      told = exchange(step.action, step.summary, 'world_model')
      branches.append(past + told)
      scores = None
    trunk += exchange(step.action, outcome, scores)
    past += exchange(step.action, outcome)
  scored = any(turn.scores for turn in trunk)
  return [trunk, *branches] if scored else branches


def predictions(
  trajectory: Trajectory,
  index: int,
  style: str = 'inline',
  k: int | None = None,
) -> list[tuple[Script, str]]:
  """What a world model is asked of a state: turns that an action ends.

  Args:
    trajectory: its alternatives are asked for, and the expert's action.
    index: of the step.
    style: see `world_model_prefix`.
    k: alternatives of the state, the first ones recorded; None is all.

  Returns:
    Scripts, each with what was observed next, or its summary.
  """
  step = trajectory.steps[index]
  past = world_model_prefix(style) + before(trajectory, index)
  told = {other.action: other.told for other in step.alternatives[:k]}
  told[step.action] = trajectory.told(index)
  return [((*past, Turn('action', a)), outcome) for a, outcome in told.items()]


def before(trajectory: Trajectory, index: int) -> Script:
  """The turns before the decision at step `index`."""
  steps = trajectory.steps[: index + 1]
  return history(
    trajectory.instruction,
    [step.observation for step in steps],
    [step.action for step in steps[:-1]],
  )


def choice(script: Script, actions: Sequence[str]) -> Script:
  """The turns before a decision, and what there is to choose from."""
  listed = '\n'.join(f'- {action}' for action in actions)
  return (*script, Turn('observation', f'One of these:\n{listed}'))


def recovery(trajectory: Trajectory, k: int) -> list[Script]:
  """The expert's action once more, behind each alternative that rejoins.

  There the environment has proven that the expert's recorded actions still end
  as they ended. An expert that is asked anew may know better, where the
  alternative has revealed something.

  Args:
    trajectory: explored with `config.explore.rejoin`.
    k: alternatives of each state, the first ones recorded.
  """
  past, scripts = _opening(trajectory), []
  for i, step in enumerate(trajectory.steps):
    acts = (Turn('action', step.action, 'imitation'),)
    if step.thought is not None:
      acts = _think(step.thought, step.action, 'imitation')
    for other in step.alternatives[:k]:
      if other.rejoins:
        tried = exchange(other.action, other.observation)
        scripts.append(past + tried + acts)
    past += exchange(step.action, trajectory.outcome(i))
  return scripts


def reflection(trajectory: Trajectory) -> list[Script]:
  """Rationale, then the expert's action (equation 4), for each rationale."""
  past, scripts = _opening(trajectory), []
  for i, step in enumerate(trajectory.steps):
    for rationale in step.rationales:
      scripts.append(past + _think(rationale.text, step.action, 'reflection'))
    past += exchange(step.action, trajectory.outcome(i))
  return scripts


def _opening(trajectory):
  return opening(trajectory.instruction, trajectory.steps[0].observation)


def _think(thought, action, objective):
  return Turn('thought', thought, objective), Turn('action', action, objective)
