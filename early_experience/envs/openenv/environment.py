"""An environment behind an OpenEnv server."""

import dataclasses
import json
from collections.abc import Mapping, Sequence

from early_experience.envs.gym import Gym
from early_experience.envs.interface import Turn
from early_experience.runtime import json_text


class OpenEnv(Gym):
  """What a server at a URL plays; which split is out of domain is up to it.

  Every instance is a session of its own: the server must allow as many as
  there are workers, and `config.evaluate.batch_tasks` in `evaluate`.
  """

  name = 'openenv'
  needs = ('websockets',)
  install = "pip install 'early_experience[openenv]'"

  def __init__(
    self,
    *,
    base_url: str = '',
    observation: str = '',
    action: Mapping | None = None,
    timeout_seconds: float = 60.0,
    tasks: Mapping[str, Sequence] | None = None,
    demonstrations: str = '',
    success: str = '',
    win_reward: float = 1.0,
    instruction: str = '',
    admissible: str = '',
    valid: str = '',
  ):
    """Names the server; nothing is connected before `reset`.

    Args:
      base_url: of the server, such as http://localhost:8000.
      observation: key of the observation that is shown; '' = all of it, as
        JSON.
      action: JSON object that is sent, such as {'message': '{action}'}: the
        action's text is put there; empty = an action is the text of an object.
      timeout_seconds: to wait for an answer.
      tasks: as `Gym` has them; `options` of a task go to `reset` beside `seed`.
      demonstrations: as `Gym` has them.
      success: key of the observation, for that is all that a server sends, with
        whether the task is done.
      win_reward: the sum of rewards that is a success, where `success` is ''.
      instruction: key of the first observation; '' = all of it says the task.
      admissible: key of the observation with the list of possible actions.
      valid: key of the observation with whether the last action was one.

    Raises:
      UserError: an argument is wrong.
    """
    super().__init__(
      make='early_experience.envs.openenv.session:Session',
      kwargs={
        'base_url': base_url,
        'text': observation,
        'action': action or {},
        'timeout_seconds': timeout_seconds,
      },
      tasks=tasks,
      demonstrations=demonstrations,
      success=success,
      win_reward=None if success else win_reward,
      instruction=instruction,
      admissible=admissible,
      valid=valid,
    )
    self.source = base_url
    self._open = not action

  def step(self, action: str) -> Turn:
    turn = super().step(action)
    return dataclasses.replace(
      turn, valid=turn.valid and not self._env.rejected
    )

  def canonical(self, action: str) -> str:
    """Objects that are equal but for order and spaces are equal actions."""
    if self._open:
      try:
        return json.dumps(
          json_text.parse(action, once=False),
          sort_keys=True,
          ensure_ascii=False,
        )
      except ValueError:
        pass
    return super().canonical(action)
