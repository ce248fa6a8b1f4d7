"""Memory in large pages, which Linux gives to whoever asks.

On CPUs XLA takes the memory of each step anew, and the kernel hands it out in
pages of 4 KiB, every one at the price of a fault: a fifth of the time in which
a small model trains (docs/PERFORMANCE.md). glibc asks for pages of 2 MiB, if it
is told so before a process starts.
"""

import contextlib
import os
import pathlib
import sys

TUNABLES = 'GLIBC_TUNABLES'
_TUNABLE = 'glibc.malloc.hugetlb'
PAGES = pathlib.Path('/sys/kernel/mm/transparent_hugepage/enabled')
# Those that train.
COMMANDS = ('train', 'rl', 'quickstart', 'rounds', 'benchmark')


def ask() -> None:
  """Starts a command that trains once more, before it has done anything."""
  known = os.environ.get(TUNABLES, '')
  if _TUNABLE in known or not _trains() or not _are_given():
    return
  asked = ':'.join(filter(None, [known, f'{_TUNABLE}=1']))
  with contextlib.suppress(OSError):  # it is as well without
    os.execve(
      sys.executable,
      [sys.executable, *sys.orig_argv[1:]],
      {**os.environ, TUNABLES: asked},
    )


def _trains():
  package = __name__.partition('.')[0]
  return any(f'{package}.{name}' in sys.orig_argv for name in COMMANDS)


def _are_given():
  """Whether the kernel gives them to whoever asks, and to nobody else."""
  try:
    return '[madvise]' in PAGES.read_text('utf-8')
  except OSError:
    return False
