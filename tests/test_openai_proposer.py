"""Exploring by a model behind an endpoint: what is asked, what is tried."""

import collections

import pytest

from early_experience import collect, explore
from early_experience.config import default, settled
from early_experience.experience import records
from early_experience.exploration import proposals
from early_experience.preparation import sources
from early_experience.runtime.errors import UserError
from tests.fake_endpoint import FakeEndpoint
from tests.toy_env import ToyEnv


def settings(k=2, shares=None, **openai):
  config = default()
  config.env.name = 'toy'
  config.collect.trajectories = 4
  config.explore.k = k
  config.explore.proposers = shares or {'openai': 1.0}
  asked = {'model': 'tiny', 'retries': 2, 'concurrency': 1}
  config.explore.openai.update(asked | openai)
  return config


@pytest.fixture
def workdir(tmp_path, monkeypatch):
  pytest.importorskip('openai')
  monkeypatch.setenv('OPENAI_API_KEY', 'sk-very-secret')
  collect.collect_from(ToyEnv(), settings(), tmp_path)
  return tmp_path


def explored(workdir, answer, config=None, env=None):
  config = config or settings()
  with FakeEndpoint(answer) as endpoint:
    config.explore.openai.base_url = endpoint.url
    summary = explore.explore_in(env or ToyEnv(), config, workdir)
  return summary, list(records.read(workdir / 'explore')), endpoint


IDEAS = ('look', 'sit', 'jump', 'fly')


def an_idea(prompt, attempt):
  return IDEAS[attempt % 4]


def test_each_sample_is_a_request_with_the_history_as_a_chat(workdir):
  config = settings(temperature=0.7, max_tokens=33)
  summary, trajectories, endpoint = explored(workdir, an_idea, config)
  assert summary['states'] == 11, 'of which 6 differ in what the agent knows'
  assert len(endpoint.requests) == 2 * 6
  path, headers, request = endpoint.requests[4]
  assert path == '/v1/chat/completions'
  assert headers['Authorization'] == 'Bearer sk-very-secret'
  assert request == endpoint.requests[5][2]
  assert (request['model'], request['max_tokens']) == ('tiny', 33)
  assert request['temperature'] == 0.7
  assert not {'n', 'chat_template_kwargs'} & set(request)
  (request, _) = [
    r
    for *_, r in endpoint.requests
    if len(r['messages']) == 3
    and r['messages'][-1]['content'].endswith('1 and it is empty.')
  ]
  assert request['messages'] == [
    {
      'role': 'user',
      'content': 'Take the coin.\n\nYou see box 1, box 2, box 3.',
    },
    {'role': 'assistant', 'content': 'open box 1'},
    {'role': 'user', 'content': 'You open box 1 and it is empty.'},
  ]
  assert trajectories[1].steps[1].admissible is not None, 'but it is not shown'


def test_its_ideas_are_tried_and_bear_its_name(workdir):
  summary, trajectories, _ = explored(workdir, lambda *_: 'Action: look')
  assert summary['by_proposer'] == {'openai': 11}
  (alternative,) = trajectories[0].steps[0].alternatives
  assert alternative == records.Alternative(
    'look', 'You see box 1, box 2, box 3.', False, True, 'openai'
  )


def test_a_system_message_opens_the_chat_where_there_is_one(workdir):
  config = settings(system='Answer with one action.')
  _, _, endpoint = explored(workdir, an_idea, config)
  for _, _, request in endpoint.requests:
    first, *others = request['messages']
    assert first == {'role': 'system', 'content': 'Answer with one action.'}
    assert 'system' not in [message['role'] for message in others]


def test_the_chat_is_what_a_policy_trained_here_reads(workdir):
  config = settings(template_kwargs={'date_string': '7 May 2025'})
  config.prepare.answer_format = 'tags'
  _, _, endpoint = explored(workdir, an_idea, config)
  _, _, request = endpoint.requests[-1]
  assert request['messages'][1]['content'] == '<action>open box 1</action>'
  assert request['chat_template_kwargs'] == {'date_string': '7 May 2025'}
  config.prepare.answer_format = 'plain'
  with pytest.raises(UserError, match="answer_format was 'tags', is 'plain'"):
    explored(workdir, an_idea, config)


def test_it_comes_after_the_policy_and_before_the_admissible_list(workdir):
  config = settings(k=4, shares={'uniform': 1.0, 'openai': 1.0})
  _, trajectories, _ = explored(workdir, an_idea, config)
  for step in trajectories[2].steps:
    found = sorted(other.proposer.split('+')[0] for other in step.alternatives)
    assert found == ['openai'] * 2 + ['uniform'] * 2


def test_what_several_propose_bears_all_their_names(workdir):
  """So that the uniform draw is uniform, whatever a model thought of."""
  config = settings(k=4, shares={'uniform': 3.0, 'openai': 1.0})
  _, trajectories, _ = explored(workdir, lambda *_: 'look', config)
  for step in (step for t in trajectories for step in t.steps):
    (one,) = (a for a in step.alternatives if a.action == 'look')
    assert one.proposer == 'openai+uniform'
    drawn = {a.action for a in step.alternatives if a.is_by({'uniform'})}
    assert drawn == set(step.admissible) - {step.action}


def test_an_environment_that_lists_no_actions_is_explored(tmp_path, workdir):
  env = ToyEnv(lists=False)
  collect.collect_from(env, settings(), tmp_path / 'free')
  summary, _, _ = explored(tmp_path / 'free', an_idea, env=env)
  assert summary['branches'] == 22 and summary['invalid'] > 0


def failing(prompt, attempt):
  """One of two samples of each state; none where a box was opened."""
  broken = attempt % 2 or 'You open' in prompt
  return (400, {}) if broken else 'look'


def test_a_request_without_an_answer_is_a_proposal_less(workdir, capsys):
  summary, trajectories, _ = explored(workdir, failing)
  found = [len(step.alternatives) for t in trajectories for step in t.steps]
  assert found == [1, 0] + [1, 0, 0] + [1, 0, 0, 0] + [1, 0]
  assert summary['answers']['requests'] == 2 * 11
  assert summary['answers']['failed'] == {'refused': 4 + 2 * 7}
  assert 'failed: 18 refused' in capsys.readouterr().out


def test_a_killed_run_continues_and_counts_all(workdir, monkeypatch):
  monkeypatch.setattr(proposals, 'GROUP', 2)

  class Dies(ToyEnv):
    def reset(self, task):
      if task.id == 'train-2':
        raise KeyboardInterrupt
      return super().reset(task)

  with pytest.raises(KeyboardInterrupt):
    explored(workdir, failing, env=Dies())
  summary, _, endpoint = explored(workdir, failing)
  assert summary['answers']['failed'] == {'refused': 18}
  assert len(endpoint.requests) == 9, 'nor is what was answered before'


def test_another_model_is_another_exploration_another_address_is_not(workdir):
  explored(workdir, an_idea)
  explored(workdir, an_idea)
  with pytest.raises(UserError, match="model was 'tiny', is 'big'"):
    explored(workdir, an_idea, settings(model='big'))


def test_a_truncated_answer_proposes_nothing_and_is_counted(workdir):
  cut = {'message': {'content': 'go to the bo'}, 'finish_reason': 'length'}
  answer = lambda _, attempt: (
    'look' if attempt % 2 else (200, {'choices': [cut]})
  )
  summary, trajectories, _ = explored(workdir, answer)
  assert summary['answers']['truncated'] == 11 == summary['branches']
  actions = [
    a.action for t in trajectories for s in t.steps for a in s.alternatives
  ]
  assert set(actions) == {'look'}


def test_an_environment_may_hide_the_experts_tool_from_models(workdir):
  class Tools(ToyEnv):
    def without(self, instruction, action):
      return f'{instruction} Do not {action.split()[0]}.'

  _, trajectories, endpoint = explored(workdir, an_idea, env=Tools())
  opened = [r['messages'][0]['content'] for *_, r in endpoint.requests]
  starts = {text.split('\n')[0] for text in opened}
  assert starts == {
    'Take the coin. Do not open.',
    'Take the coin. Do not take.',
  }
  assert trajectories[0].instruction == 'Take the coin.'


def test_a_model_is_asked_for_its_share_alone(workdir):
  config = settings(k=4, shares={'uniform': 1.0, 'openai': 1.0})
  config.explore.openai.temperatures = (0.5, 0.8, 0.9)
  _, _, endpoint = explored(workdir, an_idea, config)
  assert len(endpoint.requests) == 2 * 6
  asked = [request['temperature'] for *_, request in endpoint.requests]
  assert asked == [0.5, 0.8] * 6


def test_the_estimate_comes_before_the_first_request(workdir, capsys):
  config = settings(max_total_tokens=1)
  with pytest.raises(UserError, match='openai.max_total_tokens=1; .* --yes'):
    explored(workdir, an_idea, config)
  assert not (workdir / 'explore').exists()
  explored(workdir, an_idea)
  said = capsys.readouterr().out
  assert 'explore: wants 22 answers of tiny, 10 of them known or alike' in said


def test_the_world_model_may_learn_from_some_proposers_alone(workdir):
  """Appendix B.1: from uniform ones, while reflections weigh the policy's."""
  config = settings(k=4, shares={'uniform': 1.0, 'openai': 1.0})
  explored(workdir, an_idea, config)
  rows = {'datasets': ('world_model',), 'k': 4, 'proposers': ('uniform',)}
  config.prepare.rows = {'world': rows}
  source = sources.find(workdir, config.prepare, summarised=False)
  source.split(0.0, 0)

  class Coder:
    encode_script = staticmethod(lambda script: [script])

  groups = list(source.groups(config.prepare.rows.world, Coder()))
  tried = [group.sequences[1:] for group in groups]  # but the episode itself
  actions = [s[-2].text for sequences in tried for s in sequences]
  assert len(actions) >= 2 * 11
  assert not {'sit', 'fly', 'jump'} & set(actions), "which are a model's alone"
  config.prepare.rows.world.proposers = ('me',)
  with pytest.raises(UserError, match="rows.world.proposers is 'me', not one"):
    settled(config)


def test_bad_input_ends_in_one_line_and_leaves_nothing(workdir, monkeypatch):
  with pytest.raises(UserError, match='config.explore.openai.model is empty'):
    explored(workdir, an_idea, settings(model=''))
  with pytest.raises(UserError, match='HTTP 401: the key in OPENAI_API_KEY'):
    explored(workdir, lambda *_: (401, {}))
  with pytest.raises(UserError, match='answered none of 12 requests'):
    explored(workdir, lambda *_: (503, {}))
  monkeypatch.delenv('OPENAI_API_KEY')
  with pytest.raises(UserError, match=r'named by config.explore.openai.base'):
    explore.explore_in(ToyEnv(), settings(), workdir)
  summary, _, _ = explored(workdir, an_idea)
  counts = collections.Counter(summary['by_proposer'])
  assert counts['openai'] == 22, 'no key is needed where an address is given'
