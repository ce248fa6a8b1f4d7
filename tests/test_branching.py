"""Branching: the same branches whichever way, with as little replay as can be.

Also the operating system as a snapshot.
"""

import os
import signal
import time

import pytest

from early_experience import collect
from early_experience.envs.guard import Guarded, Misbehaves
from early_experience.envs.interface import Turn
from early_experience.exploration import branching, fork
from tests import waiting
from tests.toy_env import ToyEnv

ACTIONS = ('look', 'open box 3', 'fly', 'open box 1', 'look', 'open box 2')


class Counting(ToyEnv):
  """Counts what is asked of it, copies included."""

  def __init__(self, way='replay', tells=False):
    super().__init__(clones=way == 'clone')
    self.branching, self._tells = way, tells
    self.asked = {'reset': 0, 'step': 0, 'clone': 0}

  def reset(self, task):
    self.asked['reset'] += 1
    return super().reset(task)

  def step(self, action):
    self.asked['step'] += 1
    return super().step(action)

  def clone(self):
    twin = super().clone()
    self.asked['clone'] += twin is not None
    return twin

  def fingerprint(self):
    return (self._coin, self._open) if self._tells else None


def branched(env):
  task = env.tasks('train')[2]
  trajectory, _ = collect.run_expert(env, task, 9)
  assert len(trajectory.steps) == 4
  env.asked.update(reset=0, step=0, clone=0)
  proposals = [[(a, 'me') for a in ACTIONS] for _ in trajectory.steps]
  explored = branching.branch(env, task, trajectory, proposals)
  return explored, env.asked


def test_every_way_of_branching_finds_the_same():
  found = [
    branched(Counting(way, tells))[0]
    for way in ('clone', 'fork', 'replay')
    for tells in (False, True)
  ]
  assert all(other == found[0] for other in found)
  outcomes = [a.observation for a in found[0].steps[0].alternatives]
  assert outcomes[1] == 'You open box 3 and there is a coin.'
  assert outcomes[0] == outcomes[4] == 'You see box 1, box 2, box 3.'


def test_a_replay_serves_all_alternatives_that_change_nothing():
  # At step 0 three alternatives open a box; at each later step one more of
  # these boxes is open already.
  _, asked = branched(Counting('replay', tells=True))
  assert asked['reset'] == 1 + (3 + 2 + 1 + 0)
  _, asked = branched(Counting('replay'))
  assert asked['reset'] == 1 + 4 * len(ACTIONS), 'nobody says what changed'


def test_a_copy_serves_all_alternatives_that_change_nothing():
  _, asked = branched(Counting('clone', tells=True))
  assert asked['reset'] == 1 and asked['step'] == 4 + 4 * len(ACTIONS)
  # One for each state, and one after each that moved but was not the last.
  assert asked['clone'] == 4 + (2 + 1 + 1 + 0)


def test_a_fork_costs_one_step_and_none_of_ours():
  _, asked = branched(Counting('fork'))
  assert asked == {'reset': 1, 'step': 4, 'clone': 0}


class Forked:
  """Its steps go wrong in the child alone."""

  def __init__(self, act):
    self.step = act


@pytest.mark.parametrize(
  'act, reason, message',
  [
    (lambda _: time.sleep(60), 'hang', 'no answer of a fork in 0.5 s'),
    (
      lambda _: os.kill(os.getpid(), signal.SIGKILL),
      'crash',
      "'go' ended .* exit code -9",
    ),
    (lambda _: os._exit(3), 'crash', 'exit code 3'),
    (lambda _: 1 / 0, 'error', 'ZeroDivisionError: division by zero'),
  ],
)
def test_a_fork_that_goes_wrong_is_told(act, reason, message):
  with pytest.raises(Misbehaves, match=message) as caught:
    fork.peek(Forked(act), 'go', 0.5 if reason == 'hang' else waiting.SECONDS)
  assert caught.value.reason == reason


def test_a_fork_tells_large_answers_whole_and_keeps_the_guard():
  text = 'a "line"\n' * 50_000
  env = Forked(lambda _: Turn(text, valid=False))
  assert fork.peek(env, 'go') == Turn(text, valid=False)
  with pytest.raises(Misbehaves, match='450,000 characters') as caught:
    fork.peek(Guarded(env, 100_000), 'go')
  assert caught.value.reason == 'observation too long'
