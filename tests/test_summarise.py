"""Summaries of outcomes: who writes them, and who reads them."""

import json
import subprocess
import sys

import pytest

from early_experience import collect, explore, prepare, reflect, summarise
from early_experience.config import default
from early_experience.evaluation import world_model
from early_experience.experience import records, render
from early_experience.preparation import sources
from early_experience.reflection.decision import decisions_of
from early_experience.reporting import bookkeeping
from early_experience.runtime.errors import UserError
from tests.fake_endpoint import FakeEndpoint
from tests.toy_env import ToyEnv

pytest.importorskip('openai')


def settings(**openai):
  config = default()
  config.env.name = 'toy'
  config.collect.trajectories = 4
  config.explore.k = 3
  config.reflect.k = 2
  config.summarise.enabled = True
  asked = {'model': 'tiny', 'retries': 0, 'concurrency': 1}
  config.summarise.openai.update(asked | openai)
  config.prepare.vocab_size = 320
  config.prepare.held_out = 0.0
  config.prepare.rows = {'world': {'datasets': ('world_model',), 'k': 3}}
  return config


@pytest.fixture
def workdir(tmp_path, monkeypatch):
  monkeypatch.setenv('OPENAI_API_KEY', 'sk-very-secret')
  config = settings()
  # `sit` is what no environment takes: the third alternative of a state.
  config.explore.proposers = {'uniform': 1.0, 'openai': 0.34}
  config.explore.openai.update(model='tiny', max_tokens=8)
  collect.collect_from(ToyEnv(), config, tmp_path)
  with FakeEndpoint(lambda *_: 'sit') as server:
    config.explore.openai.base_url = server.url
    explore.explore_in(ToyEnv(), config, tmp_path)
  return tmp_path


def told(prompt, _=0):
  action = prompt.split('What it did:\n')[1].split('\n')[0]
  return f'After "{action}"\nall is said. '


def summarised(workdir, answer=told, **openai):
  config = settings(**openai)
  with FakeEndpoint(answer) as server:
    config.summarise.openai.base_url = server.url
    summary = summarise.summarise(config, workdir)
    return summary, [request for *_, request in server.requests]


def test_every_outcome_but_rejections_gets_a_summary(workdir, capsys):
  summary, sent = summarised(workdir)
  trajectories = list(records.read(workdir / 'summarise'))
  assert len(trajectories) == 4
  for trajectory in trajectories:
    for step in trajectory.steps:
      assert step.summary == f'After "{step.action}" all is said.'
      for other in step.alternatives:
        expected = f'After "{other.action}" all is said.'
        assert other.summary == (expected if other.valid else None)
      assert sorted(a.valid for a in step.alternatives) == [False, True, True]
  assert summary['summaries'] == 11 * 3 and summary['rejected'] == 11
  assert summary['missing'] == 0
  assert summary['answers']['requests'] == 11 * 3 > len(sent), 'some are alike'
  said = capsys.readouterr().out
  assert (
    f'summarise: wants {11 * 3} answers of tiny, {33 - len(sent)} of' in said
  )


def test_a_summary_is_asked_for_with_the_task_and_the_versioned_prompt(workdir):
  _, sent = summarised(workdir)
  first = next(records.read(workdir / 'explore'))
  (message,) = sent[0]['messages']
  for text in (
    first.instruction,
    first.steps[0].observation,
    first.steps[0].action,
    first.outcome(0),
  ):
    assert text in message['content']
  assert sent[0]['temperature'] == 0
  begun = json.loads((workdir / 'summarise/settings.json').read_text())
  assert begun['openai']['prompt'] == 'summary-1'


def test_an_outcome_without_a_whole_summary_stays_as_it_is(workdir):
  cut = {'message': {'content': 'The box'}, 'finish_reason': 'length'}

  def answer(prompt, _):
    if 'open box 2\n' in prompt.split('What it did:')[1]:
      return 400, {}
    if 'look\n' in prompt.split('What it did:')[1]:
      return 200, {'choices': [cut]}
    return told(prompt)

  summary, _ = summarised(workdir, answer)
  failed = summary['answers']['failed']['refused']
  truncated = summary['answers']['truncated']
  assert failed and truncated and summary['missing'] == failed + truncated
  for trajectory in records.read(workdir / 'summarise'):
    for step in trajectory.steps:
      for done in (step, *step.alternatives):
        if done.action in ('open box 2', 'look'):
          assert done.summary is None


def test_a_killed_run_continues_and_ends_the_same(workdir, monkeypatch):
  monkeypatch.setattr(summarise, 'GROUP', 1)

  def dies(trajectory, answers):
    if trajectory.task_id == 'train-2':
      raise KeyboardInterrupt
    return whole(trajectory, answers)

  whole = summarise.with_summaries
  monkeypatch.setattr(summarise, 'with_summaries', dies)
  with pytest.raises(KeyboardInterrupt):
    summarised(workdir)
  monkeypatch.setattr(summarise, 'with_summaries', whole)
  summary, sent = summarised(workdir)
  assert summary['summaries'] == 11 * 3
  assert summary['answers']['requests'] == 11 * 3
  tasks = [t.task_id for t in records.read(workdir / 'summarise')]
  assert tasks == [t.task_id for t in records.read(workdir / 'explore')]
  again, sent = summarised(workdir)
  assert again == summary and not sent


def test_what_was_paid_before_a_kill_is_counted(workdir, monkeypatch):
  def answer(prompt, _):
    usage = {'prompt_tokens': 100, 'completion_tokens': 10}
    choices = [{'message': {'content': told(prompt)}}]
    return 200, {'choices': choices, 'usage': usage}

  def dies(trajectory, answers):
    raise KeyboardInterrupt

  prices = {'input_price': 1.0, 'output_price': 2.0}
  whole = summarise.with_summaries
  monkeypatch.setattr(summarise, 'with_summaries', dies)
  with pytest.raises(KeyboardInterrupt):
    summarised(workdir, answer, **prices)
  monkeypatch.setattr(summarise, 'with_summaries', whole)
  summary, sent = summarised(workdir, answer, **prices)
  assert not sent
  found, ((_, _, count, *paid),) = (
    summary['answers'],
    [line for line in bookkeeping.answers(workdir) if line[1] == 'summary-1'],
  )
  assert [found['input_tokens'], found['output_tokens']] == paid
  assert paid == [100 * count, 10 * count]
  assert found['cost'] == pytest.approx(120 * count / 1e6)
  assert found['requests'] == found['cached'] == 11 * 3


def test_deleting_the_stage_and_running_it_again_costs_nothing(workdir):
  first, _ = summarised(workdir)
  before = (workdir / 'summarise/trajectories-00000.jsonl').read_text()
  for path in (workdir / 'summarise').iterdir():
    path.unlink()
  second, sent = summarised(workdir)
  assert not sent and second['answers']['cached'] == 11 * 3
  assert (workdir / 'summarise/trajectories-00000.jsonl').read_text() == before


def test_the_world_model_learns_it_and_the_policy_never_reads_it(workdir):
  summarised(workdir)
  (first, *_) = records.read(workdir / 'summarise')
  scripts = render.world_model(first, k=3)
  for script in scripts:
    *history, target = script
    assert target.scores == 'world_model'
    assert 'all is said.' in target.text or target.text == 'Nothing happens.'
    assert not any(turn.scores or 'is said' in turn.text for turn in history)
  assert len(scripts) == len(first.steps) * 4
  assert 'is said' not in str(render.imitation(first))
  targets = [
    script[-1].text for script in world_model._scripts(first, [0], 'inline')
  ]
  assert first.steps[0].summary in targets


def test_an_outcome_without_one_is_learnt_along_the_episode(workdir):
  summarised(workdir)
  (first, *_) = records.read(workdir / 'explore')
  trunk, *branches = render.world_model(first, k=0)
  assert not branches and sum(bool(t.scores) for t in trunk) == len(first.steps)


def test_prepare_and_reflect_read_it_where_it_is_enabled(workdir):
  config = settings()
  for stage in (prepare.prepare, reflect.reflect):
    with pytest.raises(UserError, match='run first: .*early_exp.*summarise'):
      stage(config, workdir)
  summarised(workdir)
  reflect.reflect(config, workdir)
  found = next(records.read(workdir / 'reflect'))
  assert found.steps[0].summary is not None and found.steps[0].rationales
  prepare.prepare(config, workdir)
  found = sources.find(workdir, config.prepare, True)
  assert found.folder == workdir / 'summarise'
  assert sources.find(workdir, config.prepare, False).folder.name == 'explore'


def test_rationales_weigh_summaries(workdir):
  summarised(workdir)
  (first, *_) = records.read(workdir / 'summarise')
  decision = decisions_of(first, 3, False, 0)[0]
  assert decision.outcome == first.steps[0].summary
  said = {other.observation for other in decision.alternatives}
  assert 'Nothing happens.' in said and len(said) == 3


def test_a_record_without_summaries_can_be_read(workdir):
  path = workdir / 'explore/trajectories-00000.jsonl'
  old = path.read_text().replace(', "summary": null', '')
  assert 'summary' not in old
  path.write_text(old)
  assert next(records.read(workdir / 'explore')).steps[0].summary is None
  summarised(workdir)


def test_above_a_limit_the_command_ends_in_one_line_unless_told_yes(workdir):
  with FakeEndpoint(told) as server:
    config = workdir / 'config.py'
    config.write_text(
      'from early_experience.config import default\n'
      'def get_config():\n'
      '  config = default()\n'
      '  config.summarise.openai.update(\n'
      f"    model='tiny', base_url={server.url!r}, output_price=1e4,"
      ' max_cost=0.1)\n'
      '  return config\n'
    )
    command = [sys.executable, '-m', 'early_experience.summarise']
    command += [f'--config={config}', f'--workdir={workdir}']
    run = lambda *more: subprocess.run(
      [*command, *more], capture_output=True, text=True
    )
    refused = run()
    assert refused.returncode == 1 and not server.requests
    (line,) = refused.stderr.splitlines()
    assert 'above config.summarise.openai.max_cost=0.1' in line
    assert not (workdir / 'summarise').exists()
    assert run('--yes').returncode == 0
    assert len(list(records.read(workdir / 'summarise'))) == 4
