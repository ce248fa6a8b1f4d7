"""Stage `rl`: a policy learns from its own episodes, by GRPO on their trees.

An episode may be its answer to a question that is made from records. It goes on
from any training. It can be stopped at any moment, and ends with the parameters
it would have had, to the bit on the same machine.
"""

import contextlib
import copy
from collections.abc import Callable

from ml_collections import ConfigDict

from early_experience.config import checked
from early_experience.envs.guard import Guarded
from early_experience.envs.interface import Environment
from early_experience.evaluate import thinks
from early_experience.reinforcement import members
from early_experience.runtime import cli


@checked
def rl(config: ConfigDict, workdir: str) -> dict:
  """Improves the policy `config.name`; writes WORKDIR/rl/NAME.

  Returns:
    The summary: iterations, updates, episodes, and success at first and last.

  Raises:
    UserError: a setting is out of range, a stage before this is not done, no
      episode can be played, or a reward or the loss is not a number.
    Preempted, Interrupted: it was told to stop, and saved; the same command
      goes on.
  """
  with contextlib.closing(members.seats(config)) as seats:
    return _rl(seats, config, workdir)


@checked
def rl_in(
  make: Callable[[], Environment], config: ConfigDict, workdir: str
) -> dict:
  """As `rl`, in environments of this process, which `make` makes."""
  longest = config.env.max_observation_chars
  seats = members.here(lambda: Guarded(make(), longest))
  with contextlib.closing(seats):
    return _rl(seats, config, workdir)


def _rl(seats, config, workdir):
  # JAX: the processes of environments do without.
  from early_experience.reinforcement import learn

  config = copy.deepcopy(config)
  config.evaluate.think = thinks(config.evaluate.think, workdir)
  return learn.learn(seats, config, workdir)


if __name__ == '__main__':
  cli.run(rl, many_processes=True)
