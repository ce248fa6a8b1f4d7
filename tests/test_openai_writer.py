"""Reflecting by a model behind an endpoint: what is asked, what is kept."""

import shutil

import pytest

from early_experience import collect, explore, reflect
from early_experience.config import default
from early_experience.experience import records
from early_experience.runtime.errors import UserError
from tests.fake_endpoint import FakeEndpoint
from tests.toy_env import ToyEnv


@pytest.fixture
def workdir(tmp_path):
  config = settings()
  collect.collect_from(ToyEnv(), config, tmp_path)
  explore.explore_in(ToyEnv(), config, tmp_path)
  return tmp_path


def settings():
  config = default()
  config.env.name = 'toy'
  config.collect.trajectories = 4
  config.explore.k = 3
  config.reflect.k = 2
  config.reflect.writer = 'openai'
  return config


def reflected(workdir):
  return list(records.read(workdir / 'reflect'))


def good(prompt):
  action = prompt.split('will now "')[1].split('"')[0]
  return (
    'I still have to get the coin. Anything else would bring me no closer to'
    f' it. I will {action}.'
  )


def ask(workdir, answer, monkeypatch, **changes):
  pytest.importorskip('openai')
  monkeypatch.setenv('OPENAI_API_KEY', 'sk-very-secret')
  config = settings()
  config.reflect.openai.update({'model': 'tiny', 'retries': 2, **changes})
  with FakeEndpoint(answer) as endpoint:
    config.reflect.openai.base_url = endpoint.url
    return reflect.reflect(config, workdir), endpoint


def test_openai_is_asked_with_the_versioned_prompt(workdir, monkeypatch, capfd):
  summary, endpoint = ask(
    workdir, lambda prompt, _: good(prompt), monkeypatch, temperature=0.5
  )
  assert summary['rationales'] == summary['all_states'] == 11
  assert summary['dropped'] == {}
  path, headers, request = endpoint.requests[0]
  assert path == '/v1/chat/completions'
  assert headers['Authorization'] == 'Bearer sk-very-secret'
  assert request['model'] == 'tiny' and request['temperature'] == 0.5
  assert 'Take the coin.' in request['messages'][0]['content']
  rationale = reflected(workdir)[0].steps[0].rationales[0]
  assert rationale.writer == 'tiny rationale-1'
  written = ''.join(p.read_text() for p in workdir.rglob('*.json*'))
  assert 'sk-very' not in written + ''.join(capfd.readouterr())


def test_what_the_model_answered_is_counted_and_paid_once(
  workdir, monkeypatch, capsys
):
  def answer(prompt, _):
    message = {'message': {'content': good(prompt)}}
    used = {'prompt_tokens': 100, 'completion_tokens': 10}
    return 200, {'choices': [message], 'usage': used}

  summary, endpoint = ask(workdir, answer, monkeypatch, input_price=1e4)
  asked, found = len(endpoint.requests), summary['answers']
  assert found['requests'] == 11 and found['cached'] == 11 - asked
  assert found['cost'] == pytest.approx(asked * 100 * 1e4 / 1e6)
  said = capsys.readouterr().out
  assert (
    f'reflect: wants 11 answers of tiny, {11 - asked} of them known' in said
  )
  assert f'{asked * 100:,} tokens in, {asked * 10:,} out, cost' in said
  shutil.rmtree(workdir / 'reflect')
  again, endpoint = ask(workdir, answer, monkeypatch, input_price=1e4)
  assert not endpoint.requests and again['answers']['cost'] == 0
  assert again['rationales'] == summary['rationales']


def test_the_alternatives_are_neither_numbered_nor_labelled(
  workdir, monkeypatch
):
  _, endpoint = ask(workdir, lambda prompt, _: good(prompt), monkeypatch)
  for _, _, request in endpoint.requests:
    prompt = request['messages'][0]['content']
    assert 'the expert' not in prompt and 'Action 1' not in prompt


def test_a_busy_endpoint_is_tried_again(workdir, monkeypatch):
  def answer(prompt, attempt):
    return (good(prompt), (429, {}), (500, {}))[(3 - attempt) % 3]

  summary, endpoint = ask(workdir, answer, monkeypatch)
  assert summary['rationales'] == 11
  assert all(count % 3 == 0 for count in endpoint.attempts.values())


def test_bad_answers_are_dropped_and_counted_by_reason(workdir, monkeypatch):
  bad = iter(
    [
      (200, 'not json'),
      (200, {'choices': []}),
      (200, '<html>gateway</html>'),
      (400, {'error': {'message': 'too long'}}),
      '',
      'The expert would do this, so I follow. I will go on.',
      'Sure, let me think about the coin.',
      'I want the coin. Everything else can wait. I will dance on the table.',
    ]
  )
  twice = 'x'

  def answer(prompt, _):
    nonlocal twice
    reply = next(bad, None)
    if reply is None and twice == 'x':
      twice = good(prompt)
      return twice * 2
    return good(prompt) if reply is None else reply

  summary, _ = ask(workdir, answer, monkeypatch, concurrency=1)
  assert summary['dropped'] == {
    'drift': 1,
    'empty': 1,
    'label': 1,
    'malformed': 3,
    'meta': 1,
    'refused': 1,
  }
  texts = [
    r.text for t in reflected(workdir) for s in t.steps for r in s.rationales
  ]
  assert len(texts) == 3 and twice in texts, 'the doubled text was halved'


def test_an_endpoint_that_cannot_be_used_ends_the_run(workdir, monkeypatch):
  with pytest.raises(
    UserError, match='HTTP 401: the key in OPENAI_API_KEY'
  ) as e:
    ask(workdir, lambda *_: (401, {'error': {'message': 'sk-'}}), monkeypatch)
  assert 'sk-' not in str(e.value)
  with pytest.raises(UserError, match='answered none of 11 requests'):
    ask(workdir, lambda *_: (503, {}), monkeypatch)
  with pytest.raises(UserError, match='BadRequestError.*use other settings'):
    refusal = {'error': {'message': 'use other settings'}}
    ask(workdir, lambda *_: (400, refusal), monkeypatch)
  summary, _ = ask(workdir, lambda prompt, _: good(prompt), monkeypatch)
  assert summary['rationales'] == 11, 'nothing was left behind'


def test_an_endpoint_that_works_may_refuse_what_is_too_long(
  workdir, monkeypatch
):
  monkeypatch.setattr(reflect, 'GROUP', 1)
  asked = iter(range(99))
  summary, _ = ask(
    workdir,
    lambda prompt, _: good(prompt) if next(asked) < 2 else (400, {}),
    monkeypatch,
    concurrency=1,
  )
  assert summary['rationales'] == 2 and summary['dropped'] == {'refused': 9}
