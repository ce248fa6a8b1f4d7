"""What an environment must do to be learned from.

Subclass `Environment`: `tasks`, `reset` and `step` are enough. `admissible`,
`clone`, `fingerprint` and `expert` are there to be overridden where the
environment can list its actions, copy itself, tell its states apart, or act by
itself.
"""

import abc
import dataclasses
from collections.abc import Generator, Hashable, Sequence
from typing import Self

from early_experience.runtime.errors import UserError


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
    licence: of what it plays with.
    needs: modules that must be importable; the module of the environment
      imports them only when it is made.
    install: the shell line that brings them; '' where nothing is needed.
    branching: how a state is branched from: `clone`; `fork` where only the
      operating system can copy it, which takes an environment that lives in
      this process alone; else `replay`.
    expert_name: who acts in `expert`; '' where nobody does.
    expert_probes: the expert tries what may be rejected, and goes on from the
      answer. Elsewhere a rejected action says that the expert and the
      environment have parted, and its episode is no data.
    expert_advises: `advise` knows what the expert would do in states that it
      did not lead to.
    paths: those of the constructor's arguments that are files or folders.
    instruction: of the running task; set by `reset`.
  """

  name: str
  source: str
  splits: tuple[str, ...]
  licence: str = ''
  needs: tuple[str, ...] = ()
  install: str = ''
  branching: str = 'replay'
  expert_name: str = 'scripted'
  expert_probes: bool = False
  expert_advises: bool = False
  paths: tuple[str, ...] = ()
  instruction: str = ''

  @abc.abstractmethod
  def tasks(self, split: str) -> Sequence[Task]:
    """All tasks of a split, always in the same order.

    Raises:
      UserError: there is no such split; the message names those there are.
    """

  def check_split(self, split: str) -> None:
    """For `tasks`.

    Raises:
      UserError: there is no such split; the message names those there are.
    """
    if split not in self.splits:
      raise UserError(
        f'{self.name} has no split {split!r}; there are:'
        f' {", ".join(self.splits)}'
      )

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

  def fingerprint(self) -> Hashable | None:
    """Of the whole state, what is hidden included; None where unknown.

    Two equal fingerprints promise that every action has the same outcome, so
    that an action which changed nothing costs no replay.
    """
    return None

  def answers(self) -> dict | None:
    """What language models said in it since this was asked last.

    Returns:
      `language.accounting.count`; None where none speaks.
    """
    return None

  def close(self) -> None:  # noqa: B027  (most have nothing to end)
    """Ends what the environment started: a browser, a virtual machine."""

  def expert(
    self, turn: Turn
  ) -> Generator[str | tuple[str, str], Turn, None] | None:
    """An expert for the running task, or None where there is none.

    Args:
      turn: what `reset` returned.

    Returns:
      A generator of actions, or of pairs of an action and the thought that it
      was taken with. Execute each one and `send` it the answer. It ends where
      the expert gives up.
    """
    return None

  def advise(
    self, opening: Turn, past: Sequence[tuple[str, Turn]]
  ) -> str | None:
    """What the expert would do now, in a task that somebody else plays.

    Where `expert_advises`: `rounds` asks it in states that a policy reached.

    Args:
      opening: what `reset` returned.
      past: each action since, and what it was answered.

    Returns:
      An action; None where the expert gives up.
    """
    del opening, past
    return None

  def without(self, instruction: str, action: str) -> str:
    """An instruction as it is where an action is not to be had.

    Models read it that propose alternatives to this action of the expert's.
    Where the instruction lists tools, one may leave out the action's own
    (arXiv 2510.08558, appendix B.4).
    """
    del action
    return instruction

  def canonical(self, action: str) -> str:
    """The form in which two equal actions are equal text."""
    return ' '.join(action.split())
