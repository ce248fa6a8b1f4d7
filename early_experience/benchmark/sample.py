"""A few expert trajectories of an environment, with alternatives to try."""

import argparse
import contextlib
import dataclasses
import functools
import json
import pathlib
import random

from ml_collections import ConfigDict

from early_experience.collect import play_in_own
from early_experience.config import default
from early_experience.envs import apart, registry
from early_experience.envs.interface import Environment
from early_experience.experience import records
from early_experience.experience.records import Trajectory
from early_experience.exploration import branching
from early_experience.runtime import commands, files, stage
from early_experience.runtime.errors import UserError
from early_experience.work import workers
from early_experience.work.units import Failure

# What environments are made with where they cannot be made without.
KWARGS = {
  'searchqa': {'data': 'fixture'},
  'travelplanner': {'data': 'fixture'},
  'webshop': {'data': 'fixture'},
}


@dataclasses.dataclass(frozen=True)
class Sample:
  """What is branched from.

  Attributes:
    config: names the environment.
    kind: its class.
    source: of its tasks.
    units: arguments of `branching.branch`, one for each trajectory.
  """

  config: ConfigDict
  kind: type[Environment]
  source: str
  units: list[tuple]


def parser(name: str, doc: str, trajectories: int) -> argparse.ArgumentParser:
  """The flags of a benchmark that measures samples.

  Args:
    name: of the benchmark.
    doc: of its module.
    trajectories: of each environment, where none are given.
  """
  made = commands.parser(f'benchmark {name}', doc)
  made.add_argument('--env', action='append', help='default: every one here')
  made.add_argument('--trajectories', type=int, default=trajectories)
  made.add_argument('--k', type=int, default=4, help='alternatives a state')
  made.add_argument('--seed', type=int, default=0)
  made.add_argument(
    '--seconds', type=float, default=5.0, help='of each measurement, at least'
  )
  return made


def settings(name: str, trajectories: int) -> ConfigDict:
  """The config of an environment's sample.

  Raises:
    UserError: it is unknown or not installed.
  """
  config = default()
  config.env.name = name
  config.env.kwargs.update(KWARGS.get(name, {}))
  config.collect.trajectories = trajectories
  config.collect.max_steps = 100
  config.cluster.update(unit_timeout_seconds=600.0, tries=1)
  kind = registry.kind_of(name)
  if registry.missing(kind):
    raise UserError(f'not installed; run: {kind.install}')
  if not kind.expert_name:
    raise UserError('no expert')
  return config


def take(config: ConfigDict, k: int, seed: int) -> Sample:
  """Lets the expert play, and draws k alternatives for each state.

  Tasks are spread evenly over the training split. Alternatives are drawn from
  the admissible actions; where none are listed, from what the expert does
  elsewhere: in the same episode, else in others.

  Args:
    config: of `settings`.
    k: alternatives a state.
    seed: of the draw.

  Raises:
    UserError: a number is not positive, or the expert had no success.
  """
  wanted = config.collect.trajectories
  if min(wanted, k) < 1:
    raise UserError(f'--trajectories={wanted} --k={k}: not 1 or more')
  kind = registry.kind_of(config.env.name)
  with contextlib.closing(apart.Apart(config)) as env:
    tasks, source = env.call(_first_split), env.source
  # More than are wanted, for some fail.
  spread = min(len(tasks), 4 * wanted)
  chosen = [tasks[i * len(tasks) // spread] for i in range(spread)]
  chosen = [task for shift in range(4) for task in chosen[shift::4]]
  play = functools.partial(
    play_in_own, config.env.to_json(), config.collect.max_steps
  )
  played, why = [], 'no tasks'
  with contextlib.closing(
    workers.run(play, chosen, config.cluster, wanted)
  ) as results:
    for task, result in results:
      if isinstance(result, Failure):
        why = f'{result.reason}: {result.error}'
      elif result[1] is not None:
        why = result[1]
      else:
        played.append((task, records.from_json(_listed(result[0]), task.id)))
      if len(played) == wanted:
        break
  if not played:
    raise UserError(f'the expert had no success; the last one: {why}')
  elsewhere = sorted({step.action for _, t in played for step in t.steps})
  units = [(task, t, _proposals(t, elsewhere, k, seed)) for task, t in played]
  return Sample(config, kind, source, units)


def explore(sample: Sample, k: int, workdir: pathlib.Path) -> dict[str, int]:
  """Writes the sample with the outcomes of its alternatives, as `explore` does.

  Returns:
    Its states, branches, and how many of these were invalid.

  Raises:
    UserError: a trajectory failed.
  """
  branch = functools.partial(
    branching.branch_in_own, sample.config.env.to_json()
  )
  counts = {'states': 0, 'branches': 0, 'invalid': 0}
  folder = stage.begin(workdir, 'explore', {'k': k})
  units = len(sample.units)
  with (
    files.JsonlWriter(folder, records.STEM) as writer,
    contextlib.closing(
      workers.run(branch, sample.units, sample.config.cluster, units)
    ) as results,
  ):
    for _, record in results:
      if isinstance(record, Failure):
        raise UserError(f'{record.reason}: {record.error}')
      writer.write(record)
      for step in record['steps']:
        counts['states'] += 1
        counts['branches'] += len(step['alternatives'])
        counts['invalid'] += sum(not a['valid'] for a in step['alternatives'])
  stage.finish(folder, {})
  return counts


def _first_split(env):
  return env.tasks(env.splits[0])


def _listed(record):
  """The record as a file would give it back, with lists for tuples."""
  return json.loads(json.dumps(record))


def _proposals(trajectory: Trajectory, elsewhere, k, seed):
  own = sorted({step.action for step in trajectory.steps})
  proposals = []
  for index, step in enumerate(trajectory.steps):
    rng = random.Random(f'{seed}/{trajectory.task_id}/{index}')
    pools = [own, elsewhere] if step.admissible is None else [step.admissible]
    actions = [a for pool in pools for a in rng.sample(pool, len(pool))]
    chosen = list(dict.fromkeys(a for a in actions if a != step.action))[:k]
    proposals.append([(action, 'uniform') for action in chosen])
  return proposals
