"""A stage's folder under the workdir: begun, continued, finished, required.

Every stage owns `WORKDIR/NAME/`. `settings.json` there holds the settings it
was begun with, `summary.json` what it counted when it was done. A stage that
was stopped continues; a finished one has nothing to do; one whose settings
changed is refused, for its outputs would be of two kinds.
"""

import fcntl
import json
import os
import pathlib
import socket
import sys
from collections.abc import Iterator

from early_experience.runtime import files
from early_experience.runtime.errors import UserError

SETTINGS, SUMMARY, LOCK = 'settings.json', files.SUMMARY, '.lock'
BILL = 'spent.json'  # what language models have cost, whatever came of it


def begin(
  workdir,
  name: str,
  settings: dict,
  *,
  absent: dict | None = None,
  way_on: str = 'use another --workdir, or delete that folder',
  claim: bool = True,
) -> pathlib.Path:
  """Creates or re-enters a stage's folder.

  Args:
    workdir: the run's folder.
    name: the stage's folder, e.g. `explore` or `train/joint`.
    settings: JSON-able; everything that the outputs depend on.
    absent: what those mean that an older version did not write: the defaults.
    way_on: what to do where the folder was begun with others.
    claim: keep other runs out of it for as long as this process lives.

  Raises:
    UserError: the folder was begun with other settings, cannot be written, or
      another process is at work in it.
  """
  folder = pathlib.Path(workdir) / name
  if claim and finished(folder) is None:
    _claim(folder)
  settings, absent = json.loads(json.dumps([settings, absent or {}]))
  path = folder / SETTINGS
  if path.exists():
    old = files.read_json(path)
    changed = [
      f'{key} was {was!r}, is {now!r}'
      for key, was, now in differences(old, settings, absent)
    ]
    if changed:
      raise UserError(
        f'{folder} was begun with other settings: {", ".join(changed)};'
        f' {way_on}'
      )
  else:
    files.write_json(path, settings)
  return folder


def place(path: str, content: str) -> dict | str:
  """A path as settings hold it, which is what it holds, wherever that lies.

  Args:
    path: of a file or folder; '' is none.
    content: names what is in it; '' where that is not known.
  """
  return {'path': path, 'content': content} if path else ''


def path_of(place: dict | str | None) -> str | None:
  """The path of what `place` gave; older settings are a path alone."""
  return place.get('path') if isinstance(place, dict) else place


def _claim(folder):
  """Takes the folder's lock, which this process holds until it ends."""
  try:
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT)
  except OSError as error:
    raise UserError(f'cannot write {folder}: {error.strerror}') from None
  try:
    # Of the process, not of the file's handle: taking it again succeeds, and
    # the handle must stay open.
    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError as error:
    if not files.is_held(error):
      print(
        f'warning: {folder} cannot be locked ({error.strerror}): nothing keeps'
        ' another run out of it, so start no other there',
        file=sys.stderr,
      )
      return
    holder = os.pread(lock, 100, 0).decode(errors='replace') or 'another run'
    raise UserError(
      f'{folder} is in use by {holder}: wait for it, or use another --workdir'
    ) from None
  os.ftruncate(lock, 0)
  os.pwrite(
    lock, f'process {os.getpid()} on {socket.gethostname()}'.encode(), 0
  )


def finished(folder) -> dict | None:
  """The summary of a stage that is done, else None."""
  path = pathlib.Path(folder) / SUMMARY
  return files.read_json(path) if path.exists() else None


def undo(folder) -> None:
  """Removes the files of a stage that came to nothing, as if it never began.

  The lock stays, and what was paid.
  """
  for path in pathlib.Path(folder).iterdir():
    if path.is_file() and path.name not in (LOCK, BILL):
      path.unlink()


def finish(folder, summary: dict) -> dict:
  """Writes the summary, and with it the number of lines that there are."""
  if lines := files.count_lines(folder):
    summary = summary | {files.LINES: lines}
  files.write_json(pathlib.Path(folder) / SUMMARY, summary)
  return summary


def require(workdir, name: str) -> pathlib.Path:
  """The folder of a stage that must be done before this one.

  Raises:
    UserError: it is not; the message has the command that does it.
  """
  folder = pathlib.Path(workdir) / name
  if finished(folder) is None:
    stage = name.split('/')[0]
    state = 'is not finished' if folder.exists() else 'does not exist'
    raise UserError(
      f'{folder} {state}; run first: python -m early_experience.{stage}'
      f' --config=... --workdir={workdir}'
    )
  return folder


def differences(
  old: dict, new: dict, absent: dict, prefix: str = ''
) -> Iterator[tuple[str, object, object]]:
  """Yields (key, old value, new value) of what differs, in order.

  Args:
    old: settings, nested.
    new: likewise.
    absent: what those of the new ones mean that are not in the old.
    prefix: of the keys.
  """
  for key in sorted(old.keys() | new.keys()):
    default = absent.get(key, '(absent)')
    was = old.get(key, default if key in new else '(absent)')
    now = new.get(key, '(absent)')
    if _is_place(was) or _is_place(now):
      (was, held), (now, holds) = _parts(was), _parts(now)
      if held and holds:
        if held != holds:
          changed = f'{now} (which holds something else)'
          yield f'{prefix}{key}', was, changed if was == now else now
      elif was != now:
        yield f'{prefix}{key}', was, now
    elif isinstance(was, dict) and isinstance(now, dict):
      below = default if isinstance(default, dict) else {}
      yield from differences(was, now, below, f'{prefix}{key}.')
    elif was != now:
      yield f'{prefix}{key}', was, now


def _is_place(value):
  return isinstance(value, dict) and value.keys() == {'path', 'content'}


def _parts(value):
  """The path, and what it holds, which older settings do not say."""
  about = value if isinstance(value, dict) else {}
  return path_of(value), about.get('content', about.get('sha256', ''))
