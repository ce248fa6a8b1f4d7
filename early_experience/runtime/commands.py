"""What commands with flags of their own share: bad input ends in one line."""

import argparse
import functools
import sys
from collections.abc import Callable

from early_experience.runtime.errors import UserError


def one_line(main: Callable) -> Callable:
  """Makes bad input end a command in one line with exit code 1; Ctrl-C: 130."""

  @functools.wraps(main)
  def run(*arguments):
    try:
      return main(*arguments)
    except UserError as error:
      print(f'error: {error}', file=sys.stderr)
      sys.exit(1)
    except KeyboardInterrupt:
      print('stopped', file=sys.stderr)
      sys.exit(130)

  return run


class _Parser(argparse.ArgumentParser):
  """Whose complaints are errors of the user like all others."""

  def error(self, message):
    raise UserError(f'{message}; {" ".join(self.format_usage().split())}')


def parser(module: str, doc: str) -> argparse.ArgumentParser:
  """For the flags of a command.

  Args:
    module: what stands behind `python -m early_experience.`
    doc: of the module, for --help.
  """
  return _Parser(
    prog=f'python -m early_experience.{module}',
    description=doc,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
