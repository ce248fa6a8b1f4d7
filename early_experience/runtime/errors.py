"""The one exception that a user is meant to read."""

import os
import traceback
from collections.abc import Collection


class UserError(Exception):
  """Bad input. The message alone says what is wrong, where, and what to do."""


def need_extra(module: str, extra: str) -> UserError:
  """The error for an optional package that is not installed."""
  return UserError(
    f'{module} is not installed; run: pip install "early_experience[{extra}]"'
  )


def in_file(error: BaseException, paths: Collection[str]) -> str:
  """Says where in a user's own file an error arose.

  Args:
    error: with those that it was raised from.
    paths: of the files, absolute.

  Returns:
    `FILE line N: KIND: what`; '' where it did not arise in one of them.
  """
  found = ''
  while error:
    if isinstance(error, SyntaxError) and error.filename:
      places = [(error.filename, error.lineno)]
    else:
      frames = traceback.extract_tb(error.__traceback__)
      places = [(frame.filename, frame.lineno) for frame in frames]
    for path, line in places:
      if os.path.abspath(path) in paths:
        found = f'{path} line {line}: {type(error).__name__}: {words(error)}'
    error = error.__context__
  return found


def words(error: BaseException) -> str:
  """The message of an error in one line, without ml_collections' listing."""
  what = error
  while isinstance(what, BaseException):
    what = what.args[0] if what.args else type(what).__name__
  first, _, listing = str(what).partition('. Other fields present:')
  _, _, guess = listing.partition('Did you mean')
  said = f'{first}; did you mean{guess}' if guess else first
  return ' '.join(said.split())
