"""Collecting expert trajectories."""

import dataclasses

import pytest

from early_experience import collect
from early_experience.config import default
from early_experience.experience import records
from early_experience.runtime import stage
from early_experience.runtime.errors import UserError
from tests.toy_env import ToyEnv


def settings(**changes):
  config = default()
  config.env.name = 'toy'
  config.collect.update({'trajectories': 4, 'max_steps': 9, **changes})
  return config


def collected(workdir):
  return list(records.read(workdir / 'collect'))


def test_successes_in_task_order_and_failures_by_type(tmp_path):
  summary = collect.collect_from(ToyEnv(), settings(), tmp_path)
  ids = [t.task_id for t in collected(tmp_path)]
  assert ids == ['train-0', 'train-1', 'train-2', 'train-4']
  assert summary['trajectories'] == 4 and summary['tried'] == 5
  assert summary['failed_by_type'] == {'far': 1}
  assert summary['failed_by_reason'] == {'gave up': 1}


def test_a_record_holds_what_the_agent_saw_and_what_followed(tmp_path):
  collect.collect_from(ToyEnv(), settings(), tmp_path)
  second = collected(tmp_path)[1]
  assert [s.action for s in second.steps] == [
    'open box 1',
    'open box 2',
    'take coin from box 2',
  ]
  assert second.steps[0].observation == 'You see box 1, box 2, box 3.'
  assert second.outcome(0) == second.steps[1].observation
  assert second.final_observation == 'You have the coin.'
  assert 'take coin from box 2' in second.steps[2].admissible
  assert second.success and second.score == 1.0


def test_the_expert_fails_where_it_needs_too_many_steps(tmp_path):
  summary = collect.collect_from(ToyEnv(), settings(max_steps=2), tmp_path)
  assert {len(t.steps) for t in collected(tmp_path)} == {2}
  assert summary['trajectories'] == 2, 'all tasks were tried, two are short'
  assert summary['failed_by_reason']['more than 2 steps'] == 6


def test_where_nothing_is_solved_it_says_why_and_may_be_mended(tmp_path):
  config = settings()
  config.collect.max_steps = 1
  with pytest.raises(UserError, match='no success .* tasks.*: more than 1'):
    collect.collect_from(ToyEnv(), config, tmp_path)
  config.collect.max_steps = 20
  assert collect.collect_from(ToyEnv(), config, tmp_path)['trajectories']


def test_a_thought_without_a_word_is_none():
  class Silent(ToyEnv):
    def expert(self, turn):
      yield 'open box 1', ''
      yield 'open box 2', ' \n'
      yield 'open box 3', 'So be it.'

  env = Silent()
  trajectory, _ = collect.run_expert(env, env.tasks('train')[0], 3)
  assert [s.thought for s in trajectory.steps] == [None, None, 'So be it.']


def test_an_episode_that_ends_without_success_is_a_failure(tmp_path):
  class Snatches(ToyEnv):
    def step(self, action):
      turn = super().step(action)
      lost = turn.done and action == 'take coin from box 1'
      return dataclasses.replace(turn, success=False) if lost else turn

  summary = collect.collect_from(Snatches(), settings(), tmp_path)
  assert summary['failed_by_reason']['ended without success'] == 2
  assert all(t.success for t in collected(tmp_path))


def test_a_task_that_is_over_at_once_is_a_failure(tmp_path):
  class Gives(ToyEnv):
    def reset(self, task):
      turn = super().reset(task)
      over = task.id == 'train-1'
      return dataclasses.replace(turn, done=over, success=over)

  summary = collect.collect_from(Gives(), settings(), tmp_path)
  assert summary['failed_by_reason']['over before its first step'] == 1
  assert 'train-1' not in {t.task_id for t in collected(tmp_path)}


def test_a_killed_run_continues_without_trying_a_task_again(tmp_path):
  class Dies(ToyEnv):
    tried = []

    def reset(self, task):
      if len(self.tried) == 4:
        raise KeyboardInterrupt
      self.tried.append(task.id)
      return super().reset(task)

  with pytest.raises(KeyboardInterrupt):
    collect.collect_from(Dies(), settings(), tmp_path / 'killed')
  shard = tmp_path / 'killed' / 'collect' / 'trajectories-00000.jsonl'
  shard.write_bytes(shard.read_bytes() + b'{"task_id": "tor')
  again = type('Again', (Dies,), {'tried': []})
  summary = collect.collect_from(again(), settings(), tmp_path / 'killed')
  assert again.tried == ['train-4'], 'the failed train-3 is not tried again'
  assert summary == collect.collect_from(
    ToyEnv(), settings(), tmp_path / 'whole'
  )
  assert collected(tmp_path / 'killed') == collected(tmp_path / 'whole')


def test_a_finished_stage_does_nothing(tmp_path):
  first = collect.collect_from(ToyEnv(), settings(), tmp_path)
  broken = ToyEnv()
  broken.reset = None
  assert collect.collect_from(broken, settings(), tmp_path) == first


def test_bad_input_ends_in_one_line(tmp_path):
  with pytest.raises(UserError, match="no split 'valid'"):
    collect.collect_from(ToyEnv(), settings(split='valid'), tmp_path / 'a')
  with pytest.raises(UserError, match='no success of the toy expert in 8'):
    collect.collect_from(ToyEnv(), settings(max_steps=1), tmp_path / 'b')
  assert stage.finished(tmp_path / 'b' / 'collect') is None
  alone = ToyEnv()
  alone.expert = lambda turn: None
  with pytest.raises(UserError, match='toy has no expert'):
    collect.collect_from(alone, settings(), tmp_path / 'c')
