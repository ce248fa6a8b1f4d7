"""STaR: a model's own thoughts, where it acts as the expert did."""

import json

import pytest

from early_experience import collect, explore, recipes, reflect
from early_experience.config import default
from early_experience.experience import records, render
from tests.fake_endpoint import FakeEndpoint
from tests.language_case import completion
from tests.toy_env import ToyEnv

pytest.importorskip('openai')


def settings():
  config = recipes.select(default(), 'star')
  config.env.name = 'toy'
  config.collect.trajectories = 4
  config.explore.k = 1
  config.reflect.openai.update({'model': 'tiny', 'retries': 0})
  return config


def impatient(prompt, attempt):
  """Opens boxes as the expert does, and never takes what is in them."""
  opened = prompt.count('You open box')
  return f'It may be in the next box.\nAction: open  box {opened + 1}'


@pytest.fixture
def run(tmp_path):
  collect.collect_from(ToyEnv(), settings(), tmp_path)
  explore.explore_in(ToyEnv(), settings(), tmp_path)

  def run(answer=impatient, config=None):
    config = config or settings()
    with FakeEndpoint(answer) as endpoint:
      config.reflect.openai.base_url = endpoint.url
      summary = reflect.reflect(config, str(tmp_path))
    return summary, list(records.read(tmp_path / 'reflect')), endpoint.requests

  return run


def test_an_answer_that_was_cut_off_is_no_other_action(run):
  summary, *_ = run(lambda *_: completion('It may be in the', 'length'))
  assert set(summary['dropped']) == {'truncated'}


def test_thoughts_are_kept_where_it_acts_as_the_expert_did(run):
  summary, trajectories, _ = run()
  opens = [s for t in trajectories for s in t.steps if 'open' in s.action]
  takes = [s for t in trajectories for s in t.steps if 'take' in s.action]
  assert summary['dropped'] == {'another action': len(takes)}
  assert summary['rationales'] == len(opens)
  assert not any(step.rationales for step in takes)
  (rationale,) = opens[0].rationales
  assert rationale.text == 'It may be in the next box.'
  assert rationale.compared == () and 'star react-1' in rationale.writer
  (script, *_) = render.reflection(trajectories[0])
  assert script[-2:] == (
    render.Turn('thought', rationale.text, 'reflection'),
    render.Turn('action', 'open box 1', 'reflection'),
  )


def test_it_is_shown_what_an_agent_is_and_no_outcome(run):
  _, trajectories, requests = run()
  final = {t.final_observation for t in trajectories}
  for _, _, request in requests:
    system, *_, last = request['messages']
    assert 'Action:' in system['content'] and 'look' in last['content']
    assert not any(text in json.dumps(request) for text in final)


def test_without_thoughts_there_is_no_rationale(run):
  summary, _, _ = run(lambda *args: impatient(*args).splitlines()[-1])
  assert summary['rationales'] == 0 and summary['dropped']['empty'] > 0


def test_it_asks_once_a_state_however_many_alternatives_there_are(run):
  config = settings()
  config.reflect.k, config.reflect.per_alternative = 9, True
  summary, trajectories, _ = run(config=config)
  assert summary['answers']['requests'] == sum(
    len(t.steps) for t in trajectories
  )
