"""tau2: gold calls, the official score, branches of databases, users."""

import copy
import hashlib
import os
import random
import subprocess
import sys

import pytest

from configs import tau2 as tau2_card
from early_experience.collect import run_expert
from early_experience.envs import registry
from early_experience.envs.tau2 import domain as domains
from early_experience.envs.tau2.environment import DOMAINS, Tau2, read, write
from early_experience.runtime.errors import UserError
from tests.fake_endpoint import FakeEndpoint

pytest.importorskip('tau2')

READ = write('get_order_details', {'order_id': '#W2378156'})
BYE = 'That is all.'


def start(**kwargs):
  """An environment in which the first task was started, and its first turn."""
  env = Tau2(**kwargs)
  return env, env.reset(env.tasks('train')[0])


def gold_calls(name):
  """All gold calls of a domain, as actions."""
  return [
    write(call.name, call.arguments)
    for task in domains.load(name).tasks.values()
    for call in task.evaluation_criteria.actions or ()
  ]


@pytest.mark.parametrize('name', DOMAINS)
def test_the_gold_calls_of_all_tasks_succeed(name):
  env = Tau2(domain=name)
  tasks = [*env.tasks('train'), *env.tasks('test')]
  failed = {
    task.id: failure
    for task in tasks
    if (failure := run_expert(env, task, max_steps=30)[1])
  }
  assert len(tasks) == {'retail': 114, 'airline': 50}[name]
  assert not failed


@pytest.mark.parametrize('name, count', [('retail', 2), ('airline', 1)])
def test_spoiled_episodes_are_judged_by_the_official_measure(name, count):
  env, rng = Tau2(domain=name), random.Random(1)
  domain, strange = domains.load(name), gold_calls(name)
  writing = [t for t in env.tasks('train') if t.type != 'no_change']
  for task in rng.sample(writing, count):
    gold = gold_of(env, task)
    told = domain.tasks[task.id.split('-')[1]].evaluation_criteria
    writes = [call for call in gold if domain.writes(read(call)[0])]
    reads = [call for call in gold if call not in writes]
    hashes = []
    for actions in (gold, writes, reads, [*gold, *rng.sample(strange, 9)]):
      env.reset(task)
      for action in actions:
        env.step(action)
      hashes.append(official_hash(domain, actions))
      turn = env.step(' '.join(told.communicate_info or [BYE]))
      assert turn.success == (hashes[-1] == hashes[0])
    assert hashes[0] == hashes[1] != hashes[2]


def gold_of(env, task):
  name, number = task.id.split('-')
  calls = domains.load(name).tasks[number].evaluation_criteria.actions
  return [write(call.name, call.arguments) for call in calls]


def official_hash(domain, actions):
  """Of a whole database of its own."""
  world, message = (
    copy.deepcopy(domain.world),
    domains.part('data_model.message'),
  )
  for name, arguments in map(read, actions):
    world.get_response(message.ToolCall(name=name, arguments=arguments))
  return world.get_db_hash()


@pytest.mark.parametrize('name', DOMAINS)
def test_a_branch_is_a_replay_and_leaves_the_trunk_alone(name):
  env, rng = Tau2(domain=name), random.Random(0)
  before = domains.load(name).world.get_db_hash()
  strange, changed = gold_calls(name), 0
  for task in rng.sample(env.tasks('train'), 10):
    recorded, _ = run_expert(env, task, max_steps=30)
    env.reset(task)
    past = []
    for index, step in enumerate(recorded.steps):
      here = env.fingerprint()
      others = [step.action, *rng.sample(strange, 3)]
      for action in others:
        branch, replayed = env.clone(), Tau2(domain=name)
        found = branch.step(action)
        replayed.reset(task)
        for earlier in past:
          replayed.step(earlier)
        assert found == replayed.step(action)
        assert branch.fingerprint() == replayed.fingerprint()
        assert env.fingerprint() == here
        changed += branch.fingerprint() != here
      past.append(step.action)
      aside = env.clone()
      turn = env.step(step.action)
      assert turn.observation == recorded.outcome(index)
      assert aside.fingerprint() == here
      assert aside.step(step.action) == turn
    assert turn.success
  assert changed > 10
  assert domains.load(name).world.get_db_hash() == before


def trace():
  """Of the gold calls of all training tasks, as text."""
  env, found = Tau2(), []
  for task in env.tasks('train'):
    env.reset(task)
    found.append(env.instruction)
    found += [env.step(call).observation for call in gold_of(env, task)]
    found.append(env.fingerprint())
  return hashlib.sha256(repr(found).encode()).hexdigest()


def test_what_happens_does_not_depend_on_the_process():
  command = 'from tests.test_tau2 import trace; print(trace())'
  other = subprocess.run(
    [sys.executable, '-c', command],
    env={**os.environ, 'PYTHONHASHSEED': '1'},
    capture_output=True,
    check=True,
    text=True,
  ).stdout
  assert other.split() == [trace()]


def test_a_fingerprint_changes_with_the_state_alone():
  env, _ = start()
  fresh = env.fingerprint()
  env.step(READ)
  assert env.fingerprint() == fresh
  twin = env.clone()
  twin.step(BYE)
  assert twin.fingerprint() != fresh
  *_, write_call = gold_of(env, env.tasks('train')[0])
  assert env.step(write_call).valid
  changed = env.fingerprint()
  assert changed != fresh
  assert not env.step(write_call).valid  # once only
  assert env.fingerprint() == changed


def test_success_takes_the_words_that_the_task_wants_told():
  env = Tau2()
  domain = domains.load('retail')
  asked = next(
    task
    for task in env.tasks('train')
    if domain.tasks[task.id.split('-')[1]].evaluation_criteria.communicate_info
  )
  told, _ = run_expert(env, asked, max_steps=30)
  *actions, answer = [step.action for step in told.steps]
  for text, success in ((answer, True), (BYE, False)):
    env.reset(asked)
    for action in actions:
      env.step(action)
    turn = env.step(text)
    assert turn.done and turn.success == success


def test_splits_are_official_and_the_other_domain_is_another():
  env = Tau2()
  assert [len(env.tasks(split)) for split in env.splits] == [74, 40, 50]
  names = [{t.id.split('-')[0] for t in env.tasks(s)} for s in env.splits]
  assert names == [{'retail'}, {'retail'}, {'airline'}]
  first = env.reset(env.tasks('other_domain')[0])
  assert 'Airline Agent Policy' in env.instruction
  assert '"name": "book_reservation"' in env.instruction
  assert 'You are Emma Kim.' in first.observation


def test_the_measure_is_the_one_that_all_tasks_name():
  for name in DOMAINS:
    for task in domains.load(name).tasks.values():
      assert {b.value for b in task.evaluation_criteria.reward_basis} == {
        'DB',
        'COMMUNICATE',
      }
      assert task.initial_state is None


def test_a_scripted_user_tells_all_and_ends_the_conversation():
  env, turn = start()
  assert 'You are Yusuf Rossi in zip code 19122.' in turn.observation
  assert 'does not answer' in env.instruction
  turn = env.step('How can I help you?')
  assert turn.done and turn.observation == '###STOP###' and not turn.success


def test_a_model_plays_the_user_until_it_has_what_it_wants(tmp_path):
  def answer(prompt, _):
    assert 'You are Yusuf Rossi' in prompt
    if 'exchanged' in prompt.splitlines()[-1]:
      return 'Thank you. ###STOP###'
    return 'I want to exchange my keyboard.'

  with FakeEndpoint(answer) as endpoint:
    model = {
      'base_url': endpoint.url,
      'model': 'customer',
      'cache': str(tmp_path / 'said.db'),
    }
    traces, said = [], []
    for _ in range(2):
      env, turn = start(user='model', user_model=model)
      trace = [turn]
      for action in (
        *gold_of(env, env.tasks('train')[0]),
        'Which?',
        'It was exchanged.',
      ):
        trace.append(env.step(action))
      traces.append(trace)
      said.append(env.answers())
    assert traces[0] == traces[1]
    assert len(endpoint.requests) == 3  # an episode played again costs nothing
    assert [(s['requests'], s['cached']) for s in said] == [(3, 0), (3, 3)]
  assert 'does not answer' not in env.instruction
  assert traces[0][0].observation == 'I want to exchange my keyboard.'
  assert not traces[0][-2].done
  assert traces[0][-1].done and traces[0][-1].success
  roles = [m['role'] for m in endpoint.requests[-1][2]['messages']]
  assert roles == ['system', 'user', 'assistant', 'user', 'assistant', 'user']


def test_bad_arguments_are_named():
  for kwargs, says in (
    ({'domain': 'telecom'}, 'env.kwargs.domain'),
    ({'user': 'human'}, 'env.kwargs.user'),
    ({'user': 'model'}, 'env.kwargs.user_model'),
    ({'user': 'model', 'user_model': {'modle': 'm'}}, 'modle'),
  ):
    with pytest.raises(UserError, match=says):
      Tau2(**kwargs)
  with pytest.raises(UserError, match="no split 'dev'; there are: train, test"):
    Tau2().tasks('dev')


def test_its_card_has_the_numbers_of_the_paper():
  config = tau2_card.get_config()
  env = registry.make(config.env)
  decisions = sum(
    len(run_expert(env, task, config.collect.max_steps)[0].steps)
    for task in env.tasks('train')
  )
  outcomes, actions = config.train.stages
  assert config.collect.trajectories == len(env.tasks('train'))
  assert set(config.evaluate.splits) < set(env.splits)
  assert (config.explore.k, config.reflect.k) == (5, 3)
  assert (outcomes.lr_peak, outcomes.steps) == (5e-6, 6 * decisions // 16)
  assert (actions.lr_peak, actions.steps) == (1e-5, 6 * decisions // 16)
