"""What the system needs of a tokenizer.

There are two kinds: a sentencepiece model trained here, whose control symbols
are the roles, and a Hugging Face `tokenizer.json` with its chat template.
"""

import abc
import os

import numpy as np

from early_experience.experience.chat_record import Chat
from early_experience.experience.render import OBJECTIVES, Script
from early_experience.experience.tree import Sequence
from early_experience.runtime.errors import UserError

JSON, MODEL, FOLDER = 'tokenizer.json', 'tokenizer.model', 'tokenizer'


class Tokenizer(abc.ABC):
  """Scripts to token ids, and what a model wrote back to text.

  Training and acting read the same ids: where a turn of a script is scored,
  its sequence goes `encode_prompt(before it)`, `encode_answer(it)`.

  Attributes:
    vocab_size: the largest id that it gives, and one.
    pad_id: fills rows; never scored.
    stop_ids: what a model ends its turn with. The first one ends the turns of
      training; the others are those that a pretrained model may say instead.
    hash: names the tokenizer with all that decides ids; rows carry it. What
      precedes a `-` names the vocabulary alone.
  """

  vocab_size: int
  pad_id: int
  stop_ids: tuple[int, ...]
  hash: str

  @abc.abstractmethod
  def encode_script(self, script: Script) -> list[Sequence]:
    """The sequences that score each scored turn of a script once.

    Each ends with a target. One sequence does wherever what is read before a
    turn does not depend on what comes after it.
    """

  @abc.abstractmethod
  def encode_record(self, chat: Chat) -> list[Sequence]:
    """The sequences that score each learnt answer of a chat once.

    Its texts are as they are in the record, but for blanks around them.
    """

  @abc.abstractmethod
  def encode_prompt(self, script: Script, role: str) -> list[int]:
    """What a model reads before it writes a turn of `role`."""

  @abc.abstractmethod
  def encode_answer(self, script: Script, role: str, text: str) -> list[int]:
    """What a model writes after `encode_prompt(script, role)`, its end too."""

  @abc.abstractmethod
  def decode_answer(self, ids: list[int], role: str) -> str:
    """The text of a turn of `role` that a model wrote.

    Args:
      ids: without the stop id.
      role: a thought is cut where it ends, an action loses what is around it.
    """

  @abc.abstractmethod
  def encode_chat(self, messages: list[dict]) -> list[int]:
    """What a model reads before it answers a chat of any content.

    Args:
      messages: with `role` and `content`, as servers take them.
    """

  @abc.abstractmethod
  def decode(self, ids: list[int]) -> str:
    """All that a model wrote, without the stop id."""

  @abc.abstractmethod
  def pieces(self, ids: list[int]) -> list[tuple[str, bool]]:
    """What ids stand for, to be read: texts, and special tokens by name.

    Returns:
      Texts, each with whether it is one special token.
    """

  @abc.abstractmethod
  def save(self, folder: str | os.PathLike) -> None:
    """Writes what `load` reads into a folder such as `prepare/`."""


def check_vocab(tokenizer: Tokenizer, vocab_size: int, where: str) -> None:
  """Refuses a tokenizer with ids that an embedding has no row for.

  A larger embedding is fine: some checkpoints round it up.

  Raises:
    UserError: naming `where`, the embedding's file or setting.
  """
  if tokenizer.vocab_size > vocab_size:
    raise UserError(
      f'the tokenizer has {tokenizer.vocab_size} ids, but the embedding of'
      f' {where} has {vocab_size} rows'
    )


def scored_part(ids: list[int], objectives: list[int]) -> Sequence | None:
  """A sequence that ends with its last target; None where there is none.

  Args:
    ids: tokens.
    objectives: for each the index in `OBJECTIVES` it is scored for by a weight
      of 1, or -1.
  """
  column_T = np.array(objectives)
  scored = np.flatnonzero(column_T >= 0)
  if not scored.size:
    return None
  length = int(scored[-1]) + 1
  weights_TO = column_T[:length, None] == np.arange(len(OBJECTIVES))
  return Sequence(
    np.array(ids[:length], np.int32), weights_TO.astype(np.float32)
  )
