"""Turns to token ids by a sentencepiece model whose symbols are the roles."""

import functools
import hashlib
import io
import itertools
import os
import pathlib
from collections.abc import Iterable

import sentencepiece

from early_experience.experience.chat_record import Chat
from early_experience.experience.render import OBJECTIVES, ROLES, Script, Turn
from early_experience.experience.tree import Sequence
from early_experience.runtime import files
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import interface

_END = '<|end|>'
TRAINING_LINES = 200_000  # enough for a vocabulary; bounds its training time
# sentencepiece passes over what is longer, and over lines with its own
# character for what it does not know, and says so in a log alone.
_LINE_BYTES = 4192
_PIECE = _LINE_BYTES // 4  # characters that fit, whatever they are
_RESERVED = '\u2585'


def _role_symbol(role):
  return f'<|{role}|>'


class SentencePieceTokenizer(interface.Tokenizer):
  """A sentencepiece model whose control symbols are the roles and the end.

  A sequence is `bos`, then turns; a turn is its role, its text, its end. Each
  turn is encoded by itself, so which tokens belong to it is known, and text
  that looks like a role stays text.

  Attributes:
    bos_id: of a sequence's start.
  """

  def __init__(self, model: bytes, where: str = 'the tokenizer'):
    self._bytes = model
    self._model = sentencepiece.SentencePieceProcessor()
    try:
      self._model.LoadFromSerializedProto(model)
    except RuntimeError as error:
      raise UserError(f'{where} is not a sentencepiece model') from error
    self.hash = hashlib.sha256(model).hexdigest()[:16]
    self.vocab_size = self._model.vocab_size()
    self.pad_id, self.bos_id = self._model.pad_id(), self._model.bos_id()
    symbols = [_END, *map(_role_symbol, ROLES)]
    ids = [self._model.piece_to_id(symbol) for symbol in symbols]
    for symbol, i in zip(symbols, ids, strict=True):
      if not self._model.is_control(i):
        raise UserError(
          f'{where} lacks the control symbol {symbol}; of a checkpoint its'
          ' tokenizer.json is read'
        )
    if min(self.pad_id, self.bos_id) < 0:
      raise UserError(f'{where} lacks a padding or a start id')
    end_id, *role_ids = ids
    self.stop_ids = (end_id,)
    self._role_ids = dict(zip(ROLES, role_ids, strict=True))
    self._cached = functools.lru_cache(maxsize=65536)(
      lambda text: tuple(self._model.encode(text))
    )

  @classmethod
  def load(cls, path: str | os.PathLike) -> 'SentencePieceTokenizer':
    """Reads a `.model` file.

    Raises:
      UserError: it is missing, damaged, or lacks a control symbol.
    """
    try:
      data = pathlib.Path(path).read_bytes()
    except OSError as error:
      raise UserError(f'cannot read {path}: {error.strerror}') from None
    return cls(data, str(path))

  def save(self, folder: str | os.PathLike) -> None:
    files.write_atomic(pathlib.Path(folder) / interface.MODEL, self._bytes)

  def role_id(self, role: str) -> int:
    return self._role_ids[role]

  def encode(self, text: str) -> list[int]:
    return list(self._cached(text))

  def decode(self, ids: Iterable[int]) -> str:
    return self._model.decode([int(i) for i in ids])

  def pieces(self, ids: list[int]) -> list[tuple[str, bool]]:
    found = []
    for special, run in itertools.groupby(ids, self._model.is_control):
      if special:
        found += [(self._model.id_to_piece(i), True) for i in run]
      else:
        found.append((self.decode(run), False))
    return found

  def encode_turn(self, turn: Turn) -> list[int]:
    """Role, text, end."""
    return [self.role_id(turn.role), *self._cached(turn.text), *self.stop_ids]

  def encode_prompt(self, script: Script, role: str) -> list[int]:
    ids = [self.bos_id]
    for turn in script:
      ids += self.encode_turn(turn)
    return [*ids, self.role_id(role)]

  def encode_answer(self, script: Script, role: str, text: str) -> list[int]:
    return [*self._cached(text), *self.stop_ids]

  def decode_answer(self, ids: list[int], role: str) -> str:
    return self.decode(ids).strip()

  def encode_chat(self, messages: list[dict]) -> list[int]:
    # What the user says first is the task; a policy that was trained here has
    # the first observation in a turn of its own, which no message tells apart.
    roles = {'system': 'system', 'assistant': 'action'}
    script, first = (), 'task'
    for message in messages:
      role = roles.get(message['role'], first)
      first = 'observation' if role == first else first
      script += (Turn(role, message['content']),)
    return self.encode_prompt(script, 'action')

  def encode_script(self, script: Script) -> list[Sequence]:
    ids, column = [self.bos_id], [-1]
    for turn in script:
      turn_ids = self.encode_turn(turn)
      objective = OBJECTIVES.index(turn.scores) if turn.scores else -1
      ids += turn_ids
      column += [-1] + [objective] * (len(turn_ids) - 1)
    sequence = interface.scored_part(ids, column)
    return [sequence] if sequence else []

  def encode_record(self, chat: Chat) -> list[Sequence]:
    return self.encode_script(chat.script())


def train(texts: Iterable[str], vocab_size: int) -> bytes:
  """Trains a byte-pair model; returns the contents of a `.model` file.

  What the vocabulary lacks becomes bytes, so that any text survives a round
  trip, but for U+2581, which sentencepiece takes for a space.

  Args:
    texts: the training split's, of any length. Of very many some are read,
      from all over: `TRAINING_LINES`, where a long one counts as several.
    vocab_size: at most; fewer where the text has fewer words.

  Raises:
    UserError: the vocabulary cannot hold the bytes and the symbols.
  """
  model = io.BytesIO()
  lines = itertools.chain.from_iterable(map(_lines, texts))
  try:
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(_spread(lines, TRAINING_LINES)),
      model_writer=model,
      model_type='bpe',
      vocab_size=vocab_size,
      max_sentence_length=_LINE_BYTES,
      hard_vocab_limit=False,
      byte_fallback=True,
      character_coverage=1.0,
      normalization_rule_name='identity',
      remove_extra_whitespaces=False,
      control_symbols=[_END, *map(_role_symbol, ROLES)],
      pad_id=0,
      unk_id=1,
      bos_id=2,
      eos_id=-1,
      num_threads=1,
      minloglevel=2,
    )
  except (RuntimeError, OSError) as error:
    reason = ' '.join(str(error).split())
    raise UserError(
      f'config.prepare.vocab_size={vocab_size}: {reason}'
    ) from None
  return model.getvalue()


def _spread(lines, most):
  """At most so many of the lines, evenly spread over all of them."""
  kept, step = [], 1
  for i, line in enumerate(lines):
    if i % step == 0:
      kept.append(line)
    if len(kept) > most:
      kept, step = kept[::2], 2 * step
  return kept


def _lines(text):
  """Parts of a text that sentencepiece reads, cut between words."""
  for part in text.split(_RESERVED):
    start, size = 0, len(part)
    if len(part.encode()) > _LINE_BYTES:
      while size - start > _PIECE:
        end = part.rfind(' ', start + 1, start + _PIECE)
        yield part[start : end if end > 0 else start + _PIECE]
        # It puts a space before each line, which is the one left out here.
        start = end + 1 if end > 0 else start + _PIECE
    yield part[start:]
