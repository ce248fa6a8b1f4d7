"""Eight fake devices, no silent broadcasting, and compilations kept on disk."""

import os
import pathlib

_FLAG = '--xla_force_host_platform_device_count=8'
if _FLAG not in os.environ.get('XLA_FLAGS', ''):  # before jax is imported
  os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {_FLAG}'.strip()
os.environ.setdefault('JAX_PLATFORMS', 'cpu')

import jax  # noqa: E402

jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update(
  'jax_compilation_cache_dir',
  str(pathlib.Path(__file__).parent.parent / '.cache' / 'jax'),
)
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.2)
