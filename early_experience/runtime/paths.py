"""Paths that a user gives: expanded, and refused where they are none."""

import functools
import os
import pathlib
import re
from collections.abc import Callable

from early_experience.runtime.errors import UserError

_HUB_ID = re.compile(r'[\w.-]+/[\w.-]+')


def given(path: str, name: str, hub: bool = False) -> str:
  """A path as a user gave it, with `~` and variables expanded.

  Args:
    path: to expand; '' stays so. Relative ones stay relative.
    name: of the setting or flag, for errors.
    hub: it is the folder of something that comes from the Hugging Face hub.

  Raises:
    UserError: it is a URL, a hub's id that no folder has, or has a variable or
      a user that there is not.
  """
  path = os.fspath(path)
  said = f'{name}={path}'
  if re.match(r'[A-Za-z][A-Za-z0-9+.-]*://', path):
    raise UserError(
      f'{said} is a URL: mount the bucket, or download what is there, and give'
      ' the folder of this machine'
    )
  full = os.path.expandvars(os.path.expanduser(path))
  if full.startswith('~'):
    raise UserError(f'{said}: there is no user {full.split("/")[0][1:]!r}')
  unset = re.search(r'\$(\w+|\{\w+\})', full)
  if unset and not os.path.exists(full):
    raise UserError(f'{said}: the variable {unset[0]} is not set')
  if hub and _HUB_ID.fullmatch(path) and not pathlib.Path(full).parent.exists():
    raise UserError(
      f'{said} is no folder; where it is an id of the Hugging Face hub, run: hf'
      f' download {path} --local-dir FOLDER, and give FOLDER'
    )
  return full


def flag(name: str, hub: bool = False) -> Callable[[str], str]:
  """`given` as the type of a flag of argparse."""
  return functools.partial(given, name=name, hub=hub)
