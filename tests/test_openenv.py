"""OpenEnv servers are played as any environment; their faults are named."""

import http.server
import importlib
import json
import socket
import threading

import pytest
from ml_collections import ConfigDict

from early_experience import config as settings
from early_experience.collect import collect, collect_from
from early_experience.envs import registry
from early_experience.envs.openenv.environment import OpenEnv
from early_experience.experience import records
from early_experience.explore import explore
from early_experience.runtime.errors import UserError

pytest.importorskip('websockets')

KWARGS = {
  'observation': 'text',
  'action': {'message': '{action}', 'volume': 2},
  'instruction': 'goal',
  'admissible': 'can',
  'tasks': {
    'train': [0, 1, 2],
    'test': [{'id': 'ajar', 'seed': 4, 'options': {'lid': 'ajar'}}],
  },
  'timeout_seconds': 60.0,
}


@pytest.fixture(scope='module')
def boxes():
  pytest.importorskip('openenv', reason='pip install openenv-core==0.3.0')
  pytest.importorskip('fastapi', reason='pip install fastapi uvicorn')
  return importlib.import_module('tests.openenv_boxes')


@pytest.fixture(scope='module')
def url(boxes):
  with boxes.served() as address:
    yield address


@pytest.fixture
def env(url):
  made = OpenEnv(base_url=url, **KWARGS)
  yield made
  made.close()


def begin(env, split='train'):
  return env.reset(env.tasks(split)[0])


def test_an_episode(env):
  assert begin(env).observation == 'Three boxes, all shut.'
  assert env.instruction == 'Take the coin.'
  assert env.admissible() == ('open 1', 'open 2', 'open 3')
  assert env.step('open 1').observation == 'There is a coin.'
  assert env.admissible() == ('open 2', 'open 3', 'take')
  turn = env.step('take')
  assert (turn.done, turn.success, turn.score) == (True, True, 1.0)
  assert begin(env, 'test').observation == 'Three boxes, all ajar.'


def test_an_action_that_it_rejects_is_an_answer_in_its_words(url):
  env = OpenEnv(base_url=url, **KWARGS | {'admissible': '', 'action': {}})
  begin(env)
  say = '{"message": "%s"}'
  turn = env.step(say % 'fly')
  assert (turn.observation, turn.valid) == ('You cannot fly.', False)
  turn = env.step('{"massage": "whisper"}')
  assert turn.observation.startswith('Invalid message; message: Field required')
  assert not turn.valid
  turn = env.step('open 1')
  assert turn.observation.startswith('This is no JSON object: ')
  turn = env.step('[1]')
  assert turn.observation == 'This is no JSON object: it is list'
  turn = env.step('{"message": "whisper", "volume": 3}')
  assert (turn.observation, turn.valid) == ('You whisper at 3.', True)
  env.close()


def test_objects_are_equal_whatever_their_order(url):
  env = OpenEnv(base_url=url, **KWARGS | {'action': {}})
  assert env.canonical('{"b": 1,  "a": 2}') == '{"a": 2, "b": 1}'
  assert env.canonical(' open ') == 'open'
  assert OpenEnv(base_url=url, **KWARGS).canonical('{"b":1}') == '{"b":1}'


def test_all_of_the_observation_may_be_shown_and_a_key_say_success(url):
  env = OpenEnv(base_url=url, **KWARGS | {'observation': '', 'success': 'won'})
  assert json.loads(begin(env).observation)['text'] == 'Three boxes, all shut.'
  env.step('open 1')
  assert env.step('take').success
  env.close()


def test_sessions_are_independent(url, env):
  other = OpenEnv(base_url=url, **KWARGS)
  begin(env)
  begin(other)
  env.step('open 1')
  assert 'open 1' in other.admissible()
  assert not other.step('take').valid
  other.close()


def test_collect_and_explore_by_workers_that_replay(url, tmp_path):
  path = tmp_path / 'expert.jsonl'
  path.write_text(
    ''.join(
      json.dumps({'task': i, 'actions': [f'open {i + 1}', 'take']}) + '\n'
      for i in range(3)
    )
  )
  config = settings.default()
  config.env.name = 'openenv'
  config.env.kwargs = {
    'base_url': url,
    'demonstrations': str(path),
    **KWARGS,
  }
  config.collect.trajectories = 3
  config.explore.k = 2
  config.cluster.workers = 2
  assert collect(config, str(tmp_path))['trajectories'] == 3
  assert explore(config, str(tmp_path))['set_aside'] == {}
  for trajectory in records.read(tmp_path / 'explore'):
    coin = int(trajectory.task_id) + 1
    first, second = trajectory.steps
    for found in first.alternatives:
      assert (found.observation, found.valid) == ('There is nothing.', True)
    assert len(first.alternatives) == len(second.alternatives) == 2
    assert f'open {coin}' not in [a.action for a in second.alternatives]


def test_a_server_that_hangs_or_ends_its_session_is_begun_anew(env):
  begin(env)
  env._env._timeout = 0.2
  with pytest.raises(UserError, match=r'127.*: no answer in 0.2 s'):
    env.step('sleep')
  env._env._timeout = 60.0
  assert begin(env).observation == 'Three boxes, all shut.'


def test_long_answers_arrive(env):
  begin(env)
  assert len(env.step('shout').observation) == 2 << 20


def test_a_server_with_too_few_sessions_says_what_to_set(boxes):
  with boxes.served(sessions=1) as url:
    first, second = (
      OpenEnv(base_url=url, **KWARGS),
      OpenEnv(base_url=url, **KWARGS),
    )
    begin(first)
    with pytest.raises(
      UserError, match='CAPACITY_REACHED.*config.cluster.workers=1'
    ):
      begin(second)
    first.close()
    begin(second)
    second.close()


def test_a_server_that_ends_is_named(boxes):
  with boxes.served() as url:
    env = OpenEnv(base_url=url, **KWARGS)
    begin(env)
  with pytest.raises(UserError, match=f'{url}: ConnectionClosed'):
    env.step('open 1')
  with pytest.raises(UserError, match=f'{url}: ConnectionRefused'):
    begin(env)


class Page(http.server.BaseHTTPRequestHandler):
  """Any site: answers HTML to everything."""

  protocol_version = 'HTTP/1.1'

  def do_GET(self):
    body = b'<html>Welcome</html>'
    self.send_response(200)
    self.send_header('Content-Length', str(len(body)))
    self.end_headers()
    self.wfile.write(body)

  def log_message(self, *_):
    pass


def test_a_site_that_is_no_server_is_named():
  site = http.server.HTTPServer(('127.0.0.1', 0), Page)
  threading.Thread(target=site.serve_forever, daemon=True).start()
  with pytest.raises(UserError, match='not an OpenEnv server: .*HTTP 200'):
    begin(OpenEnv(base_url=f'http://127.0.0.1:{site.server_port}', **KWARGS))
  site.shutdown()
  site.server_close()


def test_what_accepts_and_never_answers_is_named():
  with socket.create_server(('127.0.0.1', 0)) as silent:
    url = f'http://127.0.0.1:{silent.getsockname()[1]}'
    with pytest.raises(UserError, match='no answer in 0.2 s'):
      begin(OpenEnv(base_url=url, **KWARGS | {'timeout_seconds': 0.2}))


@pytest.mark.parametrize('answer', ['<html>', '[]', '{"type": "observation"}'])
def test_answers_of_another_protocol_are_named(answer):
  from websockets.sync.server import serve

  with serve(lambda w: w.send(answer), '127.0.0.1', 0) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f'ws://127.0.0.1:{server.socket.getsockname()[1]}/'
    with pytest.raises(UserError, match='not an answer of OpenEnv'):
      begin(OpenEnv(base_url=url, **KWARGS))
    server.shutdown()


@pytest.mark.parametrize(
  'change, message',
  [
    ({'base_url': ''}, 'base_url='),
    ({'base_url': 'localhost:8000'}, 'base_url='),
    ({'action': {'message': 'action'}}, "has no value '{action}'"),
  ],
)
def test_wrong_settings_are_named(change, message):
  with pytest.raises(UserError, match=message):
    OpenEnv(**{'base_url': 'http://x'} | KWARGS | change)


@pytest.mark.parametrize(
  'change, message',
  [
    ({'observation': 'txt'}, "no 'txt' .*'text'"),
    ({'instruction': 'gaol'}, 'instruction=gaol'),
    (
      {'tasks': {'train': [{'id': 'a', 'options': {'lid': 'stuck'}}]}},
      'no lid',
    ),
  ],
)
def test_what_the_server_does_not_have_is_named(url, change, message):
  env = OpenEnv(base_url=url, **KWARGS | change)
  with pytest.raises(UserError, match=message):
    begin(env)
  env.close()


def test_it_is_registered(url, tmp_path):
  env = registry.make(
    ConfigDict({'name': 'openenv', 'kwargs': {'base_url': url, **KWARGS}})
  )
  assert isinstance(env, OpenEnv) and env.source == url
  assert env.clone() is None
  with pytest.raises(UserError, match='no expert'):
    collect_from(env, settings.default(), tmp_path)
