"""Prompts: text files whose names carry their version.

A prompt that has been used is never edited; a better one is a new file with the
next number, so that records, settings and kept answers say by which they were
written.
"""

import functools
import importlib.resources
import string

from early_experience.runtime.errors import UserError


def fill(name: str, **slots: str) -> str:
  """The text of a prompt with its slots filled.

  Args:
    name: with the version, e.g. `rationale-1`.
    **slots: by name; all that the file has.

  Raises:
    UserError: there is no such prompt; the message names those there are.
  """
  return _template(name).substitute(slots)


def check(name: str, where: str) -> str:
  """Returns the name.

  Raises:
    UserError: there is no such prompt; the message names `where` and those
      there are.
  """
  folder = importlib.resources.files(__name__)
  known = sorted(
    path.name.removesuffix('.txt')
    for path in folder.iterdir()
    if path.name.endswith('.txt')
  )
  if name not in known:
    raise UserError(f'{where} is {name!r}, not one of: {", ".join(known)}')
  return name


@functools.cache
def _template(name):
  check(name, 'the prompt')
  path = importlib.resources.files(__name__).joinpath(f'{name}.txt')
  return string.Template(path.read_text(encoding='utf-8'))
