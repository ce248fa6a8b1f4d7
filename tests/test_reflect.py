"""Reflecting: what is weighed, what is kept, and the grounded writer."""

import collections
import dataclasses
import itertools
import json

import pytest

from early_experience import collect, explore, reflect
from early_experience.config import default
from early_experience.experience import records
from early_experience.experience.records import Alternative
from early_experience.reflection import checks, words
from early_experience.reflection.decision import decisions_of
from early_experience.reflection.grounded import MAX_WORDS, Grounded
from early_experience.runtime.errors import UserError
from tests.toy_env import ToyEnv


def settings(**changes):
  config = default()
  config.env.name = 'toy'
  config.collect.trajectories = 4
  config.explore.k = 3
  config.reflect.update({'k': 2, **changes})
  return config


@pytest.fixture
def workdir(tmp_path):
  config = settings()
  collect.collect_from(ToyEnv(), config, tmp_path)
  explore.explore_in(ToyEnv(), config, tmp_path)
  return tmp_path


def reflected(workdir):
  return list(records.read(workdir / 'reflect'))


def test_one_rationale_a_state_weighs_up_to_k_alternatives(workdir):
  summary = reflect.reflect(settings(), workdir)
  assert summary['rationales'] == summary['states'] == summary['all_states']
  for trajectory in reflected(workdir):
    for step in trajectory.steps:
      (rationale,) = step.rationales
      tried = {a.action for a in step.alternatives}
      assert 1 <= len(rationale.compared) <= 2
      assert set(rationale.compared) <= tried
      assert rationale.writer == 'grounded'


def test_one_rationale_an_alternative_is_an_option(workdir):
  reflect.reflect(settings(per_alternative=True), workdir)
  for trajectory in reflected(workdir):
    for step in trajectory.steps:
      compared = [r.compared for r in step.rationales]
      assert len(compared) == len(set(compared)) == 2
      assert {len(actions) for actions in compared} == {1}


def explored(*alternatives):
  step = records.Step('Here.', 'go', alternatives=alternatives)
  return records.Trajectory(
    'toy', 'boxes', 't', 'train', 'near', 'Go.', (step,), '', True, 1.0, 'me'
  )


def other(action, valid=True, proposer='uniform'):
  return Alternative(action, 'You fall.', False, valid, proposer)


@pytest.mark.parametrize('model', ['policy', 'openai'])
def test_valid_alternatives_are_preferred_and_a_models_among_them(model):
  trajectory = explored(
    other('fly', valid=False, proposer=model),
    *(other(f'sit {i}') for i in range(9)),
    other('run', proposer=model),
  )
  (decision,) = decisions_of(trajectory, 2, False, 0)
  first, second = decision.alternatives
  assert first.action == 'run' and second.valid


def test_what_is_not_listed_or_rejected_gives_way_where_it_is_replaced():
  """Appendix B.1; kept in B.2, whose reflections weigh it all the same."""
  listed = ('go', 'sit', 'run')
  step = records.Step(
    'Here.',
    'go',
    admissible=listed,
    alternatives=(
      other('hum', proposer='openai'),  # works, but is not listed
      other('fly', valid=False, proposer='openai'),
      other('run', proposer='openai'),
      other('sit'),
    ),
  )
  trajectory = dataclasses.replace(explored(), steps=(step,))

  def weighed(k, invalid):
    (decision,) = decisions_of(trajectory, k, False, 0, invalid)
    return {other.action for other in decision.alternatives}

  assert weighed(2, 'replace') == {'run', 'sit'}
  assert weighed(3, 'keep') == {'hum', 'fly', 'run'}
  assert len(weighed(4, 'replace')) == 4, 'where there are too few others'


def test_long_episodes_may_be_left_out(workdir):
  lengths = [len(t.steps) for t in records.read(workdir / 'explore')]
  summary = reflect.reflect(settings(max_steps=3), workdir)
  assert summary['rationales'] == sum(n for n in lengths if n <= 3)
  assert summary['trajectories'] == len(lengths) and max(lengths) > 3


def test_without_alternatives_there_is_nothing_to_compare():
  assert decisions_of(explored(), 2, False, 0) == []
  for per_alternative in (False, True):
    found = decisions_of(explored(other('sit')), 0, per_alternative, 0)
    assert len(found) == 1


def all_decisions(workdir, seed=0):
  return [
    decision
    for trajectory in records.read(workdir / 'explore')
    for decision in decisions_of(trajectory, 3, False, seed)
  ]


def test_grounded_rationales_are_short_varied_and_pass_the_checks(workdir):
  decisions = all_decisions(workdir)
  texts = [
    d.text for seed in range(20) for d in Grounded(seed).write(decisions)
  ]
  for text, decision in zip(texts, decisions * 20, strict=True):
    assert checks.check(text, decision) == (text, None)
    assert words.count(text) <= MAX_WORDS + 5
  openings = collections.Counter(text.split('.')[0] for text in texts)
  assert len(set(texts)) > len(texts) / 2 and len(openings) >= 8


def test_grounded_says_a_thing_in_as_many_ways_as_it_is_given(workdir):
  decisions = all_decisions(workdir)

  def openings(wordings):
    some = [Grounded(s, wordings).write(decisions) for s in range(20)]
    texts = [d.text for d in itertools.chain(*some) if 'coin' in d.text]
    return {text.split(' coin')[0] for text in texts}

  one, two = openings(1), openings(2)
  assert one < two < openings(0)


def test_grounded_does_not_know_what_only_the_future_shows(workdir):
  for decision in all_decisions(workdir):
    if any('there is a coin' in text for text in decision.seen):
      continue
    for seed in range(20):
      (draft,) = Grounded(seed).write([decision])
      assert 'take coin' not in draft.text


def test_what_nothing_speaks_for_is_dropped_and_counted(workdir):
  path = workdir / 'explore' / 'trajectories-00000.jsonl'
  made = [json.loads(line) for line in path.read_text('utf-8').splitlines()]
  for record in made:
    record['instruction'] = 'Be good.'
    for i, step in enumerate(record['steps']):
      step['action'] = f'sing song {i}'
  path.write_text(''.join(json.dumps(r) + '\n' for r in made), 'utf-8')
  summary = reflect.reflect(settings(), workdir)
  assert summary['dropped']['no reason'] + summary['rationales'] == 11
  assert summary['rationales'] == 0


def test_a_killed_run_continues_and_ends_the_same(workdir, monkeypatch):
  monkeypatch.setattr(reflect, 'GROUP', 1)
  write = Grounded.write

  def dies(self, decisions):
    if decisions[0].task_id == 'train-2':
      raise KeyboardInterrupt
    return write(self, decisions)

  monkeypatch.setattr(Grounded, 'write', dies)
  with pytest.raises(KeyboardInterrupt):
    reflect.reflect(settings(), workdir)
  shard = workdir / 'reflect/trajectories-00000.jsonl'
  before = shard.read_text()
  shard.write_text(before[:-1])  # killed between a line and its end
  monkeypatch.setattr(Grounded, 'write', write)
  summary = reflect.reflect(settings(), workdir)
  after = shard.read_text()
  assert before.count('\n') == 2 and after.startswith(before)
  assert len(reflected(workdir)) == summary['trajectories'] == 4


def test_bad_input_ends_in_one_line(workdir, monkeypatch, tmp_path):
  with pytest.raises(UserError, match="'drop', not one of: replace, keep"):
    reflect.reflect(settings(invalid='drop'), workdir)
  with pytest.raises(UserError, match='run first: .*explore'):
    reflect.reflect(settings(), tmp_path / 'nothing')
  with pytest.raises(UserError, match="'oracle', not one of: grounded, openai"):
    reflect.reflect(settings(writer='oracle'), workdir)
  monkeypatch.delenv('OPENAI_API_KEY', raising=False)
  config = settings(writer='openai')
  with pytest.raises(UserError, match='openai.model is empty'):
    reflect.reflect(config, workdir)
  config.reflect.openai.model = 'tiny'  # and nothing holds the old setting
  with pytest.raises(UserError, match='OPENAI_API_KEY is not set'):
    reflect.reflect(config, workdir)
