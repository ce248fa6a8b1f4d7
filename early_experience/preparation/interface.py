"""What rows are made of: sequences in groups.

The prefixes that a group's sequences share become one path of a tree.
"""

import abc
import dataclasses
import pathlib
from collections.abc import Iterator

from ml_collections import ConfigDict

from early_experience.experience import tree as tree_lib
from early_experience.tokenizers.interface import Tokenizer


@dataclasses.dataclass(frozen=True)
class Group:
  """Sequences that are merged with each other.

  Attributes:
    name: for messages.
    sequences: of all its units.
    units: trajectories or chats in it.
  """

  name: str
  sequences: list[tree_lib.Sequence]
  units: int = 1


class Source(abc.ABC):
  """A finished stage's data.

  Attributes:
    folder: of the stage.
    unit: what it is counted in.
    pack: groups whose trees are packed into rows together; bounds the memory.
  """

  folder: pathlib.Path
  unit: str
  pack: int

  @abc.abstractmethod
  def split(self, share: float, seed: int) -> list[str]:
    """Keeps a share from training; returns the tasks that are held out."""

  @abc.abstractmethod
  def thinks(self) -> bool:
    """Whether most of the actions to imitate have a thought before them."""

  @abc.abstractmethod
  def count(self) -> dict:
    """How much there is, for the summary."""

  @abc.abstractmethod
  def size(self, rows: ConfigDict) -> int:
    """Units that a row set is made of."""

  @abc.abstractmethod
  def texts(self) -> Iterator[str]:
    """What a vocabulary is learnt from."""

  @abc.abstractmethod
  def pick(self, which: str, rows: ConfigDict, coder: Tokenizer) -> Group:
    """One unit of a row set by its number from 1, or by the name it has.

    Raises:
      UserError: there is none.
    """

  @abc.abstractmethod
  def groups(self, rows: ConfigDict, coder: Tokenizer) -> Iterator[Group]:
    """The training sequences of a row set."""
