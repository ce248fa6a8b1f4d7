"""Branching: the same branches whichever way, with as little replay as can be.

Also the operating system as a snapshot.
"""

import dataclasses
import os
import resource
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


def branched(env, rejoin=False, actions=ACTIONS):
  task = env.tasks('train')[2]
  trajectory, _ = collect.run_expert(env, task, 9)
  assert len(trajectory.steps) == 4
  env.asked.update(reset=0, step=0, clone=0)
  proposals = [[(a, 'me') for a in actions] for _ in trajectory.steps]
  explored = branching.branch(env, task, trajectory, proposals, rejoin)
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


class Fragile(Counting):
  """What is open cannot be opened again, and boxes can be broken."""

  def step(self, action):
    if action.startswith('break box'):
      self._open |= {int(action[-1]), -int(action[-1])}
      return Turn('It is broken, and what it held is gone.')
    box = int(action[-1]) if action[-1].isdigit() else 0
    broken = -box in self._open
    if broken or action.startswith('open') and box in self._open:
      self.asked['step'] += 1
      return Turn('Nothing happens.', valid=False)
    return super().step(action)


@pytest.mark.parametrize('way', ['clone', 'fork', 'replay'])
@pytest.mark.parametrize('tells', [True, False])
def test_the_environment_proves_where_the_expert_is_still_right(way, tells):
  # The expert opens boxes 1, 2 and 3, and takes the coin from the last one.
  right = {
    'look': (True, True, True, True),  # changes nothing
    'fly': (True, True, True, True),  # is rejected
    # Then the expert cannot open it any more; or later, when it need not.
    'open box 1': (False, True, True, True),
    'open box 3': (True, True, False, True),
    'break box 2': (True, False, True, True),  # in vain: it is empty
    'break box 3': (False, False, False, False),  # the coin was there
  }
  explored, asked = branched(
    Fragile(way, tells), rejoin=True, actions=tuple(right)
  )
  for at, step in enumerate(explored.steps):
    for other in step.alternatives:
      assert other.rejoins is right[other.action][at], (at, other.action)
  if tells and way == 'clone':
    moved = (4, 4, 3, 2)  # nothing is asked behind what changed nothing
    assert asked['step'] < 4 + 4 * len(right) + sum(moved) * 4


def test_what_ends_the_episode_leads_nowhere():
  explored, _ = branched(
    Counting('clone'), rejoin=True, actions=('take coin from box 3',)
  )
  assert [s.alternatives[0].rejoins for s in explored.steps] == [
    *(True, True, True),  # the box is closed
    False,
  ]


@pytest.mark.parametrize('stops', [False, True])
def test_a_policys_way_proves_something_where_the_expert_would_go_it(stops):
  env = Counting('clone')
  task = env.tasks('train')[2]
  played, _ = collect.run_expert(env, task, 9)
  if stops:  # before it comes to anything
    played = dataclasses.replace(
      played,
      steps=played.steps[:3],
      final_observation=played.steps[3].observation,
      success=False,
      score=0.0,
    )
  advice = [step.action for step in played.steps]
  advice[1] = 'look'
  steps = tuple(
    dataclasses.replace(step, advice=advised)
    for step, advised in zip(played.steps, advice, strict=True)
  )
  played = dataclasses.replace(played, steps=steps)
  proposals = [[('fly', 'me')] for _ in steps]
  explored = branching.branch(env, task, played, proposals, True)
  found = [step.alternatives[0].rejoins for step in explored.steps]
  assert found == ([None] * 3 if stops else [True, None, True, True])


def test_where_nobody_asks_no_step_is_spent_on_it():
  explored, asked = branched(Counting('clone', tells=True))
  assert asked['step'] == 4 + 4 * len(ACTIONS)
  found = {a.rejoins for step in explored.steps for a in step.alternatives}
  assert found == {None}


def step(env, action):
  return env.step(action)


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
    fork.peek(
      Forked(act), 'go', step, 0.5 if reason == 'hang' else waiting.SECONDS
    )
  assert caught.value.reason == reason


def test_a_fork_tells_large_answers_whole_and_keeps_the_guard():
  text = 'a "line"\n' * 50_000
  env = Forked(lambda _: Turn(text, valid=False))
  assert fork.peek(env, 'go', step) == Turn(text, valid=False)
  with pytest.raises(Misbehaves, match='450,000 characters') as caught:
    fork.peek(Guarded(env, 100_000), 'go', step)
  assert caught.value.reason == 'observation too long'


def test_a_fork_may_come_late_in_a_process_of_many_files():
  soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
  most = 2048 if hard == resource.RLIM_INFINITY else min(2048, hard)
  resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
  held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
  try:
    told = fork.peek(Forked(lambda _: Turn('a room')), 'go', step)
  finally:
    for number in held:
      os.close(number)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
  assert told == Turn('a room')
