"""One unit of work: a try of it, and what a failure is called."""

import dataclasses
from collections.abc import Callable
from typing import Any

from early_experience.runtime.errors import UserError

_ERROR_CHARS = 500


class Fault(Exception):
  """A failure of a kind that has a name.

  Attributes:
    reason: of a few words; summaries count by it.
    alone: it says nothing of other units, however many end in it.
  """

  alone = False

  def __init__(self, reason: str, message: str):
    super().__init__(reason, message)  # both, so that it can be pickled
    self.reason, self.message = reason, message

  def __str__(self):
    return self.message


@dataclasses.dataclass(frozen=True)
class Failure:
  """Why a unit has no result.

  Attributes:
    reason: `hang`, `crash`, `error`, or that of a `Fault`.
    error: of its last try, in one line.
    plain: it was a `UserError`, whose line says all.
    alone: see `Fault`.
  """

  reason: str
  error: str
  plain: bool = False
  alone: bool = False


def reason_of(error: BaseException) -> str:
  """What an error is counted by; some of others have a `reason` of any kind."""
  return error.reason if isinstance(error, Fault) else 'error'


def attempt(function: Callable[[Any], Any], unit: Any) -> Any:
  """One try of a unit: its result, or the `Failure` that it ended in."""
  try:
    return function(unit)
  except (Exception, SystemExit) as error:  # an environment may want to exit
    plain, alone = isinstance(error, UserError), getattr(error, 'alone', False)
    return Failure(reason_of(error), in_a_line(error), plain, alone)


def in_a_line(error: BaseException) -> str:
  """An error in one line that is not too long; a user's without its kind."""
  said = ' '.join(str(error).split())
  said = said.encode(errors='backslashreplace').decode()  # for files
  if not isinstance(error, UserError):
    said = f'{type(error).__name__}: {said}'
  return said[:_ERROR_CHARS]
