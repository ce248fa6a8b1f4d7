"""What asking language models takes: estimated before, counted after."""

import pytest

from early_experience import collect, evaluate, explore
from early_experience.config import default, endpoint
from early_experience.envs.interface import Turn
from early_experience.language import __main__ as language
from early_experience.language import accounting
from early_experience.language.answer import Chat
from early_experience.language.model import LanguageModel, talker
from early_experience.reporting import bookkeeping
from early_experience.runtime.errors import UserError
from tests.fake_endpoint import FakeEndpoint
from tests.toy_env import ToyEnv

pytest.importorskip('openai')


@pytest.fixture(autouse=True)
def key(monkeypatch):
  monkeypatch.setenv('OPENAI_API_KEY', 'sk-very-secret')


def settings(**changes):
  config = endpoint(temperature=0.0, max_tokens=20)
  config.update({'model': 'tiny', 'retries': 0, **changes})
  return config


def asks(folder, chats):
  with FakeEndpoint(lambda *_: completion('yes')) as server:
    config = settings(base_url=server.url)
    return LanguageModel(config, 'config.x', folder).ask(chats)


def completion(text):
  return 200, {
    'choices': [{'message': {'content': text}}],
    'usage': {'prompt_tokens': 100, 'completion_tokens': 20},
  }


def say(text):
  return Chat([{'role': 'user', 'content': text}])


def test_tokens_are_counted_as_the_server_does_and_paid_once(tmp_path):
  chats = [say('a'), say('b'), say('a')]
  answers = asks(tmp_path, chats)
  prices = accounting.Prices.of(settings(input_price=2.0, output_price=10.0))
  found = accounting.total([accounting.count(answers, prices)])
  assert (found['input_tokens'], found['output_tokens']) == (200, 40)
  assert found['cost'] == pytest.approx((200 * 2 + 40 * 10) / 1e6)
  assert (found['requests'], found['cached'], found['failed']) == (3, 1, {})
  again = asks(tmp_path, chats)
  assert accounting.total([accounting.count(again, prices)])['cost'] == 0


def test_an_estimate_counts_what_is_not_on_disk(tmp_path, capsys):
  asks(tmp_path, [say('a')])
  asked = LanguageModel(settings(output_price=1e5), 'config.x', tmp_path)
  found = asked.estimate([say(t) for t in ('a', 'x' * 41, 'é' * 4, 'é' * 4)])
  assert (found.requests, found.cached) == (4, 2)
  assert found.input_tokens == (4 + 11) + (4 + 2), (
    'a token for 4 bytes of UTF-8'
  )
  assert found.output_tokens == 2 * 20
  assert found.cost == pytest.approx(4.0)


@pytest.mark.parametrize(
  'limits, above',
  [
    ({'max_cost': 1.9}, 'max_cost=1.9'),
    ({'max_total_tokens': 24}, 'max_total_tokens=24'),
    ({'max_cost': 2.0, 'max_total_tokens': 25}, None),
    ({}, None),
  ],
)
def test_above_a_limit_the_user_has_to_say_yes(limits, above, capsys):
  config = settings(output_price=1e5, **limits)
  asked = LanguageModel(config, 'config.x')
  if above is None:
    accounting.announce('explore', asked, [say('a')])
  else:
    with pytest.raises(UserError, match=f'config.x.{above}; .* --yes'):
      accounting.announce('explore', asked, [say('a')])
    accounting.announce('explore', asked, [say('a')], confirmed=True)
  said = capsys.readouterr().out
  assert 'wants 1 answers of tiny, 0 of them known or alike; about 5 ' in said
  assert 'at most 20 out, cost at most 2.00' in said


def test_what_an_environment_asks_by_itself_is_in_the_summaries(
  tmp_path, capsys
):
  """As one whose users are simulated; it does not know what it will ask."""

  class Talks(ToyEnv):
    def reset(self, task):
      turn = super().reset(task)
      return Turn(f'{user.reply(say(task.id).messages)} {turn.observation}')

    def answers(self):
      return user.replied()

  config = default()
  config.env.name = 'toy'
  config.collect.trajectories, config.explore.k = 2, 1
  config.evaluate.update(policy='random', splits=('test',), tasks=2)
  with FakeEndpoint(lambda *_: completion('Hello.')) as server:
    how = {'base_url': server.url, 'model': 'tiny', 'input_price': 1e4}
    user = talker(how | {'cache': str(tmp_path / 'said')}, 'config.user')
    stages = [
      collect.collect_from(Talks(), config, tmp_path),
      explore.explore_in(Talks(), config, tmp_path),
      evaluate.evaluate_in(Talks, config, tmp_path),
    ]
  found = [stage['environment_answers'] for stage in stages]
  assert [f['requests'] - f['cached'] for f in found] == [2, 0, 2]
  assert [f['input_tokens'] for f in found] == [200, 0, 200]
  assert [f['cost'] for f in found] == [2.0, 0.0, 2.0]
  said = capsys.readouterr().out
  for stage in ('collect', 'explore', 'evaluate unnamed'):
    assert f'{stage}, its environment: ' in said
  assert collect.collect_from(Talks(), config, tmp_path) == stages[0]
  with pytest.raises(UserError, match='config.user has max_cost'):
    talker(how | {'cache': 'x', 'max_cost': 1.0}, 'config.user')


def test_all_that_was_paid_is_listed(tmp_path):
  asks(tmp_path, [say('a'), say('b')])
  asks(tmp_path, [Chat(say('a').messages, 'summary-1'), say('a')])
  lines = language.table(str(tmp_path)).splitlines()
  assert [line.split() for line in lines] == [
    ['model', 'prompt', 'answers', 'tokens', 'in', 'tokens', 'out'],
    ['tiny', '-', '2', '200', '40'],
    ['tiny', 'summary-1', '1', '100', '20'],
    ['all', '3', '300', '60'],
  ]
  asks(tmp_path / 'round-1', [say('a'), say('b')])
  asks(tmp_path / 'first', [say('c')])
  assert bookkeeping.answers(tmp_path) == [
    ('tiny', '', 5, 500, 100),
    ('tiny', 'summary-1', 1, 100, 20),
  ]
  with pytest.raises(UserError, match='nothing does not exist'):
    language.table(str(tmp_path / 'nothing'))
