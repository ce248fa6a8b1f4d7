"""What an OpenEnv server may leave unsaid, and what it must not say."""

import contextlib
import json
import threading

import pytest

from early_experience.envs.openenv.environment import OpenEnv
from early_experience.runtime.errors import UserError

pytest.importorskip('websockets')


@contextlib.contextmanager
def serving(step):
  """A server that answers `reset` with a text, and any step with this."""
  from websockets.sync.server import serve

  def play(socket):
    for message in socket:
      begins = json.loads(message)['type'] == 'reset'
      data = {'observation': {'text': 'Hm.'}} if begins else step
      socket.send(json.dumps({'type': 'observation', 'data': data}))

  with serve(play, '127.0.0.1', 0) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host, port = server.socket.getsockname()[:2]
    env = OpenEnv(
      base_url=f'ws://{host}:{port}',
      observation='text',
      action={'message': '{action}'},
      success='won',
      tasks={'train': [0]},
    )
    env.reset(env.tasks('train')[0])
    yield env
    env.close()
    server.shutdown()


@pytest.mark.parametrize('won', [{}, {'won': None}])
def test_success_that_is_not_told_at_the_end_is_none(won):
  with serving(
    {'observation': {'text': 'Over.'} | won, 'done': True, 'reward': None}
  ) as env:
    turn = env.step('go')
    assert (turn.done, turn.success, turn.score) == (True, False, 0.0)


@pytest.mark.parametrize('reward', [float('nan'), 'much', [1]])
def test_a_reward_that_is_no_number_is_named(reward):
  with (
    serving({'observation': {'text': 'On.'}, 'reward': reward}) as env,
    pytest.raises(
      UserError,
      match=r'^step of ws://127.* in task 0 returns the reward .*, no',
    ),
  ):
    env.step('go')
