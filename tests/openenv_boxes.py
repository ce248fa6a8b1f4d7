"""A toy text environment on OpenEnv's own server: boxes, one has a coin."""

import asyncio
import contextlib
import threading
import time

import uvicorn
from openenv.core.env_server import (
  Action,
  Environment,
  Observation,
  State,
  create_fastapi_app,
)


class Do(Action):
  """What the agent says, and how loud."""

  message: str
  volume: int = 1


class Seen(Observation):
  """What it sees; `can` lists what it may say."""

  text: str
  goal: str = 'Take the coin.'
  can: list[str] = []
  won: bool = False


class Boxes(Environment):
  """Box `seed % 3 + 1` has the coin. Some words make trouble."""

  SUPPORTS_CONCURRENT_SESSIONS = True

  def reset(self, seed=None, episode_id=None, lid='shut', **kwargs):
    if lid == 'stuck':
      raise ValueError('no lid')
    self._coin, self._open = (seed or 0) % 3 + 1, set()
    return self._seen(f'Three boxes, all {lid}.')

  def step(self, action, timeout_s=None, **kwargs):
    words = action.message.split()
    if action.message == 'sleep':
      time.sleep(1.5)
    elif action.message == 'shout':
      return self._seen('X' * (2 << 20))
    elif words[:1] == ['open'] and words[1:] and words[1] in '123':
      self._open.add(int(words[1]))
      holds = 'a coin' if int(words[1]) == self._coin else 'nothing'
      return self._seen(f'There is {holds}.')
    elif action.message == 'take' and self._coin in self._open:
      return self._seen('Yours.', done=True, reward=1.0, won=True)
    elif action.message == 'whisper':
      return self._seen(f'You whisper at {action.volume}.')
    raise ValueError(f'You cannot {action.message}.')

  @property
  def state(self):
    return State(episode_id='1', step_count=len(self._open))

  def _seen(self, text, **more):
    can = [f'open {box}' for box in (1, 2, 3) if box not in self._open]
    can += ['take'] if self._coin in self._open else []
    return Seen(text=text, can=can, **more)


@contextlib.contextmanager
def served(sessions: int = 8):
  """Serves on a free port in a thread of this process; yields its URL."""
  app = create_fastapi_app(Boxes, Do, Seen, max_concurrent_envs=sessions)
  server = uvicorn.Server(
    uvicorn.Config(
      app, port=0, log_level='critical', timeout_graceful_shutdown=1
    )
  )
  thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
  thread.start()
  try:
    while not server.started:
      time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f'http://127.0.0.1:{port}'
  finally:
    server.should_exit = True
    thread.join(10)
