"""Config files that code opens itself, where no flag of absl does."""

import contextlib
import os
import runpy
from collections.abc import Iterator

from early_experience.runtime.errors import UserError, in_file


@contextlib.contextmanager
def opened(key: str, place: str) -> Iterator[tuple[dict, str, list[str]]]:
  """Runs a config file, and says in one line what it raises inside the block.

  Args:
    key: the flag or setting that names it, for errors.
    place: PATH or PATH:RECIPE.

  Yields:
    (what the file defines, its path, the arguments of its `get_config`).

  Raises:
    UserError: there is no such file; it, or what the block calls of it, raises.
  """
  path, _, recipe = place.partition(':')
  if not os.path.isfile(path):
    raise UserError(f'{key}={place}: no such file')
  try:
    yield runpy.run_path(path), path, [recipe] if recipe else []
  except UserError:
    raise
  except Exception as error:
    if where := in_file(error, [os.path.abspath(path)]):
      raise UserError(where) from None
    if 'get_config()' in str(error):  # it takes no recipe
      raise UserError(f'{key}={place}: {error}') from None
    raise
