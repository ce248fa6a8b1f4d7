"""Runs a stage from the command line: config, workdir, and errors in a line."""

import errno
import os
import sys
import time
import traceback
from collections.abc import Callable

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags
from ml_collections.config_flags import config_path

from early_experience.runtime import cluster, paths, peers, process
from early_experience.runtime.errors import UserError, in_file, words

# It is locked by `_merge`, and comes locked but for the dictionaries that take
# new keys.
CONFIG = config_flags.DEFINE_config_file(
  'config',
  None,
  'configs/NAME.py[:recipe]',
  lock_config=False,
  accept_new_attributes=True,
)
WORKDIR = flags.DEFINE_string('workdir', None, 'folder of this run')
YES = flags.DEFINE_boolean(
  'yes', False, 'ask language models above the limits of their settings'
)
COORDINATOR = flags.DEFINE_string(
  'coordinator', '', 'host:port of process 0, where no cluster tells it'
)
PROCESSES = flags.DEFINE_integer('processes', 1, 'of this run')
PROCESS = flags.DEFINE_integer('process', 0, 'which of them this is')
TIMEOUT = flags.DEFINE_integer(
  'start_timeout_seconds', 300, 'to wait for the other processes'
)
PEER_TIMEOUT = flags.DEFINE_integer(
  'peer_timeout_seconds',
  60,
  'of silence of another process, after which all end',
  lower_bound=1,
)

_USAGE = (
  'flags are --config=configs/NAME.py[:recipe] --workdir=DIR'
  ' [--config.KEY=VALUE]'
)


def run(
  stage: Callable[[ConfigDict, str], object],
  needs_workdir: bool = True,
  many_processes: bool = False,
) -> None:
  """Runs `stage(config, workdir)`; bad input ends in one line, exit code 1.

  One that was told to stop ends in one line too, with 130 after a Ctrl-C, else
  with 75: again. In both cases the same command goes on.

  Args:
    stage: to run.
    needs_workdir: whether --workdir must be given.
    many_processes: whether it may be one of many.
  """
  process.start()
  logging.set_verbosity(logging.WARNING)  # a stage says what it did itself
  required = ('config', 'workdir') if needs_workdir else ('config',)
  told = {*required, *(('yes',) if needs_workdir else ())}
  if many_processes:
    told |= {f.name for f in (COORDINATOR, PROCESSES, PROCESS, TIMEOUT)}
    told.add(PEER_TIMEOUT.name)
  for name in told:  # by --help
    flag = flags.FLAGS[name]
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
  try:
    app.run(
      lambda argv: _main(stage, argv, many_processes),
      flags_parser=lambda argv: _parse(argv, required),
    )
  except UserError as error:
    _fail(str(error))
  except (KeyboardInterrupt, cluster.Preempted) as error:
    cluster.leave(*process.farewell(error))
  except Exception as error:
    if not isinstance(error, OSError) or error.errno != errno.ENOSPC:
      if not many_processes:
        raise
      # Leaving in good order would wait for the others, who wait for this one.
      told = traceback.format_exc()
      if type(error).__name__ == 'JaxRuntimeError':
        _await_verdict(error)
      cluster.leave(told, 1)
    _fail(f'the disk is full: {error.filename or WORKDIR.value}')


def confirmed() -> bool:
  """Whether the user said --yes."""
  return flags.FLAGS.is_parsed() and YES.value


def _await_verdict(error):
  """Lets jax end this process, where another one has died: it knows later."""
  if peers.watched() and 'RESOURCE_EXHAUSTED' not in str(error):
    time.sleep(2 * PEER_TIMEOUT.value)


def _parse(argv, required):
  """Lets absl parse, and turns its complaints into one line."""
  begins = '--config='
  argv = [
    begins + paths.given(arg.removeprefix(begins), '--config')
    if arg.startswith(begins)
    else arg
    for arg in argv
  ]
  try:
    left = flags.FLAGS(argv)
    _merge(flags.FLAGS['config'])
  except UserError:
    raise
  except Exception as error:
    configs = [arg.removeprefix('--config=').split(':')[0] for arg in argv]
    if where := in_file(error, [os.path.abspath(path) for path in configs]):
      _fail(where)
    if isinstance(error, IndexError):
      _fail('--config: no entry of a list has that number')
    if isinstance(error, (KeyError, AttributeError)):
      said = words(error)
      said = said if said.startswith('Key') else f'no key {said}'
      _fail(f'--config: {said}')
    if isinstance(error, (flags.Error, TypeError, ValueError, OSError)):
      while 'Error whilst parsing config file' in str(error):  # a traceback
        error = error.__context__
      _fail(words(error))
    raise
  for flag in required:
    if not flags.FLAGS[flag].present:
      _fail(f'--{flag} is missing; {_USAGE}')
  path = config_flags.get_config_filename(flags.FLAGS['config']).split(':')[0]
  if not os.path.isfile(path):
    _fail(f'--config={path}: no such file')
  return left


def _merge(flag):
  """A dictionary on the command line changes the keys that it has alone."""
  if not isinstance(flag.value, ConfigDict):
    return
  given = [
    k for k, v in flag.override_values.items() if isinstance(v, ConfigDict)
  ]
  before = flag.parser.parse(flag.config_filename) if given else None
  for key in given:
    merged = config_path.get_value(key, before)
    merged.update(config_path.get_value(key, flag.value))
    config_path.set_value(key, flag.value, merged)
  flag.value.lock()


def _main(stage, argv, many_processes):
  if len(argv) > 1:
    raise UserError(f'unexpected argument {argv[1]!r}; {_USAGE}')
  if not isinstance(CONFIG.value, ConfigDict):
    raise UserError('get_config() of --config returns no ConfigDict')
  if workdir := WORKDIR.value and paths.given(WORKDIR.value, '--workdir'):
    # Compiled programs are kept beside the run, for the stages that follow.
    cache = os.path.join(workdir, 'jax_cache')
    if 'jax' not in sys.modules:  # it reads this where it is imported
      os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', cache)
    elif not sys.modules['jax'].config.jax_compilation_cache_dir:
      sys.modules['jax'].config.update('jax_compilation_cache_dir', cache)
  if many_processes:
    # jax, which others do without
    from early_experience.runtime import distributed

    place = COORDINATOR.value, PROCESSES.value, PROCESS.value
    if distributed.many(*place):
      peers.watch()
      distributed.start(*place, TIMEOUT.value, PEER_TIMEOUT.value)
  elif COORDINATOR.value or cluster.launched():
    raise UserError(
      f'this stage runs in one process, but'
      f' {cluster.launched() or "--coordinator"} starts many: launch it once'
    )
  stage(CONFIG.value, workdir)


def _fail(message):
  cluster.leave(f'error: {message}', 1)
