"""One session with an OpenEnv server: JSON messages over a WebSocket.

The messages are those of openenv-core 0.3 and openenv 0.10
(`openenv.core.env_server`, route `/ws`). Its own client would bring the whole
of the server's dependencies.
"""

import contextlib
import json
import re
from collections.abc import Mapping

from early_experience.runtime import json_text
from early_experience.runtime.errors import UserError

# The action's own faults; the session goes on.
_REJECTED = ('VALIDATION_ERROR', 'EXECUTION_ERROR')
_MAX_BYTES = 64 << 20  # of a message; what may be recorded is much less


class Session:
  """A server's environment, with gymnasium's `reset` and `step`.

  `info` is the observation's object. An action that the server rejects is
  answered with its message, and with `rejected` in place of an observation.

  Args:
    base_url: http, https, ws or wss; a path may follow.
    text: key of the observation that is shown; '' = all of it, as JSON.
    action: the JSON object that is sent, where '{action}' is a text in it that
      the action replaces; empty = the action is the text of such an object.
    timeout_seconds: to wait for an answer.

  Raises:
    UserError: an argument is wrong; nothing is connected before `reset`.
  """

  def __init__(
    self, base_url: str, text: str, action: Mapping, timeout_seconds: float
  ):
    if not re.match(r'(http|ws)s?://[^/\s]', base_url):
      raise UserError(
        f'config.env.kwargs.base_url={base_url!r} is not http://HOST:PORT'
      )
    if action and '{action}' not in action.values():
      raise UserError(
        f"config.env.kwargs.action={dict(action)} has no value '{{action}}'"
      )
    self._base_url = base_url.rstrip('/')
    self._text, self._action = text, action
    self._timeout = timeout_seconds
    self._connection, self._socket = contextlib.ExitStack(), None
    self._observation = {}
    self.rejected = False

  def reset(
    self, seed: int | None = None, options: Mapping | None = None
  ) -> tuple[str, dict]:
    """Starts an episode; connects where there is no connection.

    Raises:
      UserError: there is no such server, or it does not answer as one.
    """
    data = dict(options or {})
    if seed is not None:
      data['seed'] = seed
    answer, error = self._ask('reset', data)
    if error:
      raise self._fault(f'reset is answered {error}')
    self.rejected = False
    return self._shown(answer), self._observation

  def step(self, action: str) -> tuple[str, float, bool, bool, dict]:
    """Sends an action.

    Raises:
      UserError: the server does not answer as one.
    """
    try:
      sent = self._sent(action)
    except ValueError as error:
      answer, rejection = None, f'This is no JSON object: {error}'
    else:
      answer, rejection = self._ask('step', sent)
    self.rejected = bool(rejection)
    if rejection:
      return rejection, 0.0, False, False, self._observation
    text = self._shown(answer)
    reward = answer.get('reward') or 0.0
    return text, reward, bool(answer.get('done')), False, self._observation

  def close(self) -> None:
    """Ends the session; `reset` begins another one."""
    self._connection.close()
    self._socket = None

  def _sent(self, action):
    if self._action:
      return {
        key: action if value == '{action}' else value
        for key, value in self._action.items()
      }
    value = json_text.parse(action, once=False)
    if not isinstance(value, dict):
      raise ValueError(f'it is {type(value).__name__}')
    return value

  def _shown(self, answer):
    found = answer.get('observation')
    if not isinstance(found, dict):
      raise self._fault(f'the observation is {type(found).__name__}')
    self._observation = found
    if not self._text:
      return json.dumps(found, sort_keys=True, ensure_ascii=False)
    if self._text not in found:
      raise self._fault(
        f'the observation has no {self._text!r}'
        f' (config.env.kwargs.observation), but {sorted(found)}'
      )
    value = found[self._text]
    if isinstance(value, str):
      return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False)

  def _ask(self, kind, data):
    """The data of the answer, and why the action was rejected, or ''."""
    from websockets import exceptions

    try:
      if self._socket is None:
        self._socket = self._connection.enter_context(self._connect())
      # Where the server has hung up, it may have said why.
      with contextlib.suppress(exceptions.ConnectionClosed):
        self._socket.send(json.dumps({'type': kind, 'data': data}))
      answer = json_text.parse(self._socket.recv(self._timeout), once=False)
      known = answer['type'], answer['data'].get('code', '')
    except TimeoutError:
      raise self._fault(f'no answer in {self._timeout:g} s') from None
    except exceptions.InvalidHandshake as error:
      raise self._fault(f'not an OpenEnv server: {error}') from None
    except (OSError, exceptions.WebSocketException) as error:
      raise self._fault(f'{type(error).__name__}: {error}') from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
      raise self._fault(f'not an answer of OpenEnv: {error!r}') from None
    if known[0] != 'error':
      return answer['data'], ''
    if known[1] in _REJECTED:
      return None, _message(answer['data'])
    raise self._fault(f'{known[1]}: {_message(answer["data"])}')

  def _connect(self):
    from websockets.sync.client import connect

    url = re.sub('^http', 'ws', self._base_url) + '/ws'
    near = re.match(r'wss?://(localhost|127\.0\.0\.1|\[::1\])\b', url)
    return connect(
      url,
      open_timeout=self._timeout,
      close_timeout=1,
      max_size=_MAX_BYTES,
      proxy=None if near else True,
    )

  def _fault(self, what):
    """An error after which the session is over."""
    self.close()
    hint = ''
    if 'CAPACITY_REACHED' in what:
      hint = (
        '; it plays too few episodes side by side: raise its'
        ' max_concurrent_envs, or set config.cluster.workers=1 and'
        ' config.evaluate.batch_tasks=1'
      )
    what = ' '.join(what.split())
    return UserError(f'OpenEnv server {self._base_url}: {what}{hint}')


def _message(data):
  """The server's words, with the fields that its action class complains of."""
  faults = [
    f'{".".join(map(str, fault.get("loc", ())))}: {fault.get("msg")}'
    for fault in data.get('errors', ())
  ]
  return '; '.join([str(data.get('message', '')), *faults])
