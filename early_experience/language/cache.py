"""Answers on disk, by what was asked: a rerun costs nothing."""

import contextlib
import hashlib
import json
import pathlib
import sqlite3
import sys
import time

from early_experience.language.answer import Answer
from early_experience.runtime import files
from early_experience.runtime.errors import UserError

FILE = 'answers.sqlite'  # in a WORKDIR
_BUSY_SECONDS = 60  # to wait for other processes, which write one row each
_SCHEMA = """create table if not exists answers (
  request text primary key, model text, prompt text, text text,
  truncated integer, input_tokens integer, output_tokens integer
) without rowid"""


class Cache:
  """A table of answers; many processes may share its file.

  Each answer is written as it comes, in a transaction of its own, so that a
  kill loses none of those before. Neither the key nor the address of an
  endpoint is in it.

  Args:
    path: of the file; `:memory:` keeps the answers for this process alone.

  Raises:
    UserError: the file cannot be opened, or is no such table.
  """

  def __init__(self, path: str | pathlib.Path = ':memory:'):
    self._path = path
    with self._told():
      address, mode = self._address()
      self._table = sqlite3.connect(
        address,
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
      )
      # Where the file system cannot share memory it stays what it was; and
      # where it has no locks a log of before can only be read alone.
      if mode == 'delete':
        self._execute('pragma locking_mode=exclusive')
      self._execute(f'pragma journal_mode={mode}')
      self._execute('pragma locking_mode=normal')
      self._execute('pragma synchronous=normal')
      self._execute(_SCHEMA)

  def _address(self):
    """Of the file, and its journal; no locks where its disk has none."""
    if str(self._path) == ':memory:':
      return self._path, 'wal'
    path = pathlib.Path(self._path).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    if files.has_locks(path.parent):
      return path.as_uri(), 'wal'
    print(
      f'warning: {path} cannot be locked: let one process at a time write to'
      ' it, or set `cache` to a file on another disk',
      file=sys.stderr,
    )
    return f'{path.as_uri()}?vfs=unix-none', 'delete'

  def find(self, request: str) -> Answer | None:
    """The answer to a request that `digest` names, if it is known."""
    with self._told():
      row = self._execute(
        'select text, truncated, input_tokens, output_tokens'
        ' from answers where request = ?',
        (request,),
      ).fetchone()
    if row is None:
      return None
    text, truncated, *tokens = row
    return Answer(text, bool(truncated), False, *tokens, cached=True)

  def keep(self, request: str, model: str, prompt: str, answer: Answer) -> bool:
    """Writes an answer; False where another process was faster."""
    with self._told():
      written = self._execute(
        'insert or ignore into answers values (?, ?, ?, ?, ?, ?, ?)',
        (
          request,
          model,
          prompt,
          answer.text,
          answer.truncated,
          answer.input_tokens,
          answer.output_tokens,
        ),
      )
    return written.rowcount == 1

  def paid(self) -> list[tuple[str, str, int, int, int]]:
    """(model, prompt, answers, tokens in, tokens out) of all that is kept."""
    with self._told():
      return self._execute(
        'select model, prompt, count(*), sum(input_tokens), sum(output_tokens)'
        ' from answers group by model, prompt order by model, prompt'
      ).fetchall()

  def _execute(self, statement, values=()):
    """Waits for others also where sqlite does not: where a log begins."""
    until = time.monotonic() + _BUSY_SECONDS
    while True:
      try:
        return self._table.execute(statement, values)
      except sqlite3.OperationalError as error:
        busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
        if not busy or time.monotonic() > until:
          raise
      time.sleep(0.05)

  @contextlib.contextmanager
  def _told(self):
    """Turns complaints of the file into one line."""
    try:
      yield
    except (sqlite3.Error, OSError) as error:
      raise UserError(f'{self._path}: {error}') from None


def digest(request: dict) -> str:
  """Names a request by all that its answer may depend on."""
  text = json.dumps(request, sort_keys=True, ensure_ascii=True)
  return hashlib.sha256(text.encode()).hexdigest()
