"""Language models: what is asked twice, and what is kept."""

import sqlite3
import subprocess
import sys
import threading

import pytest

from early_experience.language import model
from early_experience.language.answer import Answer
from early_experience.language.cache import Cache
from early_experience.language.model import LanguageModel, talker
from early_experience.runtime.errors import UserError
from tests.fake_endpoint import FakeEndpoint
from tests.language_case import KEY, asks, echo, say, settings

pytest.importorskip('openai')


@pytest.fixture(autouse=True)
def key(monkeypatch):
  monkeypatch.setenv('OPENAI_API_KEY', KEY)


def test_what_was_answered_is_not_asked_again(tmp_path):
  chats = [say('a'), say('b'), say('a')]
  first, sent = asks(tmp_path, echo, chats)
  assert [answer.text for answer in first] == ['a 1', 'b 1', 'a 1']
  assert [answer.cached for answer in first] == [False, False, True]
  assert len(sent) == 2
  again, sent = asks(tmp_path, echo, chats)
  assert [answer.text for answer in again] == ['a 1', 'b 1', 'a 1']
  assert all(answer.cached for answer in again) and not sent


def test_another_request_is_another_answer(tmp_path):
  with FakeEndpoint(echo) as server:

    def sent(chat, **changes):
      before = len(server.requests)
      config = settings(base_url=server.url, **changes)
      LanguageModel(config, 'config.x', tmp_path).ask([chat])
      return len(server.requests) - before

    assert sent(say('a')) == 1
    assert sent(say('a')) == 0
    assert sent(say('b')) == 1
    assert sent(say('a', 'a')) == 1
    assert sent(say('a', prompt='summary-1')) == 1
    assert sent(say('a', prompt='summary-2')) == 1
    assert sent(say('a'), model='other') == 1
    assert sent(say('a'), temperature=0.5) == 1
    assert sent(say('a', sample=1), temperature=0.5) == 1
    assert sent(say('a'), max_tokens=21) == 1
    assert sent(say('a'), template_kwargs={'enable_thinking': False}) == 1


def test_neither_address_nor_speed_nor_price_makes_another_request(tmp_path):
  asks(tmp_path, echo, [say('a')])
  _, sent = asks(tmp_path, echo, [say('a')], retries=1, input_price=2.0)
  assert not sent, 'and the port was another one'


def test_samples_differ_where_chance_does_and_temperatures_take_turns(tmp_path):
  chats = [say('a', sample=sample) for sample in range(4)]
  answers, sent = asks(tmp_path, echo, chats)
  assert len(sent) == 1, 'at temperature 0 they are the same'
  answers, sent = asks(tmp_path, echo, chats, temperatures=(0.5, 0.8, 0.9))
  assert [request['temperature'] for request in sent] == [0.5, 0.8, 0.9, 0.5]
  assert len({answer.text for answer in answers}) == 4


def test_who_opens_a_file_waits_for_whoever_begins_it(tmp_path):
  path = tmp_path / 'answers.sqlite'
  other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
  other.execute('begin immediate')
  threading.Timer(0.3, other.execute, ['commit']).start()
  assert Cache(path).find('a') is None


def test_answers_survive_a_kill_and_serve_many_processes(tmp_path):
  script = """
import os, signal, sys
from early_experience.language.answer import Answer
from early_experience.language.cache import Cache
cache = Cache(sys.argv[1])
for i in range(50):
  cache.keep(f'{sys.argv[2]} {i}', 'm', '', Answer(f'{i} é'))
os.kill(os.getpid(), signal.SIGKILL)
"""
  path = tmp_path / 'answers.sqlite'
  command = [sys.executable, '-c', script, str(path)]
  running = [subprocess.Popen([*command, name]) for name in 'ab']
  assert [process.wait() for process in running] == [-9, -9]
  cache = Cache(path)
  for name in 'ab':
    texts = [cache.find(f'{name} {i}').text for i in range(50)]
    assert texts == [f'{i} é' for i in range(50)]


def test_of_two_processes_that_ask_at_once_both_are_told_the_same(
  tmp_path, monkeypatch
):
  class Slow:
    name, address, request = 'tiny', 'here', {'max_tokens': 9}

    def answer(self, chats, keep):
      if self is slow:  # meanwhile another asks, and is answered
        monkeypatch.setattr(model, '_backend', lambda *_: Slow())
        other = LanguageModel(settings(), 'config.x', tmp_path)
        told.extend(other.ask([chat for chat, _ in chats]))
      answers = [Answer('late' if self is slow else 'soon', False, False, 5)]
      keep(0, answers[0])
      return answers

  slow, told = Slow(), []
  monkeypatch.setattr(model, '_backend', lambda *_: slow)
  told += LanguageModel(settings(), 'config.x', tmp_path).ask([say('a')])
  assert [(a.text, a.input_tokens, a.cached) for a in told] == [
    ('soon', 5, False)
  ] * 2


def test_a_file_that_is_no_cache_is_named(tmp_path):
  (tmp_path / 'answers.sqlite').write_text('no table ' * 99)
  with pytest.raises(UserError, match='answers.sqlite: file is not a database'):
    LanguageModel(settings(), 'config.x', tmp_path)


@pytest.mark.parametrize(
  'changes, said',
  [
    ({'max_cost': 2.0}, 'config.x.max_cost=2 limits nothing: input_price and'),
    ({'base_url': 'me:hush@host:1/v1'}, 'config.x.base_url does not begin'),
  ],
)
def test_wrong_settings_are_named_before_anything_is_asked(changes, said):
  with pytest.raises(UserError, match=said) as error:
    LanguageModel(settings(**changes), 'config.x')
  assert 'hush' not in str(error.value)


def test_a_talker_says_the_same_when_an_episode_is_played_again(tmp_path):
  messages = [{'role': 'user', 'content': 'Hello?'}]
  path = str(tmp_path / 'talk.sqlite')
  with FakeEndpoint(echo) as server:
    how = {'model': 'tiny', 'base_url': server.url, 'cache': path}
    for _ in range(2):
      user = talker(how | {'temperature': 0.7}, 'config.env.kwargs.user')
      assert user.reply(messages) == 'Hello? 1'
  with FakeEndpoint(lambda *_: '') as server:
    user = talker(how | {'base_url': server.url, 'model': 'x'}, 'kwargs.user')
    with pytest.raises(UserError, match='kwargs.user: x did not answer: empty'):
      user.reply(messages)


@pytest.mark.parametrize(
  'wrong, said',
  [
    ({'modle': 'tiny'}, 'config.env.kwargs.user: .*modle'),
    ({'temperature': 'hot'}, 'config.env.kwargs.user: .*temperature'),
    ({'model': 'tiny'}, 'config.env.kwargs.user.cache is empty'),
  ],
)
def test_a_talkers_settings_are_checked(wrong, said):
  with pytest.raises(UserError, match=said):
    talker(wrong, 'config.env.kwargs.user')


def picky(request):
  """As the newest models of OpenAI answer."""
  for key, said in (
    (
      'max_tokens',
      "Unsupported parameter: 'max_tokens' is not supported with this model."
      " Use 'max_completion_tokens' instead.",
    ),
    (
      'temperature',
      "Unsupported value: 'temperature' does not support 0.4 with this model.",
    ),
  ):
    if key in request:
      return 400, {'error': {'message': said, 'param': key}}
  return f'{request["max_completion_tokens"]} tokens'


def test_a_server_that_takes_neither_max_tokens_nor_a_temperature(tmp_path):
  with FakeEndpoint(lambda *_: picky(server.requests[-1][-1])) as server:

    def ask(**changes):
      config = settings(base_url=server.url, temperature=0.4, **changes)
      chats = [say('a', sample=sample) for sample in range(2)]
      return LanguageModel(config, 'config.x', tmp_path).ask(chats)

    with pytest.raises(UserError, match=r'; set config.x.token_limit=max_comp'):
      ask()
    named = {'token_limit': 'max_completion_tokens'}
    with pytest.raises(UserError, match='; set config.x.sends_temperature=Fal'):
      ask(**named)
    first, second = ask(**named, sends_temperature=False)
    assert first.text == second.text == '20 tokens'
    assert not first.cached and not second.cached, "the chance is the server's"
    assert set(server.requests[-1][-1]) == {
      'model',
      'messages',
      'max_completion_tokens',
    }


def test_the_name_of_the_limit_makes_no_other_answer(tmp_path):
  asks(tmp_path, echo, [say('a')])
  named = {'token_limit': 'max_completion_tokens'}
  _, sent = asks(tmp_path, echo, [say('a')], **named)
  assert not sent


def test_no_temperature_beside_several():
  config = settings(temperatures=(0.1, 0.2), sends_temperature=False)
  with pytest.raises(UserError, match='leave temperatures and checkpoint'):
    LanguageModel(config, 'config.x')
