"""Eight fake devices, no silent broadcasting, and compilations kept on disk.

Programs are compiled in a hurry: tests compile much and compute little.
"""

import importlib.metadata
import os
import pathlib
import signal

IN_A_HURRY = '--xla_backend_optimization_level=0'
if importlib.metadata.version('jaxlib').startswith('0.10.'):
  # A third of the time to compile. Later ones know no such flag, and end at it.
  IN_A_HURRY += ' --xla_cpu_use_fusion_emitters=false'
# Devices wait for each other on few and busy cores: else 40 s, then an abort.
IN_A_HURRY += ' --xla_cpu_collective_call_terminate_timeout_seconds=600'
_FLAGS = f'--xla_force_host_platform_device_count=8 {IN_A_HURRY}'
if _FLAGS not in os.environ.get('XLA_FLAGS', ''):  # before jax is imported
  os.environ['XLA_FLAGS'] = (
    f'{os.environ.get("XLA_FLAGS", "")} {_FLAGS}'.strip()
  )
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Of the processes that tests start, too.
os.environ.setdefault(
  'JAX_COMPILATION_CACHE_DIR',
  str(pathlib.Path(__file__).parent.parent / '.cache' / 'jax'),
)
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.1')
# Where set it hides what a program fails to flush before another one prints.
os.environ.pop('PYTHONUNBUFFERED', None)
# nohup and the background of a shell ignore these, and so would all processes
# that tests start and ask to stop.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
  signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
  signal.signal(signal.SIGHUP, signal.SIG_DFL)

import gc  # noqa: E402

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update('jax_numpy_rank_promotion', 'raise')


@pytest.fixture(scope='module', autouse=True)
def short_memory():
  """What a file has compiled is dropped, and what stays is searched no more.

  Else each search for garbage takes longer than the one before, up to seconds.
  """
  yield
  jax.clear_caches()
  gc.collect()
  gc.freeze()
