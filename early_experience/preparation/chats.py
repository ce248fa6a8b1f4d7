"""Imported chats, as rows are made of them."""

import itertools
import pathlib
from collections.abc import Iterator

from ml_collections import ConfigDict

from early_experience.experience import chat_record
from early_experience.experience import tree as tree_lib
from early_experience.preparation.interface import Group, Source
from early_experience.runtime import stage
from early_experience.runtime.errors import UserError
from early_experience.tokenizers.interface import Tokenizer

IMPORT = 'import'  # the folder of a workdir that `chats import` writes
GROUP = 512  # chats; bounds the memory


class Chats(Source):
  """Records that `chats import` wrote, sorted: neighbours share prefixes.

  A text that is longer than a row is cut into several.
  Nothing of them is held out: what they say of an environment is not known
  well enough to evaluate on.
  """

  unit, pack = 'chats', 16

  def __init__(self, workdir, row_tokens: int):
    self.folder = pathlib.Path(workdir) / IMPORT
    self._row_tokens = row_tokens
    self._summary = stage.finished(self.folder)
    if self._summary is None:
      raise UserError(
        f'{self.folder} does not exist; run first: python -m'
        f' early_experience.chats import --source=FOLDER --workdir={workdir}'
      )

  def split(self, share: float, seed: int) -> list[str]:
    return []

  def thinks(self) -> bool:
    return False  # an answer is one text

  def count(self) -> dict:
    return {'chats': self._summary['chats']}

  def size(self, rows: ConfigDict) -> int:
    return sum(self._summary['chats'].get(name, 0) for name in rows.datasets)

  def texts(self) -> Iterator[str]:
    for _, chat in chat_record.read(self.folder):
      yield from (turn.text for turn in chat.script())

  def pick(self, which: str, rows: ConfigDict, coder: Tokenizer) -> Group:
    count = self.size(rows)
    if not which.isdecimal() or not 1 <= int(which) <= count:
      raise UserError(f'{which!r} is no number of a chat, from 1 to {count}')
    (one,) = itertools.islice(self._wanted(rows), int(which) - 1, int(which))
    return Group(one[0], self._sequences([one], coder))

  def groups(self, rows: ConfigDict, coder: Tokenizer) -> Iterator[Group]:
    wanted = self._wanted(rows)
    while block := list(itertools.islice(wanted, GROUP)):
      sequences = self._sequences(block, coder)
      yield Group(f'{self.folder}: a chat', sequences, len(block))

  def _wanted(self, rows):
    """The chats of a row set, each with its place."""
    return (
      (where, chat)
      for where, chat in chat_record.read(self.folder)
      if chat.objective in rows.datasets
    )

  def _sequences(self, chats, coder):
    sequences = []
    for where, chat in chats:
      try:
        found = coder.encode_record(chat)
      except UserError as error:
        raise UserError(f'{where}: {error}') from None
      if chat.is_text:
        found = [p for s in found for p in tree_lib.pieces(s, self._row_tokens)]
      sequences += found
    return sequences
