"""Explores: tries alternatives at every expert state, in the environment.

Branches are one step deep (arXiv 2510.08558, equation 2). No branch is taken
from a state that is not proven to be the recorded one.
"""

import collections
import contextlib
import functools
import pathlib

from ml_collections import ConfigDict

from early_experience.config import absent, checked, reads
from early_experience.envs import apart, own
from early_experience.envs.guard import Guarded
from early_experience.envs.interface import Environment
from early_experience.experience import records
from early_experience.exploration import branching, proposals, proposers
from early_experience.exploration.named import named_proposer
from early_experience.language import accounting
from early_experience.language.model import identity
from early_experience.runtime import cli, files, stage
from early_experience.runtime.errors import UserError
from early_experience.runtime.progress import Progress
from early_experience.work import set_aside, workers

# Beside the trajectories: what language models answered about each. Where one
# was stopped and explored again, its newer line counts.
ANSWERS = 'answers'


@checked
def explore(config: ConfigDict, workdir: str) -> dict:
  """Adds alternatives to the collected trajectories; writes WORKDIR/explore.

  Raises:
    UserError: as `explore_in`.
  """
  with contextlib.closing(apart.Apart(config)) as env:
    branch = functools.partial(
      branch_in_own, config.env.to_json(), config.explore.rejoin
    )
    return _explore(
      env, config, workdir, lambda *args: workers.run(branch, *args)
    )


@checked
def explore_in(env: Environment, config: ConfigDict, workdir: str) -> dict:
  """Likewise in a given environment and in this process.

  A trajectory that the environment no longer repeats, or on which it
  misbehaves, is set aside.

  Raises:
    UserError: `collect` is not done, a setting is wrong, a task is unknown, or
      no trajectory can be explored; the message has task and step.
  """
  guarded = Guarded(env, config.env.max_observation_chars)
  branch = functools.partial(_branch, guarded, config.explore.rejoin)
  return _explore(
    env,
    config,
    workdir,
    lambda units, cluster, _: workers.run_here(branch, units, cluster.tries),
  )


def branch_in_own(
  settings: str, rejoin: bool, unit: tuple
) -> tuple[dict, dict | None]:
  """As `branching.branch_in_own`; with the record, `Environment.answers`."""
  with own.environment(settings) as env:
    return _branch(env, rejoin, unit)


def _branch(env, rejoin, unit):
  return branching.branch_in(env, unit, rejoin), env.answers()


def _explore(env, config, workdir, run):
  shares = proposers.check_shares(config.explore.proposers.to_dict())
  source = stage.require(workdir, 'collect')
  named, agent = None, functools.partial(_agent, config, workdir)
  if stage.finished(pathlib.Path(workdir) / 'explore') is None:
    named = {  # before anything is written: a policy may be missing
      name: (named_proposer(name, config, workdir, agent), share)
      for name, share in shares.items()
    }
    trajectories = list(records.read(source))
    tasks = _tasks(env, trajectories)
    proposers.check_admissible(shares, trajectories)
    if 'openai' in named:
      _announce(named, env, config, trajectories, workdir)
  folder = stage.begin(
    workdir,
    'explore',
    _settings(config, source),
    absent=absent('explore', config),
  )
  if named:
    if 'openai' in named:
      model = named['openai'][0].model
      before = accounting.heard(folder, ANSWERS)
      model.bill = accounting.Bill(folder, model.prices, before)
    _write(env, named, config, trajectories, tasks, folder, run)
    stage.finish(folder, _summary(folder))
  summary = stage.finished(folder)
  print(
    f'explore: {summary["branches"]} branches at {summary["states"]} states'
    f' of {summary["trajectories"]} trajectories, {summary["invalid"]} invalid'
    f' -> {folder}'
    f'{set_aside.told(folder, summary)}'
  )
  accounting.tell('explore', summary['answers'])
  accounting.tell(
    'explore, its environment', summary.get('environment_answers')
  )
  return summary


def _announce(named, env, config, trajectories, workdir):
  """Says what the language model will be asked; may refuse to."""
  shares = {name: share for name, (_, share) in named.items()}
  limit = proposers.limits(shares, config.explore.k)['openai']
  done = _done(pathlib.Path(workdir, 'explore'))
  proposer = named['openai'][0]
  chats = (
    chat
    for trajectory in trajectories
    if trajectory.task_id not in done
    for chat in proposer.chats(proposals.known_in(env, trajectory)[0], limit)
  )
  accounting.announce('explore', proposer.model, chats, cli.confirmed())


def _done(folder):
  return files.written(folder, records.STEM) | set_aside.ids(folder)


def _settings(config, source):
  """All that the branches depend on."""
  settings = reads('explore', config)
  explore = settings['explore']
  explore['policy'] = _policy_place(config.explore.policy, source.parent)
  if 'openai' in explore:
    explore['openai'] = identity(config.explore.openai)
  return settings | {'collected': files.read_json(source / stage.SETTINGS)}


def _policy_place(path, workdir):
  """A training, known by its parameters: they may be moved."""
  if not path:
    return ''
  from early_experience.training import origin  # JAX, which others do without

  return stage.place(path, origin.content(workdir / path))


def _write(env, named, config, trajectories, tasks, folder, run):
  with (
    files.JsonlWriter(folder, records.STEM) as writer,
    files.JsonlWriter(folder, ANSWERS) as aside,
  ):
    done = _done(folder)
    count = len(trajectories) - len(done)
    progress = Progress('explore', len(trajectories), 'trajectories', len(done))
    units = proposals.units(
      env, named, config.explore.k, trajectories, tasks, done
    )
    explored = set_aside.sift(
      run(units, config.cluster, count),
      folder,
      lambda unit: unit[0].id,
      progress.update,
    )
    with contextlib.closing(explored):
      for (task, *_, heard), (record, said) in explored:
        told = {'answers': heard, 'environment_answers': said}
        if told := {key: value for key, value in told.items() if value}:
          aside.write({'task_id': task.id, **told})
        writer.write(record)
        progress.update()
    progress.close()


def _tasks(env, trajectories):
  """The environment's task of each trajectory, by id.

  Raises:
    UserError: it has no such task, or is another environment.
  """
  splits = dict.fromkeys(t.split for t in trajectories)
  tasks = {task.id: task for split in splits for task in env.tasks(split)}
  for trajectory in trajectories:
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
  return tasks


def _agent(config, workdir):
  """The agent of `config.explore.policy`, a training folder."""
  if not config.explore.policy:
    raise UserError(
      'config.explore.policy is empty: name the training (train/NAME below'
      ' --workdir, or the path of another) whose policy proposes'
    )
  # JAX, which others do without.
  from early_experience.evaluation import agent, loading

  path = pathlib.Path(workdir, config.explore.policy)
  decoding = agent.Decoding(
    seed=config.seed, max_action_tokens=config.evaluate.max_action_tokens
  )
  return loading.load_agent(
    config,
    str(path.parent.parent),
    'trained',
    path.name,
    decoding,
    config.evaluate.batch_tasks,
  )


def _summary(folder):
  """Counts what is on disk, so that a continued run counts all of it."""
  trajectories = states = asked = branches = invalid = ended = rejoin = 0
  by_proposer = collections.Counter()
  for _, value in files.read_jsonl(folder, records.STEM):
    trajectories += 1
    for step in value['steps']:
      states += 1
      asked += step.get('advice') is not None
      for found in step['alternatives']:
        branches += 1
        invalid += not found['valid']
        ended += found['done']
        rejoin += bool(found.get('rejoins'))  # older records lack it
        by_proposer[found['proposer']] += 1
  heard = accounting.heard(folder, ANSWERS)
  return {
    'trajectories': trajectories,
    'states': states,
    'asked': asked,
    'branches': branches,
    'branches_per_state': branches / states,
    'invalid': invalid,
    'ended': ended,
    'rejoin': rejoin,
    'by_proposer': dict(by_proposer),
    'answers': accounting.billed(heard, folder),
    'environment_answers': accounting.heard(
      folder, ANSWERS, 'environment_answers'
    ),
    'set_aside': set_aside.by_reason(folder),
  }


if __name__ == '__main__':
  cli.run(explore)
