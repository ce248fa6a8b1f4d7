"""Language models: what comes back, and what goes wrong."""

import asyncio
import time

import pytest

from early_experience.language.answer import Answer, Failure
from early_experience.language.model import LanguageModel
from early_experience.runtime.errors import UserError
from tests.fake_endpoint import FakeEndpoint
from tests.language_case import KEY, asks, completion, echo, say, settings

pytest.importorskip('openai')


@pytest.fixture(autouse=True)
def key(monkeypatch):
  monkeypatch.setenv('OPENAI_API_KEY', KEY)


@pytest.mark.parametrize('count', [10**30, -1, 2.5, '3', None])
def test_counts_of_tokens_that_are_none_are_0(tmp_path, count):
  (answer,), _ = asks(
    tmp_path, lambda *_: completion('a', used=(count, 7)), [say('a')]
  )
  assert (answer.input_tokens, answer.output_tokens) == (0, 7)


def test_a_text_that_is_no_unicode_is_mended(tmp_path):
  half = '{"choices": [{"message": {"content": "a \\ud800 b"}}]}'
  for _ in range(2):
    (answer,), _ = asks(tmp_path, lambda *_: (200, half), [say('a')])
    assert answer.text == 'a ? b'


@pytest.mark.parametrize('name', ['reasoning_content', 'reasoning'])
def test_thoughts_that_a_server_took_out_are_known_and_not_said(tmp_path, name):
  message = {'content': 'look', name: 'Why not.'}
  body = {'choices': [{'message': message}]}
  (answer,), _ = asks(tmp_path, lambda *_: (200, body), [say('a')])
  assert (answer.text, answer.thought) == ('look', 'Why not.')
  (again,), sent = asks(tmp_path, lambda *_: '', [say('a')])
  assert again.thought == 'Why not.' and not sent


HTML = '<!doctype html><html><body>502 Bad gateway</body></html>'


TOO = 'too long'
BAD = (
  ((200, HTML), 'malformed'),
  ((200, '{"choices": '), 'malformed'),
  ((200, '[]'), 'malformed'),
  ((200, '[' * 99_999), 'malformed'),
  ((200, '.' * 55 + KEY), 'malformed'),
  ((200, 'null'), 'malformed'),
  ((200, {'error': {'message': 'later'}}), 'malformed'),
  ((200, {'choices': []}), 'malformed'),
  ((200, {'choices': [{'message': None}]}), 'malformed'),
  ((200, {'choices': [{'message': {'content': [1]}}]}), 'malformed'),
  ((200, {'choices': [{'message': {}}], 'usage': [3]}), 'malformed'),
  ((400, {'error': {'message': 'too long'}}), 'refused'),
  ((400, {'error': {'message': 'exceeds the available context size'}}), TOO),
  ((400, {'error': {'message': 'beyond the context window'}}), TOO),
  ((400, {'error': {'message': '', 'code': 'context_length_exceeded'}}), TOO),
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
    assert KEY[:3] not in failure.detail


def test_a_slow_answer_and_a_dead_endpoint_have_reasons(tmp_path):
  def slow(prompt, _):
    time.sleep(4.5 if prompt == 'slow' else 0)
    return prompt

  (_, late), _ = asks(
    tmp_path, slow, [say('fast'), say('slow')], timeout_seconds=4.0
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
  reply = lambda prompt, _: 'now' if prompt == 'a' else (500, {})
  (_, failed), _ = asks(tmp_path / 'b', reply, [say('a'), say('b')], retries=1)
  assert (failed.reason, failed.retries) == ('server', 1)


def test_an_hour_is_not_too_long_to_wait_but_more_is(tmp_path, monkeypatch):
  waited, sleep = [], asyncio.sleep

  def noted(seconds, *args):
    waited.append(seconds)
    return sleep(0, *args)

  monkeypatch.setattr(asyncio, 'sleep', noted)
  busy = lambda seconds: (429, {}, {'retry-after': str(seconds)})
  reply = lambda *_: 'now' if 3600 in waited else busy(3600)
  (answer,), _ = asks(tmp_path, reply, [say('a')], retries=1)
  assert answer == Answer('now', retries=2) and waited.count(3600) == 1
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
