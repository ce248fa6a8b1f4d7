"""Files that are whole or absent, and JSONL that survives a kill."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import pathlib
import re
import secrets
import shutil
from collections.abc import Iterator

from early_experience.runtime import json_text
from early_experience.runtime.errors import UserError

SUMMARY = 'summary.json'  # of a finished stage
LINES = 'lines'  # of its shards by name, there


def write_atomic(path: str | os.PathLike, data: str | bytes) -> None:
  """Writes a whole file or nothing: a temporary file, then a rename.

  Raises:
    UserError: the disk is full or the folder cannot be written.
  """
  path = pathlib.Path(path)
  temporary = beside(path)
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(temporary, 'wb') as file:
      file.write(data.encode() if isinstance(data, str) else data)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  except OSError as error:
    with contextlib.suppress(OSError):
      temporary.unlink()
    raise UserError(f'cannot write {path}: {error.strerror}') from error


def beside(path: pathlib.Path) -> pathlib.Path:
  """What to fill before it is renamed to `path`; nobody else's.

  Processes of containers on many machines have the same few numbers.
  """
  return path.with_name(f'.{path.name}.{secrets.token_hex(4)}.tmp')


def is_held(error: OSError) -> bool:
  """Whether a lock was refused because another process has it.

  Otherwise there are no locks here: some network disks have none.
  """
  return error.errno in (errno.EACCES, errno.EAGAIN)


def has_locks(folder: pathlib.Path) -> bool:
  """Whether files in a folder can be locked.

  Raises:
    OSError: it cannot be written.
  """
  probe = beside(folder / 'lock')
  with open(probe, 'wb') as file:
    try:
      fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
      return False
    finally:
      probe.unlink()
  return True


def write_json(path: str | os.PathLike, value: object) -> None:
  write_atomic(path, json.dumps(value, indent=1, sort_keys=True) + '\n')


def read_json(path: str | os.PathLike) -> dict:
  """Reads one JSON object.

  Raises:
    UserError: the file is missing, cannot be read or is not JSON, or holds
      another value.
  """
  try:
    # Of a key that is there twice the last counts, as for others who read the
    # files of a checkpoint.
    value = json_text.parse(pathlib.Path(path).read_bytes(), once=False)
  except FileNotFoundError:
    raise UserError(f'{path} does not exist') from None
  except OSError as error:
    raise UserError(f'cannot read {path}: {error.strerror}') from None
  except ValueError as error:
    raise UserError(f'{path} is not JSON: {error}') from None
  if not isinstance(value, dict):
    raise UserError(f'{path} is not a JSON object')
  return value


def content(path: str | os.PathLike) -> str:
  """Names what a file holds, or a folder by its files' names and sizes.

  Hidden files count for nothing; '' where nothing can be read.
  """
  path, found = pathlib.Path(path), hashlib.sha256()
  try:
    if path.is_file():
      with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()
    for parent, folders, names in os.walk(path):
      folders[:] = sorted(name for name in folders if name[0] != '.')
      for name in sorted(name for name in names if name[0] != '.'):
        one = pathlib.Path(parent, name)
        found.update(f'{one.relative_to(path)} {one.stat().st_size}\n'.encode())
  except OSError:
    return ''
  return found.hexdigest()


@contextlib.contextmanager
def new_folder(folder: str | os.PathLike) -> Iterator[pathlib.Path]:
  """A folder that is whole or absent: it is filled beside, then renamed.

  Raises:
    UserError: it is there already and not empty, or cannot be made.
  """
  folder = pathlib.Path(folder)
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    raise UserError(f'{folder} is there already; name another folder')
  made = beside(folder)
  try:
    made.mkdir(parents=True)
    yield made
    os.replace(made, folder)
  except OSError as error:
    raise UserError(f'cannot write {folder}: {error.strerror}') from error
  finally:
    shutil.rmtree(made, ignore_errors=True)


class JsonlWriter:
  """Appends one JSON object a line, in shards; safe to kill at any moment.

  Each line is written and flushed by itself. A line that a kill cut short is
  removed when the writer opens the folder again, so `lines already there` are
  exactly the units that need not be redone.

  Args:
    folder: holds `{stem}-00000.jsonl`, `{stem}-00001.jsonl`, ...
    stem: what the shards are called.
    shard_lines: lines a shard before the next is started.
  """

  def __init__(self, folder, stem: str, shard_lines: int = 1000):
    self._folder = pathlib.Path(folder)
    self._stem = stem
    self._shard_lines = shard_lines
    self._folder.mkdir(parents=True, exist_ok=True)
    shards = jsonl_shards(self._folder, stem)
    self._shard = max(0, len(shards) - 1)
    self._lines = _repair(shards[-1]) if shards else 0
    self._file = None

  def write(self, value: dict) -> None:
    if self._lines >= self._shard_lines:
      self.close()
      self._shard, self._lines = self._shard + 1, 0
    path = self._folder / f'{self._stem}-{self._shard:05d}.jsonl'
    try:
      if self._file is None:
        self._file = open(path, 'ab')  # noqa: SIM115
      start = self._file.tell()
      try:
        line = json.dumps(value, ensure_ascii=False) + '\n'
        self._file.write(line.encode())
        self._file.flush()
      except OSError:
        self._discard(path, start)
        raise
    except OSError as error:
      raise UserError(f'cannot write {path}: {error.strerror}') from error
    self._lines += 1

  def _discard(self, path: pathlib.Path, start: int) -> None:
    """Drops a half-written line, and the buffer that still wants to go out."""
    file, self._file = self._file, None
    with contextlib.suppress(OSError):
      file.close()
    with contextlib.suppress(OSError):  # else the next writer repairs it
      os.truncate(path, start)

  def close(self) -> None:
    if self._file is not None:
      self._file.close()
      self._file = None

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()


def jsonl_shards(folder, stem: str) -> list[pathlib.Path]:
  return sorted(pathlib.Path(folder).glob(f'{stem}-[0-9]*.jsonl'))


def read_jsonl(folder, stem: str) -> Iterator[tuple[str, dict]]:
  """Yields (`FILE line N`, object) over all shards in order.

  Raises:
    UserError: as `read_objects`; or whole lines or shards are gone of a stage
      that is finished, whose summary counts them.
  """
  summary, counted = pathlib.Path(folder) / SUMMARY, {}
  if summary.exists():
    counted = read_json(summary).get(LINES, {})
  names = {path.name for path in jsonl_shards(folder, stem)}
  names |= {n for n in counted if re.fullmatch(rf'{stem}-\d+\.jsonl', n)}
  for name in sorted(names):
    path, found = summary.with_name(name), 0
    if path.exists() or name not in counted:
      for one in read_objects(path):
        found += 1
        yield one
    if found != counted.get(name, found):
      raise UserError(
        f'{path} has {found} lines, and {summary} counts {counted[name]}: bring'
        ' it back, or delete that folder and do its stage again'
      )


def count_lines(folder) -> dict[str, int]:
  """Lines of all shards of a folder, by the shard's name."""
  counted = {}
  for path in jsonl_shards(folder, '*'):
    with open(path, 'rb') as file:
      counted[path.name] = sum(1 for _ in file)
  return counted


def written(folder, stem: str) -> set[str]:
  """Tasks of which a run that may have been stopped has a whole line.

  A line that a kill cut short, if only by its end, is of none: `JsonlWriter`
  will remove it.

  Raises:
    UserError: as `read_objects`.
  """
  return {
    value['task_id']
    for path in jsonl_shards(folder, stem)
    for _, value in read_objects(path, cut=True)
  }


def read_objects(
  path: str | os.PathLike, cut: bool = False
) -> Iterator[tuple[str, dict]]:
  """Yields (`FILE line N`, object) of one file of JSON lines.

  Args:
    path: of the file.
    cut: leave out a last line without an end.

  Raises:
    UserError: it cannot be read, or a line is no JSON object in UTF-8; the
      message names the file and the line.
  """
  try:
    with open(path, 'rb') as file:
      for number, line in enumerate(file, start=1):
        if cut and not line.endswith(b'\n'):
          return
        where = f'{path} line {number}'
        try:
          value = json_text.parse(line)
        except ValueError as error:
          raise UserError(
            f'{where}: not a whole JSON record: {error}'
          ) from None
        if not isinstance(value, dict):
          raise UserError(f'{where}: not a JSON object')
        yield where, value
  except OSError as error:
    raise UserError(f'cannot read {path}: {error.strerror}') from None


def _repair(path: pathlib.Path) -> int:
  """Cuts an unfinished last line; returns the number of whole lines."""
  data = path.read_bytes()
  whole = data.rfind(b'\n') + 1
  if whole < len(data):
    os.truncate(path, whole)
  return data.count(b'\n')
