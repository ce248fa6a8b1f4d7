"""Runs a stage from the command line: config, workdir, and errors in a line."""

import errno
import os
import sys
from collections.abc import Callable

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from early_experience.errors import UserError

CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'configs/NAME.py[:recipe]', lock_config=True
)
WORKDIR = flags.DEFINE_string('workdir', None, 'folder of this run')


def run(stage: Callable[[ConfigDict, str], object]) -> None:
  """Runs `stage(config, workdir)`; bad input ends in one line, exit code 1."""
  try:
    app.run(lambda argv: _main(stage, argv), argv=_checked(sys.argv))
  except UserError as error:
    _fail(str(error))
  except OSError as error:
    if error.errno != errno.ENOSPC:
      raise
    _fail(f'the disk is full: {error.filename or WORKDIR.value}')


def _checked(argv):
  """Lets absl parse, and turns its complaints about --config into one line."""
  try:
    flags.FLAGS(argv, known_only=False)
  except (
    flags.Error,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
  ) as error:
    _fail(str(error).strip().splitlines()[0])
  except FileNotFoundError as error:
    _fail(f'--config: {error.filename or error} does not exist')
  for flag in ('config', 'workdir'):
    if flags.FLAGS[flag].value is None:
      _fail(f'--{flag} is missing; usage: {_usage()}')
  return argv


def _main(stage, argv):
  if len(argv) > 1:
    raise UserError(f'unexpected argument {argv[1]!r}; usage: {_usage()}')
  stage(CONFIG.value, WORKDIR.value)


def _usage():
  name = os.path.splitext(os.path.basename(sys.argv[0]))[0]
  return (
    f'python -m early_experience.{name} --config=configs/NAME.py[:recipe]'
    ' --workdir=DIR [--config.KEY=VALUE]'
  )


def _fail(message):
  print(f'error: {message}', file=sys.stderr)
  sys.exit(1)
