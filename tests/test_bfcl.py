"""BFCL multi-turn: the gold calls, the official checks, branches, bad calls."""

import json
import os
import random
import subprocess
import sys

import pytest

from configs import bfcl as bfcl_card
from early_experience.collect import run_expert
from early_experience.envs import registry
from early_experience.envs.bfcl import episode
from early_experience.envs.bfcl.environment import Bfcl
from early_experience.runtime.errors import UserError

pytest.importorskip('bfcl_eval')

EVERYTHING = Bfcl(train_tasks=0)  # nothing is left out of the other splits


def start(task_id):
  """An environment in which the task was started, and its first turn."""
  env = Bfcl(train_tasks=0)
  category = task_id.removeprefix('multi_turn_').rsplit('_', 1)[0]
  split = {'base': 'seen'}.get(category, category)
  task = next(t for t in env.tasks(split) if t.id == task_id)
  return env, env.reset(task)


@pytest.mark.parametrize('split', Bfcl.splits[1:])
def test_the_gold_calls_of_all_tasks_succeed(split):
  tasks = EVERYTHING.tasks(split)
  assert len(tasks) == 200
  failed = {
    task.id: failure
    for task in tasks
    if (failure := run_expert(EVERYTHING, task, max_steps=30)[1])
  }
  assert not failed


def test_spoiled_episodes_are_judged_as_by_the_official_checker():
  rng, verdicts = random.Random(0), []
  for split in EVERYTHING.splits[1:]:
    entries = episode.entries({'seen': 'base'}.get(split, split))
    others = [c for e in entries for turn in e['ground_truth'] for c in turn]
    for task in rng.sample(EVERYTHING.tasks(split), 25):
      entry = entries[int(task.id.rsplit('_', 1)[1])]
      plan = spoiled(entry['ground_truth'], others, rng)
      turn = EVERYTHING.reset(task)
      for requested in plan:
        if requested:
          EVERYTHING.step(f'[{", ".join(requested)}]')
        turn = EVERYTHING.step('That is all I could do.')
      assert turn.done
      assert turn.success == officially_valid(plan, entry), (task.id, plan)
      verdicts.append(turn.success)
  assert 20 < sum(verdicts) < 80  # both are common


def spoiled(gold, others, rng):
  """Gold calls with one left out, made too early, or with strange ones."""
  plan = [list(turn) for turn in gold]
  kind, turn = rng.choice(['omit', 'early', '']), rng.randrange(len(plan))
  if kind == 'omit' and plan[turn]:
    plan[turn].pop(rng.randrange(len(plan[turn])))
  if kind == 'early' and turn:
    plan[turn - 1] += plan[turn]
    plan[turn] = []
  if rng.random() < 0.5:
    plan[turn].insert(rng.randint(0, len(plan[turn])), rng.choice(others))
  return plan


def officially_valid(plan, entry):
  from bfcl_eval.eval_checker.multi_turn_eval import (
    multi_turn_checker,
    multi_turn_utils,
  )

  before = set(vars(multi_turn_utils))
  steps = [[[call] for call in turn] for turn in plan]
  verdict = multi_turn_checker.multi_turn_checker(
    steps, entry['ground_truth'], entry, '', 'spoiled'
  )
  for name in set(vars(multi_turn_utils)) - before:
    delattr(multi_turn_utils, name)  # it keeps its simulators there
  return verdict['valid']


def test_a_branch_is_a_replay_and_leaves_the_trunk_alone():
  rng = random.Random(1)
  for split in EVERYTHING.splits[1:]:
    entries = episode.entries({'seen': 'base'}.get(split, split))
    others = [c for e in entries for turn in e['ground_truth'] for c in turn]
    for task in rng.sample(EVERYTHING.tasks(split), 5):
      recorded, _ = run_expert(EVERYTHING, task, max_steps=30)
      EVERYTHING.reset(task)
      past = []
      for index, step in enumerate(recorded.steps):
        action = rng.choice(others)
        branch = EVERYTHING.clone().step(action)
        replayed = Bfcl(train_tasks=0)
        replayed.reset(task)
        for before in past:
          replayed.step(before)
        assert branch == replayed.step(action)
        past.append(step.action)
        turn = EVERYTHING.step(step.action)
        assert turn.observation == recorded.outcome(index)
      assert turn.success


def test_what_a_branch_saw_the_trunk_did_not_see():
  env, turn = start('multi_turn_base_1')
  first, *rest = env.expert(turn)
  assert env.clone().step(first).valid
  for action in ('pwd()', *rest):
    turn = env.step(action)
  assert turn.done and not turn.success


def test_an_episode_leaves_nothing_to_the_next():
  """Some scenarios hold records of the simulator's module."""
  entry = next(
    entry
    for entry in episode.entries('long_context')
    if 'TravelAPI' in entry['involved_classes']
  )
  config = entry['initial_config']['TravelAPI']
  token, seen = repr(config['access_token']), []
  for _ in range(2):
    env, _ = start(entry['id'])
    cards = json.loads(env.step('get_all_credit_cards()').observation)
    cards = cards['credit_card_list']
    card = max(cards, key=lambda card: cards[card]['balance'])
    assert card not in config['credit_card_list']
    flight = '"2024-11-15", "SFO", "LAX", "economy"'
    env.step(f'set_budget_limit({token}, 1.0)')
    assert env.step(f'book_flight({token}, "{card}", {flight})').valid
    seen.append(cards)
  assert seen[0] == seen[1]


def test_training_sees_no_scene_of_another_split():
  env = Bfcl()
  assert [len(env.tasks(split)) for split in env.splits] == [125] + [75] * 4
  number = lambda task: task.id.rsplit('_', 1)[1]
  trained = set(map(number, env.tasks('train')))
  for split in env.splits[1:]:
    assert trained.isdisjoint(map(number, env.tasks(split)))
  assert env.tasks('train') == Bfcl().tasks('train')
  assert env.tasks('train') != Bfcl(seed=1).tasks('train')


def test_a_missing_function_is_told_in_its_turn():
  env, turn = start('multi_turn_miss_func_0')
  assert '"name": "grep"' in env.instruction
  assert '"name": "sort"' not in env.instruction  # missing until turn 3
  assert '"name": "cp"' not in env.instruction  # excluded altogether
  for told in (False, False, True):
    turn = env.step('I cannot do that.')
    assert ('"name": "sort"' in turn.observation) == told


def test_an_agent_that_never_ends_its_turn_fails():
  env, turn = start('multi_turn_base_0')
  steps = 0
  while not turn.done:
    turn, steps = env.step('pwd()'), steps + 1
  assert steps == 21 and not turn.success


def test_what_happens_does_not_depend_on_the_process():
  """Some simulators join sets of strings, or ask what day it is."""
  script = """if True:
    from tests.test_bfcl import start
    env, turn = start('multi_turn_base_152')
    trace = [turn.observation, env.instruction]
    for action in (
      "ticket_login('a', 'b')",
      "create_ticket('a')",
      "edit_ticket(1, {'c': 1, 'b': 2, 'a': 3})",
      "verify_traveler_information('Michael', 'Thompson', '2007-06-01', 'US1')",
    ):
      trace.append(env.step(action).observation)
    for action in env.expert(turn):
      trace.append(env.step(action).observation)
    print(trace)
  """
  traces = {
    subprocess.run(
      [sys.executable, '-c', script],
      env={**os.environ, 'PYTHONHASHSEED': seed},
      capture_output=True,
      check=True,
    ).stdout
    for seed in ('1', '2')
  }
  assert len(traces) == 1
  trace = traces.pop()
  assert b'Invalid fields for update: a, b, c' in trace
  assert b'must be at least 18' in trace  # in 2024, when the tasks play


def test_bad_arguments_are_named():
  with pytest.raises(UserError, match='env.kwargs.train_tasks is 201'):
    Bfcl(train_tasks=201)
  with pytest.raises(
    UserError, match="no split 'test'; there are: train, seen"
  ):
    EVERYTHING.tasks('test')


def test_its_card_has_the_numbers_of_the_paper():
  config = bfcl_card.get_config()
  env = registry.make(config.env)
  decisions = sum(
    len(run_expert(env, task, config.collect.max_steps)[0].steps)
    for task in env.tasks('train')
  )
  assert config.collect.trajectories == len(env.tasks('train')) == 125
  assert config.budget.steps == 2 * decisions // 16
  assert set(config.evaluate.splits) < set(env.splits)
  assert (config.explore.k, config.budget.lr_peak) == (10, 1e-5)
