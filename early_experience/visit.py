"""A policy visits training tasks, and the expert is asked in every state there.

What a round explores, in WORKDIR/collect: all that the round before explored,
and episodes of its policy, each state of which has what the expert would do
(DAgger, arXiv 1011.0686).
"""

import contextlib
import copy
import functools
import operator

from ml_collections import ConfigDict

from early_experience import collect
from early_experience.config import absent, checked, reads
from early_experience.envs import apart, own, registry
from early_experience.envs.guard import Misbehaves, check_record
from early_experience.envs.interface import Environment, Task
from early_experience.evaluate import thinks
from early_experience.evaluation import panel, policies, rollouts
from early_experience.experience import records
from early_experience.experience.records import Step, Trajectory
from early_experience.runtime import cli, files, stage
from early_experience.runtime.progress import Progress
from early_experience.work import set_aside, workers

ROLLOUTS = panel.STEM


@checked
def visit(config: ConfigDict, workdir: str, before: str) -> dict:
  """Writes WORKDIR/collect; continues where it was stopped.

  Args:
    config: `visit.episodes` are played as `evaluate` says, greedy or not, but
      each decision is one sample; in tasks of `collect.split` of which there is
      no trajectory yet.
    workdir: of this round.
    before: that of the round before, explored and trained.

  Raises:
    UserError: a stage of the round before is not done, or none of the episodes
      can be played.
  """
  config = copy.deepcopy(config)
  config.evaluate.think = thinks(config.evaluate.think, before)
  explored = stage.require(before, 'explore')
  trained = stage.require(before, f'train/{config.name}')
  settings = reads('visit', config) | {
    'env': registry.settings(config.env),
    'explored': files.read_json(explored / stage.SETTINGS),
    'trained': files.read_json(trained / stage.SETTINGS),
  }
  folder = stage.begin(
    workdir, 'collect', settings, absent=absent('visit', config)
  )
  if stage.finished(folder) is None:
    advises = _visit(config, before, explored, folder)
    stage.finish(folder, _summary(config, folder) | {'advises': advises})
  summary = stage.finished(folder)
  print(
    f'visit: {_sentence(summary)}; {summary["trajectories"]} trajectories ->'
    f' {folder}{set_aside.told(folder, summary)}'
  )
  return summary


def follow_in_own(settings: str, unit: tuple[Task, dict, str]) -> dict | None:
  """`follow` in a worker's own environment.

  Args:
    settings: `config.env` as JSON text.
    unit: the other arguments of `follow`.

  Returns:
    The trajectory's record; None where there is none.
  """
  with own.environment(settings) as env:
    found = follow(env, *unit)
    return found and check_record(records.to_json(found))


def follow(
  env: Environment, task: Task, played: dict, name: str
) -> Trajectory | None:
  """Plays an episode again, and asks the expert in every state of it.

  Args:
    env: its expert advises.
    task: of the episode.
    played: its record, as `evaluation.rollouts` has it.
    name: of the policy.

  Returns:
    The episode up to where the expert gave up; None where that is at once.

  Raises:
    Misbehaves: the environment answers otherwise than it did.
  """
  turn = opening = env.reset(task)
  past, steps = [], []
  for index, step in enumerate(played['steps']):
    if turn.observation != step['observation']:
      raise Misbehaves(
        'no longer replays',
        f'task {task.id} step {index}: {turn.observation[:200]!r} is not what'
        f' was observed: {step["observation"][:200]!r}',
      )
    advice = env.advise(opening, past)
    if advice is None:
      break
    action, advice = step['action'], env.canonical(advice)
    steps.append(
      Step(turn.observation, action, None, env.admissible(), advice=advice)
    )
    turn = env.step(action)
    past.append((action, turn))
  if not steps:
    return None
  asked = f'{env.expert_name}, asked by {name}'
  return collect.recorded(env, task, steps, turn, asked)


def _visit(config, before, explored, folder):
  """Returns whether the expert can be asked."""
  most = config.evaluate.batch_tasks
  with contextlib.closing(apart.seats_anywhere(config, most)) as seats:
    ask = functools.partial(apart.ask, seats, config.env.name)
    advises = ask(operator.attrgetter('expert_advises'))
    tasks = _tasks(ask, config, explored) if advises else []
    if tasks:
      _play(seats, config, before, tasks, folder)
  played = {r['task_id']: r for _, r in files.read_jsonl(folder, ROLLOUTS)}
  with files.JsonlWriter(folder, records.STEM) as writer:
    done = files.written(folder, records.STEM)
    for _, record in files.read_jsonl(explored, records.STEM):
      if record['task_id'] not in done:
        writer.write(record)
    done |= set_aside.ids(folder)
    units = [
      (task, played[task.id], config.name)
      for task in tasks
      if task.id in played and task.id not in done
    ]
    follows = functools.partial(follow_in_own, config.env.to_json())
    found = set_aside.sift(
      workers.run(follows, units, config.cluster, len(units)),
      folder,
      lambda unit: unit[0].id,
    )
    for _, record in found:
      if record is not None:
        writer.write(record)
  return advises


def _tasks(ask, config, explored):
  """Those to visit: there is no trajectory of them yet."""
  known = files.written(explored, records.STEM)
  there = ask(operator.methodcaller('tasks', config.collect.split))
  left = [t for t in collect.ordered(there, config) if t.id not in known]
  return left[: config.visit.episodes]


def _play(seats, config, before, tasks, folder):
  """Plays what is not yet on disk; a record is written as its episode ends."""
  how = config.evaluate
  with files.JsonlWriter(folder, ROLLOUTS) as writer:
    done = files.written(folder, ROLLOUTS) | set_aside.ids(folder)
    left = [task for task in tasks if task.id not in done]
    if not left:
      return
    slots = min(how.batch_tasks, len(left))
    policy = policies.load(
      config, before, slots, folder, len(left), cli.confirmed()
    )
    progress = Progress('visit', len(tasks), 'episodes', done=len(done))
    played = set_aside.sift(
      rollouts.run(
        left,
        seats,
        policy,
        slots=slots,
        max_steps=how.max_steps,
        tries=config.cluster.tries,
      ),
      folder,
      lambda task: task.id,
      progress.update,
    )
    for _, record in played:
      writer.write(record)
      progress.update()
    progress.close()


def _sentence(summary):
  if not summary['advises']:
    return 'no episode of the policy: the expert of this environment only acts'
  if not summary['episodes']:
    return (
      'no episode of the policy: no task is left that has no trajectory (see'
      ' config.visit.episodes, config.collect.trajectories)'
    )
  return (
    f'{summary["episodes"]} episodes of the policy before'
    f' ({summary["solved"]} solved): the expert, asked in'
    f' {summary["visited"]} of their states, would have done the same in'
    f' {summary["agreed"]}'
  )


def _summary(config, folder):
  """Counts what is on disk; `asked` are the states of all rounds so far."""
  # Where the expert gives up, a trajectory ends, and the episode went on.
  played = {r['task_id']: r for _, r in files.read_jsonl(folder, ROLLOUTS)}
  states = asked = visited = agreed = trajectories = 0
  for trajectory in records.read(folder):
    trajectories += 1
    states += len(trajectory.steps)
    asked += sum(step.advice is not None for step in trajectory.steps)
    if trajectory.task_id in played:
      visited += len(trajectory.steps)
      agreed += sum(s.advice == s.action for s in trajectory.steps)
  return {
    'environment': config.env.name,
    'split': config.collect.split,
    'trajectories': trajectories,
    'states': states,
    'episodes': len(played),
    'solved': sum(record['success'] for record in played.values()),
    'visited': visited,
    'agreed': agreed,
    'asked': asked,
    'set_aside': set_aside.by_reason(folder),
  }
