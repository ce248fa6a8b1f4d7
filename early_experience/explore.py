"""Explores: tries alternatives at every expert state, in the environment.

Branches are one step deep (arXiv 2510.08558, equation 2). No branch is taken
from a state that is not proven to be the recorded one.
"""

import collections
import dataclasses
import itertools
import pathlib

from ml_collections import ConfigDict

from early_experience import cli, files, proposers, stage
from early_experience.endpoint import Endpoint, identity
from early_experience.envs import registry
from early_experience.envs.interface import Environment, Task, Turn
from early_experience.errors import UserError
from early_experience.experience import records
from early_experience.experience.answer_format import find_format
from early_experience.experience.records import Alternative, Trajectory
from early_experience.progress import Progress

# Trajectories whose states are proposed for together: enough for a policy to
# fill its batch. Fixed, so that a continued run asks the same questions.
GROUP = 16
# Beside the trajectories: how many requests of each met an error. Where one was
# stopped and explored again, its newer line counts.
UNANSWERED = 'unanswered'


def explore(config: ConfigDict, workdir: str) -> dict:
  """Adds alternatives to the collected trajectories; writes WORKDIR/explore."""
  return explore_in(registry.make(config.env), config, workdir)


def explore_in(env: Environment, config: ConfigDict, workdir: str) -> dict:
  """Explores every collected trajectory in an environment.

  Raises:
    UserError: `collect` is not done, a setting is wrong, or the environment
      no longer does what the trajectory says; the message has task and step.
  """
  shares = proposers.check_shares(config.explore.proposers.to_dict())
  if config.explore.k < 0:
    raise UserError(f'config.explore.k is {config.explore.k}, below 0')
  source = stage.require(workdir, 'collect')
  named = None
  if stage.finished(pathlib.Path(workdir) / 'explore') is None:
    named = {  # before anything is written: a policy may be missing
      name: (_proposer(name, config, workdir), share)
      for name, share in shares.items()
    }
  folder = stage.begin(workdir, 'explore', _settings(config, source))
  if named:
    _explore(env, named, config.explore.k, source, folder)
    stage.finish(folder, _summary(folder))
  summary = stage.finished(folder)
  silent = summary['unanswered']
  print(
    f'explore: {summary["branches"]} branches at {summary["states"]} states'
    f' of {summary["trajectories"]} trajectories, {summary["invalid"]} invalid'
    f'{f", {silent} requests unanswered" if silent else ""} -> {folder}'
  )
  return summary


def branch(
  env: Environment,
  task: Task,
  trajectory: Trajectory,
  proposals: list[list[tuple[str, str]]],
) -> Trajectory:
  """Executes alternatives in the states of a trajectory.

  Where the environment cannot clone itself, each alternative spoils the
  episode, which is then reset and replayed, and proven all the way again.

  Args:
    env: in any state.
    task: the trajectory's.
    trajectory: what the expert did.
    proposals: for each step, (action, proposer) of each alternative.

  Returns:
    The trajectory with these alternatives in place of any it had.

  Raises:
    UserError: a state differs from the recorded one; the message names the
      task and the step.
  """
  _arrive(env, task, trajectory, 0)
  steps = []
  for index, step in enumerate(trajectory.steps):
    found = []
    for action, proposer in proposals[index]:
      twin = env.clone()
      turn = (env if twin is None else twin).step(action)
      if twin is None:
        _arrive(env, task, trajectory, index)
      found.append(
        Alternative(action, turn.observation, turn.done, turn.valid, proposer)
      )
    steps.append(dataclasses.replace(step, alternatives=tuple(found)))
    _advance(env, trajectory, index)
  return dataclasses.replace(trajectory, steps=tuple(steps))


def _arrive(env, task, trajectory, index):
  """Resets and replays up to the state before step `index`, proving each."""
  turn = env.reset(task)
  _prove(trajectory, 0, 'instruction', trajectory.instruction, env.instruction)
  _prove_state(env, turn, trajectory, 0)
  for before in range(index):
    _advance(env, trajectory, before)


def _advance(env, trajectory, index):
  """Takes the expert's action and proves the state that it leads to."""
  turn = env.step(trajectory.steps[index].action)
  _prove_state(env, turn, trajectory, index + 1)


def _prove_state(env, turn: Turn, trajectory, index):
  if index < len(trajectory.steps):
    step = trajectory.steps[index]
    _prove(trajectory, index, 'observation', step.observation, turn.observation)
    _prove(
      trajectory, index, 'admissible list', step.admissible, env.admissible()
    )
  else:
    end = (trajectory.final_observation, trajectory.success, trajectory.score)
    now = (turn.observation, turn.success, turn.score)
    _prove(trajectory, index, 'outcome', end, now)


def _prove(trajectory, index, what, recorded, found):
  if recorded != found:
    raise UserError(
      f'task {trajectory.task_id} step {index}: the {what} is not the'
      f' recorded one: {_difference(recorded, found)}'
    )


def _difference(recorded, found):
  """The first place where two values part, short enough for one line."""
  a, b = repr(recorded), repr(found)
  pairs = enumerate(itertools.zip_longest(a, b))
  at = max(0, next(i for i, (x, y) in pairs if x != y) - 20)
  return f'recorded ...{a[at : at + 60]}, found ...{b[at : at + 60]}'


def _settings(config, source):
  """All that the branches depend on."""
  explore = config.explore.to_dict()
  del explore['openai']
  if explore['proposers'].get('openai'):
    explore['openai'] = identity(config.explore.openai)
    explore['answer_format'] = config.prepare.answer_format
  return {
    'seed': config.seed,
    'explore': explore,
    'collected': files.read_json(source / stage.SETTINGS),
  }


def _explore(env, named, k, source, folder):
  trajectories = list(records.read(source))
  tasks = {
    task.id: task
    for split in {t.split for t in trajectories}
    for task in env.tasks(split)
  }
  with (
    files.JsonlWriter(folder, records.STEM) as writer,
    files.JsonlWriter(folder, UNANSWERED) as aside,
  ):
    done = {v['task_id'] for _, v in files.read_jsonl(folder, records.STEM)}
    progress = Progress('explore', len(trajectories), 'trajectories', len(done))
    for start in range(0, len(trajectories), GROUP):
      group = trajectories[start : start + GROUP]
      if done.issuperset(t.task_id for t in group):
        continue
      proposals = iter(_proposals(env, group, named, k))
      for trajectory in group:
        own = list(itertools.islice(proposals, len(trajectory.steps)))
        if trajectory.task_id in done:
          continue
        task = _task(env, tasks, trajectory)
        explored = branch(env, task, trajectory, own)
        if 'openai' in named:
          count = named['openai'][0].unanswered[trajectory.task_id]
          aside.write({'task_id': trajectory.task_id, 'requests': count})
        writer.write(records.to_json(explored))
        progress.update()
    progress.close()


def _proposals(env, group, named, k):
  contexts = [context for t in group for context in proposers.contexts_of(t)]
  experts = [step.action for t in group for step in t.steps]
  return proposers.alternatives(contexts, experts, named, k, env.canonical)


def _task(env, tasks, trajectory):
  if trajectory.environment != env.name:
    raise UserError(
      f'task {trajectory.task_id} is of environment'
      f' {trajectory.environment}, and config.env.name is {env.name}'
    )
  if trajectory.task_id not in tasks:
    raise UserError(
      f'environment {env.name} has no task {trajectory.task_id} in split'
      f' {trajectory.split}'
    )
  return tasks[trajectory.task_id]


def _proposer(name, config, workdir):
  if name == 'uniform':
    return proposers.Uniform(config.seed)
  if name == 'exhaustive':
    return proposers.Exhaustive()
  if name == 'openai':
    return proposers.Served(
      Endpoint(config.explore.openai, 'config.explore.openai'),
      find_format(config.prepare.answer_format),
      config.explore.openai.system,
    )
  return proposers.Policy(
    _agent(config, workdir), config.explore.temperature, config.seed
  )


def _agent(config, workdir):
  """The agent of `config.explore.policy`, a training folder."""
  if not config.explore.policy:
    raise UserError(
      'config.explore.policy is empty: name the training (train/NAME below'
      ' --workdir, or the path of another) whose policy proposes'
    )
  from early_experience.evaluation import agent  # JAX, which others do without

  path = pathlib.Path(workdir, config.explore.policy)
  decoding = agent.Decoding(
    seed=config.seed, max_action_tokens=config.evaluate.max_action_tokens
  )
  return agent.load(
    config,
    str(path.parent.parent),
    'trained',
    path.name,
    decoding,
    config.evaluate.batch_tasks,
  )


def _summary(folder):
  """Counts what is on disk, so that a continued run counts all of it."""
  trajectories = states = branches = invalid = ended = 0
  by_proposer = collections.Counter()
  for _, value in files.read_jsonl(folder, records.STEM):
    trajectories += 1
    for step in value['steps']:
      states += 1
      for found in step['alternatives']:
        branches += 1
        invalid += not found['valid']
        ended += found['done']
        by_proposer[found['proposer']] += 1
  unanswered = {
    v['task_id']: v['requests'] for _, v in files.read_jsonl(folder, UNANSWERED)
  }
  return {
    'trajectories': trajectories,
    'states': states,
    'branches': branches,
    'branches_per_state': branches / states,
    'invalid': invalid,
    'ended': ended,
    'by_proposer': dict(by_proposer),
    'unanswered': sum(unanswered.values()),
  }


if __name__ == '__main__':
  cli.run(explore)
