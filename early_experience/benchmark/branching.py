"""Branches a second: ours on all cores against one that resets and replays.

python -m early_experience.benchmark branching [--env=NAME ...]

Both take the same alternatives in the same states of the same trajectories, in
one run. The naive worker resets and replays the whole prefix for each of them,
in random order, and proves nothing. Ours is what `explore` does, proofs
included, once its processes are warm. What both found is compared.
"""

import contextlib
import functools
import itertools
import random
import sys
import time

from early_experience.benchmark import sample as sample_lib
from early_experience.benchmark.sample import Sample
from early_experience.envs import apart, registry
from early_experience.exploration import branching
from early_experience.runtime import commands
from early_experience.runtime.errors import UserError
from early_experience.work import local, workers
from early_experience.work.units import Failure, in_a_line

_HEAD = (
  *('environment', 'branches by', 'episodes', 'steps', 'branches'),
  *('naive/s', 'ours/s', 'ratio', 'equal'),
)


@commands.one_line
def main() -> None:
  parser = sample_lib.parser('branching', __doc__, trajectories=6)
  arguments = parser.parse_args(sys.argv[1:])
  run(**vars(arguments) | {'env': arguments.env or registry.ENVIRONMENTS})


def run(env, trajectories: int, k: int, seed: int, seconds: float) -> list:
  """Prints and returns a line for each environment.

  Args:
    env: names.
    trajectories: of each.
    k: alternatives a state.
    seed: draws them.
    seconds: of each of the two measurements, at least.
  """
  results, processes = [], None
  for name in env:
    try:
      config = sample_lib.settings(name, trajectories)
      processes = local.count(config.cluster)
      sample = sample_lib.take(config, k, seed)
      results.append(_compare(sample, seed, seconds))
    except Exception as error:
      results.append({'environment': name, 'note': in_a_line(error)})
    print(_line(results[-1], first=len(results) == 1), flush=True)
  print(
    f'k={k} seed={seed}; naive: 1 process; ours: {processes} processes;'
    f' at least {seconds:g} s each'
  )
  return results


def _compare(sample: Sample, seed, seconds):
  found, naive_rate = naive(sample, seed, seconds)
  explored, our_rate = ours(sample, seconds)
  same = [
    explored[task, step][action] == turn
    for (task, step, action), turn in found.items()
  ]
  steps = [len(trajectory.steps) for _, trajectory, _ in sample.units]
  return {
    'environment': sample.config.env.name,
    'branching': sample.kind.branching,
    'trajectories': len(steps),
    'mean_steps': sum(steps) / len(steps),
    'branches': sum(map(_count, sample.units)),
    'naive': naive_rate,
    'ours': our_rate,
    'ratio': our_rate / naive_rate,
    'equal': sum(same),
    'compared': len(same),
  }


def naive(sample: Sample, seed: int, seconds: float) -> tuple[dict, float]:
  """Resets and replays for each branch.

  Returns:
    (task, step, action) -> (observation, done, valid); and branches a second.
  """
  todo = [
    (task, trajectory, index, action)
    for task, trajectory, proposals in sample.units
    for index, alternatives in enumerate(proposals)
    for action, _ in alternatives
  ]
  random.Random(seed).shuffle(todo)
  replay = functools.partial(_replay, todo=todo, seconds=seconds)
  with contextlib.closing(apart.Apart(sample.config)) as env:
    return env.call(replay)


def _replay(env, todo, seconds):
  found, count = {}, 0
  env.reset(todo[0][0])  # what is made once is made
  start = time.perf_counter()
  for task, trajectory, index, action in itertools.cycle(todo):
    if time.perf_counter() - start > seconds:
      break
    env.reset(task)
    for step in trajectory.steps[:index]:
      env.step(step.action)
    turn = env.step(action)
    found[task.id, index, action] = (turn.observation, turn.done, turn.valid)
    count += 1
  return found, count / (time.perf_counter() - start)


def ours(sample: Sample, seconds: float) -> tuple[dict, float]:
  """Branches as `explore` does, again and again, on all cores.

  Returns:
    (task, step) -> {action: (observation, done, valid)}; and branches a second
    after every process has had something to do.

  Raises:
    UserError: a trajectory failed.
  """
  branch = functools.partial(
    branching.branch_in_own, sample.config.env.to_json()
  )
  cluster = sample.config.cluster
  processes = local.count(cluster)
  units = itertools.cycle(sample.units)
  found, count, start = {}, 0, None
  with contextlib.closing(
    workers.run(branch, units, cluster, processes)
  ) as results:
    for number, (unit, record) in enumerate(results):
      if isinstance(record, Failure):
        raise UserError(f'{record.reason}: {record.error}')
      if number < len(sample.units):
        found |= _outcomes(record)
      if start is not None:
        count += _count(unit)
        spent = time.perf_counter() - start
        if spent > seconds and number >= len(sample.units):
          return found, count / spent
      elif number >= processes:
        start = time.perf_counter()


def _outcomes(record):
  return {
    (record['task_id'], index): {
      a['action']: (a['observation'], a['done'], a['valid'])
      for a in step['alternatives']
    }
    for index, step in enumerate(record['steps'])
  }


def _count(unit):
  return sum(map(len, unit[2]))


def _line(result, first):
  row = (
    [result['environment'], '-', result['note']]
    if 'note' in result
    else [
      result['environment'],
      result['branching'],
      result['trajectories'],
      f'{result["mean_steps"]:.1f}',
      result['branches'],
      f'{result["naive"]:,.1f}',
      f'{result["ours"]:,.1f}',
      f'{result["ratio"]:.1f}',
      f'{result["equal"]}/{result["compared"]}',
    ]
  )
  widths = (18, 12, 9, 7, 9, 10, 10, 7, 9)
  lines = [_HEAD, row] if first else [row]
  return '\n'.join(
    ''.join(
      str(cell).ljust(width) if at < 2 else str(cell).rjust(width)
      for at, (cell, width) in enumerate(zip(line, widths, strict=False))
    )
    for line in lines
  )


if __name__ == '__main__':
  main()
