"""How fast ALFWorld games are played, copied and made, and how the expert does.

python -m early_experience.benchmark engine --games=300
"""

import collections
import random
import sys
import time

from early_experience.envs.alfworld.environment import AlfWorld
from early_experience.evaluation.statistics import wilson
from early_experience.runtime import commands

_MAX_STEPS = 50  # as in the paper and in config.collect


@commands.one_line
def main() -> None:
  parser = commands.parser('benchmark engine', __doc__)
  parser.add_argument('--games', type=int, default=300, help='of each split')
  parser.add_argument(
    '--seconds', type=float, default=3.0, help='of each timing'
  )
  arguments = parser.parse_args(sys.argv[1:])
  run(arguments.games, arguments.seconds)


def run(games: int, seconds: float) -> None:
  """Prints all figures.

  Args:
    games: played by the expert in each split.
    seconds: how long each speed is measured.
  """
  env = AlfWorld(
    source='generated',
    train_games=games,
    seen_games=games,
    unseen_games=games,
  )
  tasks = env.tasks('train')
  print(f'{env.source}; one core')
  print(f'steps with admissible list: {_steps(env, tasks, seconds):,.0f} /s')
  print(f'clone: {_clone(env, tasks[0], seconds):.2f} microseconds')
  print(f'games made and started: {_games(env, tasks, seconds):,.0f} /s')
  for split in env.splits:
    _expert(env, split)


def _steps(env, tasks, seconds):
  """Random steps a second, the list of possible actions read at each."""
  rng, steps, spent = random.Random(0), 0, 0.0
  while spent < seconds:
    env.reset(rng.choice(tasks))
    start = time.perf_counter()
    for _ in range(_MAX_STEPS):
      steps += 1
      if env.step(rng.choice(env.admissible())).done:
        break
    spent += time.perf_counter() - start
  return steps / spent


def _clone(env, task, seconds):
  env.reset(task)
  count, start = 0, time.perf_counter()
  while time.perf_counter() - start < seconds:
    for _ in range(1000):
      env.clone()
    count += 1000
  return (time.perf_counter() - start) / count * 1e6


def _games(env, tasks, seconds):
  count, start = 0, time.perf_counter()
  while time.perf_counter() - start < seconds:
    env.reset(tasks[count % len(tasks)])
    count += 1
  return count / (time.perf_counter() - start)


def _expert(env, split):
  """Prints the expert's successes in a split, in all and by task type."""
  results = collections.defaultdict(list)  # task type -> success of each game
  lengths, steps, rejected = [], 0, 0
  for task in env.tasks(split):
    turns = _play(env, task)
    results[task.type].append(turns[-1].success)
    steps += len(turns)
    rejected += sum(not turn.valid for turn in turns)
    if turns[-1].success:
      lengths.append(len(turns))
  everything = [success for group in results.values() for success in group]
  print(
    f'expert, {split}: {_rate(everything)} within {_MAX_STEPS} steps,'
    f' mean length {sum(lengths) / len(lengths):.1f},'
    f' rejected actions {rejected} of {steps}'
  )
  for task_type, group in sorted(results.items()):
    print(f'  {task_type}: {_rate(group)}')


def _play(env, task):
  """The turns of one expert episode."""
  turn = env.reset(task)
  expert = env.expert(turn)
  action, turns = next(expert), []
  while len(turns) < _MAX_STEPS:
    turns.append(env.step(action))
    try:
      action = expert.send(turns[-1])
    except StopIteration:
      break
  return turns


def _rate(successes):
  interval = wilson(sum(successes), len(successes))
  return (
    f'{sum(successes)}/{len(successes)} = {interval.rate:.3f}'
    f' [{interval.low:.3f}, {interval.high:.3f}]'
  )


if __name__ == '__main__':
  main()
