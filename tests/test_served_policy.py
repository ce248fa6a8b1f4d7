"""A model behind an endpoint plays: what it is shown, how it is read, its cost.

An expert stands behind the endpoint: it opens box after box.
"""

import json
import re
import subprocess
import sys

import pytest

from early_experience import evaluate
from early_experience.config import default
from early_experience.experience.answer_format import find_format
from early_experience.language.acting import Acting
from early_experience.language.answer import Answer, judged
from early_experience.report import report
from early_experience.runtime import files
from early_experience.runtime.errors import UserError
from tests.fake_endpoint import FakeEndpoint
from tests.language_case import completion
from tests.toy_env import ToyEnv

pytest.importorskip('openai')
SOLVED = 6  # of 8 toy tasks: each fourth has no coin


class Numbered(ToyEnv):
  """No two episodes are alike to a model."""

  def reset(self, task):
    turn = super().reset(task)
    self.instruction = f'Task {task.id}.'
    return turn


def settings(**openai):
  config = default()
  config.name = 'prompting'
  config.env.name = 'toy'
  config.evaluate.policy = 'served'
  config.evaluate.splits = ('test',)
  config.evaluate.tasks = 0
  config.evaluate.max_steps = 5
  asked = {'model': 'tiny', 'retries': 0, 'concurrency': 8}
  config.evaluate.openai.update(asked | openai)
  return config


def expert(prompt, attempt):
  """What to do next, given the text of all messages."""
  if 'there is a coin' in prompt:
    return f'take coin from box {opened(prompt)}'
  return f'open box {opened(prompt) + 1}'


def opened(prompt):
  return prompt.count('You open box')


def played(workdir, answer=expert, config=None, env=ToyEnv):
  config = config or settings()
  with FakeEndpoint(answer) as endpoint:
    config.evaluate.openai.base_url = endpoint.url
    summary = evaluate.evaluate_in(env, config, str(workdir))
  return summary, endpoint.requests


def records(workdir, name='prompting'):
  found = files.read_jsonl(workdir / 'evaluate' / name, 'rollouts')
  return {record['task_id']: record for _, record in found}


def test_it_plays_and_is_counted_as_any_policy_is(tmp_path, capsys):
  summary, requests = played(tmp_path)
  success = summary['splits']['test']['success']
  assert (success['count'], success['n']) == (SOLVED, 8)
  assert summary['policy'] == 'served' and summary['world_model'] is None
  assert records(tmp_path)['test-1']['steps'][1] == {
    'observation': 'You open box 1 and it is empty.',
    'thought': None,
    'action': 'open box 2',
    'valid': True,
  }
  assert 'test 6/8 = 75.0%' in capsys.readouterr().out
  (_, _, request), *_ = requests
  assert request['messages'] == [
    {
      'role': 'user',
      'content': 'Take the coin.\n\nYou see box 1, box 2, box 3.',
    }
  ], 'what a policy that was trained here reads'
  report(settings(), str(tmp_path))
  assert (tmp_path / 'report' / 'index.html').exists()


def test_episodes_are_asked_about_at_once_and_nothing_is_asked_twice(
  tmp_path, capsys
):
  summary, requests = played(tmp_path)
  decisions = sum(len(r['steps']) for r in records(tmp_path).values())
  assert summary['answers']['requests'] == decisions
  assert len(requests) < decisions, 'for episodes begin alike'
  assert summary['answers']['cached'] == decisions - len(requests)
  (tmp_path / 'evaluate' / 'prompting' / 'summary.json').unlink()
  for path in (tmp_path / 'evaluate' / 'prompting').glob('*.jsonl'):
    path.unlink()
  again, requests = played(tmp_path)
  assert again['splits'] == summary['splits'] and not requests


def test_it_is_told_how_to_act_and_what_it_can_do(tmp_path):
  config = settings(prompt='react-1', options='options-1')
  thinks = lambda *args: f'The coin is near.\nAction: {expert(*args)}'
  summary, requests = played(tmp_path, thinks, config)
  assert summary['splits']['test']['success']['count'] == SOLVED
  for _, _, request in requests:
    system, *_, last = request['messages']
    assert system['role'] == 'system' and 'Action:' in system['content']
    assert 'no others:\n- look\n- open box 1\n' in last['content']
    assert json.dumps(request).count('no others') == 1, 'of this state alone'
  thoughts = {
    s['thought'] for r in records(tmp_path).values() for s in r['steps']
  }
  assert thoughts == {'The coin is near.'}


def test_where_nothing_is_listed_nothing_is_shown(tmp_path):
  config = settings(prompt='act-1', options='options-1')
  _, requests = played(
    tmp_path, expert, config, env=lambda: ToyEnv(lists=False)
  )
  assert not any('accepts these' in json.dumps(r) for *_, r in requests)


@pytest.mark.parametrize(
  'form, text, thought, action',
  [
    ('plain', 'open box 1', None, 'open box 1'),
    (
      'plain',
      'Hm.\n\nSo.\n\nopen box 1\nagain',
      'Hm.\n\nSo.',
      'open box 1\nagain',
    ),
    ('plain', '{"action": "x"}', None, '{"action": "x"}'),
    ('tags', '<think>Hm.</think>\n<action>look</action>', 'Hm.', 'look'),
    ('tags', '<action>look</action>', None, 'look'),
    ('labels', 'Thought:\nHm.\n\nAction:\nlook', 'Hm.', 'look'),
    ('labels', 'Action:\nlook', None, 'look'),
  ],
)
def test_a_model_trained_here_is_read_as_it_was_taught_to_write(
  form, text, thought, action
):
  acting = Acting(find_format(form), 'config.x')
  assert acting.read(judged(Answer(text))) == (thought, action)
  written = find_format(form)
  own = written.write('thought', thought or '') + written.write(
    'action', action
  )
  assert own == text


@pytest.mark.parametrize(
  'text, thought, action',
  [
    ('look', None, 'look'),
    ('The coin is near.\nAction: look', 'The coin is near.', 'look'),
    ('**Thought:** Hm.\n\n**Action:** look', 'Hm.', 'look'),
    ('```json\n{"thought": "Hm.",\n "action": "look"}\n```', 'Hm.', 'look'),
    ('{"action": "look"}', None, 'look'),
    ('{"thought": null, "action": "look"}', None, 'look'),
    ('<think>Why.</think>\n\nlook', 'Why.', 'look'),
    (
      '<think>Why.</think>I see.\n<action>look</action>',
      'Why.\n\nI see.',
      'look',
    ),
    ('I call it.\n```json\n{"name": "f"}\n```', 'I call it.', '{"name": "f"}'),
    ('Hm.\nAction: look\nI look, for it is dark.', 'Hm.', 'look'),
    ('Hm. <action>look</action> I look.', 'Hm.', 'look'),
    ('I look.\nlook', 'I look.', 'look'),
  ],
)
def test_a_model_that_was_told_is_read_as_such_models_write(
  text, thought, action
):
  acting = Acting(find_format('plain'), 'config.x', prompt='react-1')
  assert acting.read(judged(Answer(text))) == (thought, action)


def test_what_it_does_not_say_ends_its_episode_and_no_other(tmp_path):
  """One each: nothing, too long for it, and refused."""
  long = "This model's maximum context length is 99 tokens, and not 100."
  ends = {
    0: '',
    1: (400, {'error': {'message': long}}),
    2: (400, {'error': {'message': 'no'}}),
  }

  def answer(prompt, attempt):
    number = int(prompt.split('Task test-')[1].split('.')[0])
    return ends.get(number, expert(prompt, attempt))

  summary, _ = played(tmp_path, answer, env=Numbered)
  test = summary['splits']['test']
  assert (test['no_action'], test['out_of_context']) == (1, 1)
  assert summary['set_aside'] == {'refused': 1}
  assert test['success']['n'] == 8 and test['success']['count'] == SOLVED - 3
  assert summary['answers']['failed'] == {'empty': 1, 'too long': 1}


def test_one_request_that_breaks_its_server_costs_its_own_episode(tmp_path):
  """Though it is the last that is left, and nothing else is answered."""

  def breaks(prompt, attempt):
    return (500, {}) if opened(prompt) == 3 else expert(prompt, attempt)

  summary, _ = played(tmp_path, breaks)
  assert summary['set_aside'] == {'server': 4}
  assert summary['splits']['test']['success']['count'] == 4


def test_several_answers_to_a_decision_vote(tmp_path):
  def divided(prompt, attempt):
    return 'look' if attempt % 3 == 0 else expert(prompt, attempt)

  config = settings(temperature=0.5, concurrency=1)
  config.evaluate.samples = 3
  summary, requests = played(tmp_path, divided, config, env=Numbered)
  assert summary['splits']['test']['success']['count'] == SOLVED
  found = records(tmp_path, 'prompting-vote3')
  steps = [step for record in found.values() for step in record['steps']]
  assert {tuple(s['votes'].values()) for s in steps} == {(2, 1)}
  assert len(requests) == 3 * len(steps) == summary['answers']['requests']
  first = found['test-0']
  assert first['policy_answers']['requests'] == 3 * len(first['steps'])


def paid(prompt, attempt):
  return completion(expert(prompt, attempt), used=(100, 10))


def test_what_it_may_cost_is_said_before_and_held_to(
  tmp_path, capsys, monkeypatch
):
  priced = {'input_price': 10.0, 'output_price': 100.0, 'max_tokens': 20}
  config = settings(**priced, max_cost=0.005)
  with pytest.raises(UserError, match='max_cost=0.005; what .* --yes') as error:
    played(tmp_path, paid, config)
  assert '\n' not in str(error.value)
  said = capsys.readouterr().out
  assert 'evaluate prompting: wants at most 40 answers of tiny, of 800' in said
  assert 'cost 0.08 at most' in said and 'ends above config.eval' in said
  spent = re.search(r'cost (\S+):', str(error.value))[1]
  with pytest.raises(UserError, match=f'cost {spent}: above .* --yes'):
    played(tmp_path, paid, config)  # it has no second budget
  monkeypatch.setattr(evaluate.cli, 'confirmed', lambda: True)
  summary, requests = played(tmp_path, paid, config)
  whole, all_requests = played(tmp_path / 'b', paid, settings(**priced))
  assert 0 < len(requests) < len(all_requests), 'the others are known'
  assert summary['splits'] == whole['splits']
  # What was paid for before it was stopped is counted, though known by now.
  assert summary['answers']['cost'] == pytest.approx(whole['answers']['cost'])
  answers = whole['answers']
  assert answers['input_tokens'] == 100 * len(all_requests)
  assert answers['cost'] == pytest.approx(0.002 * len(all_requests))


def test_a_stopped_evaluation_goes_on(tmp_path):
  def breaks(prompt, attempt):
    return (503, {}) if opened(prompt) > 1 else expert(prompt, attempt)

  many = lambda: Numbered(tasks=20)
  with pytest.raises(UserError, match='answered none of'):
    played(tmp_path, breaks, env=many)
  before = records(tmp_path)
  summary, requests = played(tmp_path, env=many)
  assert before and summary['splits']['test']['success']['count'] == 15
  assert all(opened(json.dumps(r)) > 1 for *_, r in requests)


def test_another_model_is_another_evaluation_another_address_is_not(tmp_path):
  played(tmp_path)
  played(tmp_path)
  with pytest.raises(UserError, match="model was 'tiny', is 'big'"):
    played(tmp_path, config=settings(model='big'))
  told = settings(prompt='act-1')
  with pytest.raises(UserError, match="openai.prompt was '', is 'act-1'"):
    played(tmp_path, config=told)


@pytest.mark.parametrize(
  'openai, how, said',
  [
    ({'model': ''}, {}, 'config.evaluate.openai.model is empty'),
    ({'prompt': 'act'}, {}, "openai.prompt is 'act', not one of: act-1"),
    ({'options': 'no-1'}, {}, "openai.options is 'no-1', not one of"),
    ({'prompt': 'act-1', 'system': 'Go.'}, {}, 'both system and prompt'),
    (
      {},
      {'constrained': True},
      "constrained=True holds no model of policy='se",
    ),
  ],
)
def test_bad_input_ends_in_one_line_and_leaves_nothing(
  tmp_path, monkeypatch, openai, how, said
):
  monkeypatch.setenv('OPENAI_API_KEY', 'sk-none')
  config = settings(**openai)
  config.evaluate.update(how)
  with pytest.raises(UserError, match=said) as error:
    evaluate.evaluate_in(ToyEnv, config, str(tmp_path))
  assert '\n' not in str(error.value)
  assert not (tmp_path / 'evaluate').exists()


def test_it_needs_no_jax(tmp_path):
  script = """
import sys
from early_experience import evaluate
from tests.test_served_policy import settings, ToyEnv
config = settings(base_url=sys.argv[1])
evaluate.evaluate_in(ToyEnv, config, sys.argv[2])
assert 'jax' not in sys.modules, 'jax was imported'
"""
  with FakeEndpoint(expert) as endpoint:
    command = [sys.executable, '-c', script, endpoint.url, str(tmp_path)]
    subprocess.run(command, check=True)
  assert len(records(tmp_path)) == 8
