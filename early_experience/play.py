"""Plays: episodes that no expert showed, branched at each of their states.

Experts show few states of a world. Here the agent acts at random in training
tasks that have no demonstration, which needs neither expert nor reward, and
what the environment answers teaches the world model alone.
"""

import contextlib
import functools
import random

from ml_collections import ConfigDict

from early_experience.config import absent, checked, reads
from early_experience.envs import apart, own
from early_experience.envs.interface import Environment, Task
from early_experience.experience import records
from early_experience.experience.records import Step, Trajectory
from early_experience.exploration import branching, proposers
from early_experience.runtime import cli, files, stage
from early_experience.runtime.errors import UserError
from early_experience.runtime.progress import Progress
from early_experience.work import set_aside, workers

ACTOR = 'uniform'  # of the episodes; stands where an expert's name does


@checked
def play(config: ConfigDict, workdir: str) -> dict:
  """Plays tasks that were not demonstrated; writes WORKDIR/play.

  They are those of `config.collect.split` that `collect` has no trajectory of,
  in their order. What the environment fails on is set aside.

  Raises:
    UserError: `collect` is not done, every task was demonstrated, or the
      environment lists no actions to choose among.
  """
  collected = stage.require(workdir, 'collect')
  with contextlib.closing(apart.Apart(config)) as env:
    tasks = _undemonstrated(env, config, collected)
    folder = stage.begin(
      workdir,
      'play',
      reads('play', config)
      | {'collected': files.read_json(collected / stage.SETTINGS)},
      absent=absent('play', config),
    )
  if stage.finished(folder) is None:
    _write(tasks, config, folder)
    stage.finish(folder, _summary(folder))
  summary = stage.finished(folder)
  print(
    f'play: {summary["trajectories"]} episodes of random actions,'
    f' {summary["states"]} states, {summary["branches"]} branches, of which'
    f' {summary["invalid"]} invalid; {summary["solved"]} solved their task'
    f' -> {folder}{set_aside.told(folder, summary)}'
  )
  return summary


def wander(
  env: Environment, task: Task, max_steps: int, seed: int
) -> Trajectory:
  """An episode of uniform admissible actions.

  It is a pure function of the seed and the task.

  Raises:
    UserError: the environment does not list its actions.
  """
  rng, turn, steps = (
    random.Random(f'play/{seed}/{task.id}'),
    env.reset(task),
    [],
  )
  while not turn.done and len(steps) < max_steps:
    listed = env.admissible()
    if listed is None:
      raise UserError(
        f'environment {env.name} does not list its actions: there is nothing'
        ' to play among; set config.play.tasks=0'
      )
    if not listed:
      break
    action = env.canonical(rng.choice(listed))
    steps.append(Step(turn.observation, action, None, listed))
    turn = env.step(action)
  return Trajectory(
    environment=env.name,
    source=env.source,
    task_id=task.id,
    split=task.split,
    task_type=task.type,
    instruction=env.instruction,
    steps=tuple(steps),
    final_observation=turn.observation,
    success=turn.success,
    score=turn.score,
    expert=ACTOR,
  )


def play_in_own(
  settings: str, max_steps: int, k: int, seed: int, task: Task
) -> dict:
  """Wanders and branches in a worker's own environment.

  Args:
    settings: `config.env` as JSON text.
    max_steps: of an episode.
    k: alternatives a state.
    seed: of all choices.
    task: to be played.

  Returns:
    The trajectory's record, with its alternatives.
  """
  with own.environment(settings) as env:
    walk = wander(env, task, max_steps, seed)
    proposals = proposers.alternatives(
      proposers.contexts_of(walk),
      [step.action for step in walk.steps],
      {ACTOR: (proposers.Uniform(seed), 1.0)},
      k,
      env.canonical,
    )
    return branching.branch_in(env, (task, walk, proposals))


def _undemonstrated(env, config, collected):
  shown = {trajectory.task_id for trajectory in records.read(collected)}
  tasks = [t for t in env.tasks(config.collect.split) if t.id not in shown]
  if not tasks:
    raise UserError(
      f'each of the {len(shown)} tasks of split {config.collect.split!r} is'
      ' demonstrated: none is left to play; lower config.collect.trajectories,'
      ' or set config.play.tasks=0'
    )
  return tasks[: config.play.tasks]


def _write(tasks, config, folder):
  act = functools.partial(
    play_in_own,
    config.env.to_json(),
    config.play.max_steps,
    config.play.k,
    config.seed,
  )
  with files.JsonlWriter(folder, records.STEM) as writer:
    done = files.written(folder, records.STEM) | set_aside.ids(folder)
    left = [task for task in tasks if task.id not in done]
    progress = Progress('play', len(tasks), 'episodes', len(done))
    played = set_aside.sift(
      workers.run(act, left, config.cluster, len(left)),
      folder,
      lambda task: task.id,
    )
    with contextlib.closing(played):
      for _, record in played:
        writer.write(record)
        progress.update()
    progress.close()


def _summary(folder):
  """Counts what is on disk, so that a continued run counts all of it."""
  trajectories = states = branches = invalid = solved = 0
  for _, value in files.read_jsonl(folder, records.STEM):
    trajectories += 1
    solved += value['success']
    states += len(value['steps'])
    for step in value['steps']:
      branches += len(step['alternatives'])
      invalid += sum(not other['valid'] for other in step['alternatives'])
  return {
    'trajectories': trajectories,
    'states': states,
    'branches': branches,
    'invalid': invalid,
    'solved': solved,
    'set_aside': set_aside.by_reason(folder),
  }


if __name__ == '__main__':
  cli.run(play)
