"""Units that failed for good: kept apart with their reasons, never data."""

import collections
import contextlib
import pathlib
from collections.abc import Callable, Generator, Iterator
from typing import Any

from early_experience.runtime import files, stage
from early_experience.runtime.errors import UserError
from early_experience.work.units import Failure

STEM = 'set_aside'
# So many failures before anything worked, but for those of a unit alone: the
# fault is not the units'.
_HOPELESS = 16


def ids(folder) -> set[str]:
  """Tasks whose units an earlier run set aside; they are not tried again."""
  return files.written(folder, STEM)


def sift(
  results: Generator[tuple[Any, Any]],
  folder: pathlib.Path,
  task_id: Callable[[Any], str],
  failed: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Any, Any]]:
  """Yields what worked; writes what failed to `set_aside-*.jsonl`.

  Args:
    results: of `workers.run`.
    folder: the stage's.
    task_id: of a unit.
    failed: is told of each unit that is set aside.

  Raises:
    UserError: no unit worked, neither now nor in an earlier run, nor one of the
      first 16. Then the folder is as if it had not been begun.
  """
  worked, failures, hopeless = bool(_lines(folder)), [], 0
  with (
    contextlib.closing(results),
    files.JsonlWriter(folder, STEM) as writer,
  ):
    for unit, result in results:
      if isinstance(result, Failure):
        failures.append(result)
        hopeless += not result.alone
        if worked or hopeless < _HOPELESS:
          writer.write(
            {
              'task_id': task_id(unit),
              'reason': result.reason,
              'error': result.error,
            }
          )
          failed()
          continue
        break
      worked = True
      yield unit, result
  if failures and not worked:
    stage.undo(folder)  # a mended run may differ
    raise UserError(
      f'none of {len(failures)} units of {folder} worked; the first error:'
      f' {failures[0].reason}: {failures[0].error}'
    )


def by_reason(folder) -> dict[str, int]:
  """Counts all that was set aside, for a stage's summary."""
  lines = files.read_jsonl(folder, STEM)
  return dict(
    sorted(collections.Counter(v['reason'] for _, v in lines).items())
  )


def told(folder, summary: dict, again: bool = True) -> str:
  """What a stage's summary counts, in words; '' where there is nothing.

  Args:
    folder: the stage's.
    summary: likewise.
    again: it would try them once more.
  """
  reasons = summary.get(STEM)  # older ones have no such key
  if not reasons:
    return ''
  counted = ', '.join(f'{count} {reason}' for reason, count in reasons.items())
  again = '; to try them again delete these and summary.json there' * again
  return f'; set aside: {counted} (see {folder}/{STEM}-*.jsonl{again})'


def _lines(folder):
  """Shards of any other kind: something worked before."""
  return [
    path
    for path in pathlib.Path(folder).glob('*-[0-9]*.jsonl')
    if not path.name.startswith(STEM)
  ]
