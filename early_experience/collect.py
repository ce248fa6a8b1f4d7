"""Collects expert trajectories: the trunk of the experience trees."""

import collections
import contextlib
import functools
import random
from collections.abc import Sequence

from ml_collections import ConfigDict

from early_experience.config import absent, checked, reads
from early_experience.envs import apart, own, registry
from early_experience.envs.guard import Guarded, Misbehaves, check_record
from early_experience.envs.interface import Environment, Task, Turn
from early_experience.experience import records
from early_experience.experience.records import Step, Trajectory
from early_experience.language import accounting
from early_experience.runtime import cli, files, stage
from early_experience.runtime.errors import UserError
from early_experience.runtime.progress import Progress
from early_experience.work import set_aside, workers

FAILURES = 'failures'
ANSWERS = 'answers'  # what language models in the environment said, by task


@checked
def collect(config: ConfigDict, workdir: str) -> dict:
  """Runs the expert over the tasks of a split; writes WORKDIR/collect.

  Raises:
    UserError: as `collect_from`.
  """
  with contextlib.closing(apart.Apart(config)) as env:
    play = functools.partial(
      play_in_own, config.env.to_json(), config.collect.max_steps
    )
    return _collect(
      env, config, workdir, lambda *args: workers.run(play, *args)
    )


@checked
def collect_from(env: Environment, config: ConfigDict, workdir: str) -> dict:
  """Likewise in a given environment and in this process.

  Tries tasks in order until `config.collect.trajectories` succeeded.
  Successes go to `trajectories-*.jsonl`, tasks that the expert does not solve
  to `failures-*.jsonl`, those where it or the environment misbehaves to
  `set_aside-*.jsonl`, so that a later run tries none of them again.

  Raises:
    UserError: there is no such split, no expert, or no success at all.
  """
  guarded = Guarded(env, config.env.max_observation_chars)
  play = functools.partial(_play, guarded, config.collect.max_steps)
  return _collect(
    env,
    config,
    workdir,
    lambda tasks, cluster, _: workers.run_here(play, tasks, cluster.tries),
  )


def _collect(env, config, workdir, run):
  settings = reads('collect', config) | {'env': registry.settings(config.env)}
  env.tasks(config.collect.split)  # before anything is written: it may refuse
  folder = stage.begin(
    workdir, 'collect', settings, absent=absent('collect', config)
  )
  summary = stage.finished(folder)
  if summary is None:
    _write(env, config, folder, run)
    summary = stage.finish(folder, _summary(env, config.collect, folder))
  again = summary['trajectories'] < config.collect.trajectories
  print(
    f'collect: {summary["trajectories"]} expert trajectories,'
    f' {summary["states"]} states, of {summary["tried"]} tasks tried'
    f' -> {folder}{set_aside.told(folder, summary, again)}'
  )
  accounting.tell(
    'collect, its environment', summary.get('environment_answers')
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
    Misbehaves: it rejects the action of an expert that does not probe.
  """
  turn = env.reset(task)
  expert = env.expert(turn)
  if expert is None:
    raise UserError(f'environment {env.name} has no expert to collect from')
  steps, failure = [], None
  said = next(expert, None)
  while not turn.done:
    if said is None:
      failure = 'gave up'
      break
    if len(steps) == max_steps:
      failure = f'more than {max_steps} steps'
      break
    action, thought = said if isinstance(said, tuple) else (said, None)
    if thought is not None and not thought.strip():
      thought = None  # an empty one is none
    action = env.canonical(action)
    steps.append(Step(turn.observation, action, thought, env.admissible()))
    turn = env.step(action)
    if not turn.valid and not env.expert_probes:
      raise Misbehaves(
        'expert action rejected',
        f'task {task.id} step {len(steps) - 1}: {action!r} is answered'
        f' {turn.observation[:200]!r}',
      )
    said = _send(expert, turn)
  if failure is None and not turn.success:
    failure = 'ended without success'
  elif not steps:
    failure = failure or 'over before its first step'
  return recorded(env, task, steps, turn, env.expert_name), failure


def recorded(
  env: Environment, task: Task, steps: Sequence[Step], last: Turn, expert: str
) -> Trajectory:
  """The record of an episode that the environment has just played.

  Args:
    env: that played it.
    task: of the episode.
    steps: in order.
    last: its answer to the last of them.
    expert: who acted, or was asked.
  """
  return Trajectory(
    environment=env.name,
    source=env.source,
    task_id=task.id,
    split=task.split,
    task_type=task.type,
    instruction=env.instruction,
    steps=tuple(steps),
    final_observation=last.observation,
    success=last.success,
    score=last.score,
    expert=expert,
  )


def play_in_own(
  settings: str, max_steps: int, task: Task
) -> tuple[dict, str | None, dict | None]:
  """`run_expert` in a worker's own environment.

  Args:
    settings: `config.env` as JSON text.
    max_steps: as `run_expert`.
    task: likewise.

  Returns:
    The trajectory's record, why it is not a success, and
    `Environment.answers`.
  """
  with own.environment(settings) as env:
    return _play(env, max_steps, task)


def _play(env, max_steps, task):
  trajectory, failure = run_expert(env, task, max_steps)
  record = check_record(records.to_json(trajectory))
  return record, failure, env.answers()


def ordered(tasks: Sequence[Task], config: ConfigDict) -> list[Task]:
  """The tasks of the split, in the order in which they are tried."""
  tasks = list(tasks)
  if config.collect.shuffle:
    random.Random(f'collect/{config.seed}').shuffle(tasks)
  return tasks


def _write(env, config, folder, run):
  wanted = config.collect.trajectories
  with (
    files.JsonlWriter(folder, records.STEM) as successes,
    files.JsonlWriter(folder, FAILURES) as failures,
    files.JsonlWriter(folder, ANSWERS) as answers,
  ):
    tried = files.written(folder, records.STEM)
    count = len(tried)
    tried |= files.written(folder, FAILURES) | set_aside.ids(folder)
    tasks = ordered(env.tasks(config.collect.split), config)
    left = [t for t in tasks if t.id not in tried]
    if count >= wanted:
      return
    progress = Progress('collect', wanted, 'trajectories', count)
    played = set_aside.sift(
      run(left, config.cluster, min(len(left), wanted - count)),
      folder,
      lambda task: task.id,
    )
    with contextlib.closing(played):
      for task, (record, failure, said) in played:
        if said is not None:
          answers.write({'task_id': task.id, 'answers': said})
        if failure is None:
          successes.write(record)
          count += 1
          progress.update()
          if count >= wanted:
            break
        else:
          failures.write(
            {'task_id': task.id, 'task_type': task.type, 'reason': failure}
          )
    progress.close()


def _summary(env, settings, folder):
  """Counts what is on disk, so that a continued run counts all of it."""
  steps, types = [], collections.Counter()
  for _, value in files.read_jsonl(folder, records.STEM):
    steps.append(len(value['steps']))
    types[value['task_type']] += 1
  failures = [value for _, value in files.read_jsonl(folder, FAILURES)]
  aside = set_aside.by_reason(folder)
  if not steps:
    stage.undo(folder)  # a mended run may differ
    why = _count(failures, 'reason').items()
    raise UserError(
      f'no success of the {env.name} expert in {len(failures)} tasks of'
      f' {settings.split!r}'
      + ''.join(f'; {count}: {reason}' for reason, count in why)
    )
  return {
    'environment': env.name,
    'source': env.source,
    'split': settings.split,
    'trajectories': len(steps),
    'states': sum(steps),
    'mean_steps': sum(steps) / len(steps),
    'tried': len(steps) + len(failures) + sum(aside.values()),
    'tasks': len(env.tasks(settings.split)),
    'by_type': dict(types),
    'failed_by_type': _count(failures, 'task_type'),
    'failed_by_reason': _count(failures, 'reason'),
    'environment_answers': accounting.heard(folder, ANSWERS),
    'set_aside': aside,
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
