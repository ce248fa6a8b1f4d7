"""Runs a stage from the command line: config, workdir, and errors in a line."""

import errno
import os
import sys
from collections.abc import Callable

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from early_experience.errors import UserError

CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'configs/NAME.py[:recipe]', lock_config=True
)
WORKDIR = flags.DEFINE_string('workdir', None, 'folder of this run')


def run(
  stage: Callable[[ConfigDict, str], object], needs_workdir: bool = True
) -> None:
  """Runs `stage(config, workdir)`; bad input ends in one line, exit code 1."""
  logging.set_verbosity(logging.WARNING)  # a stage says what it did itself
  required = ('config', 'workdir') if needs_workdir else ('config',)
  try:
    app.run(
      lambda argv: _main(stage, argv),
      flags_parser=lambda argv: _parse(argv, required),
    )
  except UserError as error:
    _fail(str(error))
  except OSError as error:
    if error.errno != errno.ENOSPC:
      raise
    _fail(f'the disk is full: {error.filename or WORKDIR.value}')


def _parse(argv, required):
  """Lets absl parse, and turns its complaints into one line."""
  try:
    left = flags.FLAGS(argv)
  except UserError:
    raise
  except (KeyError, AttributeError) as error:
    what = error.args[0] if error.args else error
    _fail(f'--config has no key {" ".join(str(what).split())}')
  except (flags.Error, TypeError, ValueError) as error:
    _fail(' '.join(str(error).split()))
  for flag in required:
    if not flags.FLAGS[flag].present:
      _fail(f'--{flag} is missing; usage: {_usage()}')
  path = config_flags.get_config_filename(flags.FLAGS['config']).split(':')[0]
  if not os.path.isfile(path):
    _fail(f'--config={path}: no such file')
  return left


def _main(stage, argv):
  if len(argv) > 1:
    raise UserError(f'unexpected argument {argv[1]!r}; usage: {_usage()}')
  if WORKDIR.value and 'jax' in sys.modules:
    # Compiled programs are kept beside the run, for the stages that follow.
    sys.modules['jax'].config.update(
      'jax_compilation_cache_dir', os.path.join(WORKDIR.value, 'jax_cache')
    )
  stage(CONFIG.value, WORKDIR.value)


def _usage():
  name = os.path.splitext(os.path.basename(sys.argv[0]))[0]
  return (
    f'python -m early_experience.{name} --config=configs/NAME.py[:recipe]'
    ' --workdir=DIR [--config.KEY=VALUE]'
  )


def _fail(message):
  """Ends here and now: libraries that clean up first would tell it again."""
  print(f'error: {message}', file=sys.stderr, flush=True)
  sys.stdout.flush()
  os._exit(1)
