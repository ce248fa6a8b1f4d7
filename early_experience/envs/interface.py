"""What an environment must do to be learned from.

Subclass `Environment`: `tasks`, `reset` and `step` are enough. `admissible`,
`clone` and `expert` are there to be overridden where the environment can list
its actions, copy itself, or act by itself.
"""

import abc
import dataclasses
from collections.abc import Generator, Sequence
from typing import Self


@dataclasses.dataclass(frozen=True)
class Task:
  """One task: what `reset` needs to start it.

  Attributes:
    id: unique in the environment and safe in a file name.
    split: `train`, or a test split.
    type: the kind of task that reports group by.
  """

  id: str
  split: str
  type: str


@dataclasses.dataclass(frozen=True)
class Turn:
  """The environment's answer.

  Attributes:
    observation: all that the agent sees.
    done: the episode is over.
    success: by the environment's own measure.
    score: likewise, in [0, 1].
    valid: False where the action was rejected and nothing happened.
  """

  observation: str
  done: bool = False
  success: bool = False
  score: float = 0.0
  valid: bool = True


class Environment(abc.ABC):
  """A text environment that is deterministic given its task.

  Attributes:
    name: as records and reports call it.
    source: where its tasks come from, for reports.
    splits: every split, the training split first.
    instruction: of the running task; set by `reset`.
  """

  name: str
  source: str
  splits: tuple[str, ...]
  instruction: str = ''

  @abc.abstractmethod
  def tasks(self, split: str) -> Sequence[Task]:
    """All tasks of a split, always in the same order.

    Raises:
      UserError: there is no such split; the message names those there are.
    """

  @abc.abstractmethod
  def reset(self, task: Task) -> Turn:
    """Starts a task."""

  @abc.abstractmethod
  def step(self, action: str) -> Turn:
    """Executes an action; an action that is not possible is an answer too."""

  def admissible(self) -> tuple[str, ...] | None:
    """All actions possible now, in a fixed order; None if not listed."""
    return None

  def clone(self) -> Self | None:
    """An independent copy in the same state; None where only replay can."""
    return None

  def expert(self, turn: Turn) -> Generator[str, Turn, None] | None:
    """An expert for the running task, or None where there is none.

    Args:
      turn: what `reset` returned.

    Returns:
      A generator of actions. Execute each one and `send` it the answer. It
      ends where the expert gives up.
    """
    return None

  def canonical(self, action: str) -> str:
    """The form in which two equal actions are equal text."""
    return ' '.join(action.split())
