"""Collects expert trajectories: the trunk of the experience trees."""

import collections

from ml_collections import ConfigDict

from early_experience import cli, files, stage
from early_experience.envs import registry
from early_experience.envs.interface import Environment, Task
from early_experience.errors import UserError
from early_experience.experience import records
from early_experience.experience.records import Step, Trajectory
from early_experience.progress import Progress

FAILURES = 'failures'


def collect(config: ConfigDict, workdir: str) -> dict:
  """Runs the expert over the tasks of a split; writes WORKDIR/collect."""
  return collect_from(registry.make(config.env), config, workdir)


def collect_from(env: Environment, config: ConfigDict, workdir: str) -> dict:
  """Tries tasks in order until `config.collect.trajectories` succeeded.

  Successes go to `trajectories-*.jsonl`, the other tasks to
  `failures-*.jsonl`, so that a later run tries neither again.

  Raises:
    UserError: there is no such split, no expert, or no success at all.
  """
  settings = {
    'env': config.env.to_dict(),
    'collect': config.collect.to_dict(),
  }
  env.tasks(config.collect.split)  # before anything is written: it may refuse
  folder = stage.begin(workdir, 'collect', settings)
  summary = stage.finished(folder)
  if summary is None:
    summary = stage.finish(folder, _collect(env, config.collect, folder))
  print(
    f'collect: {summary["trajectories"]} expert trajectories,'
    f' {summary["states"]} states, of {summary["tried"]} tasks tried'
    f' -> {folder}'
  )
  return summary


def run_expert(
  env: Environment, task: Task, max_steps: int
) -> tuple[Trajectory, str | None]:
  """Lets the expert play one task.

  Returns:
    The trajectory, and why it is not a success (None where it is one).

  Raises:
    UserError: the environment has no expert.
  """
  turn = env.reset(task)
  expert = env.expert(turn)
  if expert is None:
    raise UserError(f'environment {env.name} has no expert to collect from')
  steps, failure = [], None
  action = next(expert, None)
  while not turn.done:
    if action is None:
      failure = 'gave up'
      break
    if len(steps) == max_steps:
      failure = f'more than {max_steps} steps'
      break
    action = env.canonical(action)
    steps.append(Step(turn.observation, action, admissible=env.admissible()))
    turn = env.step(action)
    action = _send(expert, turn)
  if failure is None and not turn.success:
    failure = 'ended without success'
  trajectory = Trajectory(
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
    expert=env.expert_name,
  )
  return trajectory, failure


def _collect(env, settings, folder):
  tasks = env.tasks(settings.split)
  with (
    files.JsonlWriter(folder, records.STEM) as successes,
    files.JsonlWriter(folder, FAILURES) as failures,
  ):
    tried = _ids(folder, records.STEM)
    count = len(tried)
    tried |= _ids(folder, FAILURES)
    progress = Progress('collect', settings.trajectories, 'trajectories', count)
    for task in tasks:
      if count >= settings.trajectories:
        break
      if task.id in tried:
        continue
      trajectory, failure = run_expert(env, task, settings.max_steps)
      if failure is None:
        successes.write(records.to_json(trajectory))
        count += 1
        progress.update()
      else:
        failures.write(
          {'task_id': task.id, 'task_type': task.type, 'reason': failure}
        )
    progress.close()
  return _summary(env, settings, folder)


def _ids(folder, stem):
  return {value['task_id'] for _, value in files.read_jsonl(folder, stem)}


def _summary(env, settings, folder):
  """Counts what is on disk, so that a continued run counts all of it."""
  steps, types = [], collections.Counter()
  for _, value in files.read_jsonl(folder, records.STEM):
    steps.append(len(value['steps']))
    types[value['task_type']] += 1
  failures = [value for _, value in files.read_jsonl(folder, FAILURES)]
  if not steps:
    raise UserError(
      f'no success of the {env.name} expert in {len(failures)} tasks of'
      f' {settings.split!r}'
    )
  return {
    'environment': env.name,
    'source': env.source,
    'split': settings.split,
    'trajectories': len(steps),
    'states': sum(steps),
    'mean_steps': sum(steps) / len(steps),
    'tried': len(steps) + len(failures),
    'tasks': len(env.tasks(settings.split)),
    'by_type': dict(types),
    'failed_by_type': _count(failures, 'task_type'),
    'failed_by_reason': _count(failures, 'reason'),
  }


def _count(values, key):
  return dict(collections.Counter(value[key] for value in values))


def _send(expert, turn):
  try:
    return expert.send(turn)
  except StopIteration:
    return None


if __name__ == '__main__':
  cli.run(collect)
