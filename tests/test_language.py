"""Language models: what is asked twice, and what goes wrong."""

import asyncio
import subprocess
import sys
import time

import pytest

from early_experience.errors import UserError
from early_experience.language import model
from early_experience.language.answer import Answer, Chat, Failure
from early_experience.language.cache import Cache
from early_experience.language.model import LanguageModel, talker
from early_experience.language.settings import endpoint
from tests.fake_endpoint import FakeEndpoint

pytest.importorskip('openai')

KEY = 'sk-a+very/secret"key'


@pytest.fixture(autouse=True)
def key(monkeypatch):
  monkeypatch.setenv('OPENAI_API_KEY', KEY)


def settings(**changes):
  config = endpoint(temperature=0.0, max_tokens=20)
  config.update({'model': 'tiny', 'retries': 0, 'concurrency': 1, **changes})
  return config


def asks(folder, answer, chats, **changes):
  """Answers, and what the endpoint was sent."""
  with FakeEndpoint(answer) as server:
    config = settings(base_url=server.url, **changes)
    answers = LanguageModel(config, 'config.x', folder).ask(chats)
    return answers, [request for *_, request in server.requests]


def say(*texts, prompt='', sample=0):
  messages = [{'role': 'user', 'content': text} for text in texts]
  return Chat(messages, prompt, sample)


def completion(text, finish='stop', used=(0, 0)):
  return 200, {
    'choices': [{'message': {'content': text}, 'finish_reason': finish}],
    'usage': {'prompt_tokens': used[0], 'completion_tokens': used[1]},
  }


def echo(prompt, attempt):
  return f'{prompt} {attempt}'


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


def test_a_text_that_is_no_unicode_is_mended(tmp_path):
  half = '{"choices": [{"message": {"content": "a \\ud800 b"}}]}'
  for _ in range(2):
    (answer,), _ = asks(tmp_path, lambda *_: (200, half), [say('a')])
    assert answer.text == 'a ? b'


def test_a_file_that_is_no_cache_is_named(tmp_path):
  (tmp_path / 'answers.sqlite').write_text('no table ' * 99)
  with pytest.raises(UserError, match='answers.sqlite: file is not a database'):
    LanguageModel(settings(), 'config.x', tmp_path)


HTML = '<!doctype html><html><body>502 Bad gateway</body></html>'


BAD = (
  ((200, HTML), 'malformed'),
  ((200, '{"choices": '), 'malformed'),
  ((200, '[]'), 'malformed'),
  ((200, '[' * 99_999), 'malformed'),
  ((200, 'null'), 'malformed'),
  ((200, {'error': {'message': 'later'}}), 'malformed'),
  ((200, {'choices': []}), 'malformed'),
  ((200, {'choices': [{'message': None}]}), 'malformed'),
  ((200, {'choices': [{'message': {'content': [1]}}]}), 'malformed'),
  ((200, {'choices': [{'message': {}}], 'usage': [3]}), 'malformed'),
  ((400, {'error': {'message': 'too long'}}), 'refused'),
  ((413, HTML), 'refused'),
  ((429, {'error': {'message': 'slow down'}}), 'rate limit'),
  ((500, HTML), 'server'),
  ((200, {'choices': [{'message': {'content': None}}]}), 'empty'),
  (' \n', 'empty'),
  (completion('', 'length'), 'truncated'),
)


def test_what_is_no_answer_has_a_reason(tmp_path):
  replies = {f'bad {i}': answer for i, (answer, _) in enumerate(BAD)}
  reply = lambda prompt, _: replies.get(prompt, 'good')
  chats = [say(prompt) for prompt in (*replies, 'good')]
  (*bad, good), _ = asks(tmp_path, reply, chats)
  assert good.text == 'good'
  for failure, (answer, reason) in zip(bad, BAD, strict=True):
    assert isinstance(failure, Failure), answer
    assert failure.reason == reason, answer
    assert '\n' not in failure.detail and len(failure.detail) <= 200


def test_a_slow_answer_and_a_dead_endpoint_have_reasons(tmp_path):
  def slow(prompt, _):
    time.sleep(0.5 if prompt == 'slow' else 0)
    return prompt

  (_, late), _ = asks(
    tmp_path, slow, [say('fast'), say('slow')], timeout_seconds=0.2
  )
  assert late.reason == 'timeout'
  with FakeEndpoint(echo) as server:
    config = settings(base_url=server.url)
  with pytest.raises(UserError, match='answered none of 1 .*APIConnection'):
    LanguageModel(config, 'config.x').ask([say('a')])


def test_a_limited_rate_is_waited_for(tmp_path):
  reply = lambda _, attempt: (429, {}) if attempt < 4 else 'now'
  (answer,), sent = asks(tmp_path, reply, [say('a')], retries=3)
  assert answer == Answer('now', retries=3) and len(sent) == 4


def test_an_hour_is_not_too_long_to_wait_but_more_is(tmp_path, monkeypatch):
  waited, sleep = [], asyncio.sleep

  def noted(seconds, *args):
    waited.append(seconds)
    return sleep(0, *args)

  monkeypatch.setattr(asyncio, 'sleep', noted)
  busy = lambda seconds: (429, {}, {'retry-after': str(seconds)})
  reply = lambda *_: 'now' if 3600 in waited else busy(3600)
  (answer,), _ = asks(tmp_path, reply, [say('a')], retries=1)
  assert answer.text == 'now' and waited.count(3600) == 1
  with pytest.raises(UserError, match='RateLimitError'):
    asks(tmp_path, lambda *_: busy(3601), [say('b')], retries=1)
  assert 3601 not in waited


def test_truncated_and_doubled_answers_are_known(tmp_path):
  once = 'The drawer holds a cup, which is what the task asks for.'
  replies = {'cut': completion(once, 'length'), 'twice': once + '\n' + once}
  (cut, twice), _ = asks(
    tmp_path, lambda prompt, _: replies[prompt], [say('cut'), say('twice')]
  )
  assert cut.truncated and not cut.doubled
  assert twice == Answer(once, doubled=True)


def test_a_copy_may_be_cut_off_and_thoughts_are_not_said(tmp_path):
  once = 'The drawer holds a cup, which is what the task asks for.'
  replies = {
    'loop': completion(f'{once} {once} {once[:30]}', 'length'),
    'thought': f'<think>A cup?</think>\n\n{once}',
    'ends a thought': f'A cup?</think>{once}',
    'thinks on': completion('<think>Let me see. A cup', 'length'),
  }
  (*said, failed), _ = asks(
    tmp_path, lambda prompt, _: replies[prompt], list(map(say, replies))
  )
  assert [answer.text for answer in said] == [once] * 3
  assert [answer.doubled for answer in said] == [True, False, False]
  assert not any(answer.truncated for answer in said)
  assert failed.reason == 'truncated'


def test_the_key_is_nowhere_but_in_the_header(tmp_path, capfd):
  """Also where a server says it back, in answers and in errors."""
  chats = [say('ok'), say('said'), say('refused')]
  replies = {
    'ok': 'fine',
    'said': f'Your key is {KEY}.',
    'refused': (400, {'error': {'message': f'bad key {KEY}'}}),
  }
  reply = lambda prompt, _: replies[prompt]
  (_, said, refused), _ = asks(tmp_path, reply, chats)
  assert said.text == 'Your key is OPENAI_API_KEY.'
  shown = [repr(said), repr(refused)]
  broken = {401: 'is refused', 500: 'none of 1'}
  for status, what in broken.items():
    with pytest.raises(UserError, match=what) as error:
      asks(tmp_path, lambda *_, s=status: (s, f'{KEY} {KEY!r}'), [say('new')])
    shown.append(str(error.value))
  shown += capfd.readouterr()
  kept = b''.join(p.read_bytes() for p in tmp_path.rglob('*') if p.is_file())
  for part in ('very', 'secret'):
    assert not any(part in text for text in shown), shown
    assert part.encode() not in kept


def test_a_password_in_an_address_is_not_shown():
  config = settings(base_url='http://me:hush@127.0.0.1:9/v1?token=hush')
  with pytest.raises(UserError, match='http://127.0.0.1:9/v1 ') as error:
    LanguageModel(config, 'config.x').ask([say('a')])
  assert 'hush' not in str(error.value)


@pytest.mark.parametrize(
  'changes, said',
  [
    ({'concurrency': 0}, 'config.x.concurrency is 0, below 1'),
    ({'retries': -1}, 'config.x.retries is -1, below 0'),
    ({'max_tokens': 0}, 'config.x.max_tokens is 0, below 1'),
    ({'base_url': 'me:hush@host:1/v1'}, 'config.x.base_url does not begin'),
  ],
)
def test_wrong_settings_are_named_before_anything_is_asked(changes, said):
  with pytest.raises(UserError, match=said) as error:
    LanguageModel(settings(**changes), 'config.x')
  assert 'hush' not in str(error.value)


def test_a_key_is_taken_without_the_end_of_its_line(tmp_path, monkeypatch):
  monkeypatch.setenv('OPENAI_API_KEY', f'{KEY}\n')
  with FakeEndpoint(echo) as server:
    model = LanguageModel(settings(base_url=server.url), 'config.x')
    assert model.ask([say('a')])[0].text == 'a 1'
    assert server.requests[0][1]['Authorization'] == f'Bearer {KEY}'
  monkeypatch.setenv('OPENAI_API_KEY', f'{KEY}\n{KEY}')
  with pytest.raises(UserError, match='OPENAI_API_KEY holds a char') as error:
    LanguageModel(settings(), 'config.x')
  assert 'secret' not in str(error.value)


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
