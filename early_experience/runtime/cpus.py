"""How many CPUs this process may use, which a container has fewer of."""

import os
import pathlib

_ROOT = pathlib.Path('/')


def count(root: pathlib.Path = _ROOT) -> int:
  """Those it may run on, at most as many as its control group has time for.

  Args:
    root: of the file system.
  """
  if hasattr(os, 'sched_getaffinity'):
    cpus = len(os.sched_getaffinity(0))
  else:
    cpus = os.cpu_count() or 1
  return max(1, int(min([cpus, *_quotas(root)])))


def _quotas(root):
  """CPUs of this process's control groups and those that they are in."""
  groups = root / 'sys' / 'fs' / 'cgroup'
  for line in _read(root / 'proc' / 'self' / 'cgroup').splitlines():
    _, controllers, path = (*line.split(':', 2), '', '')[:3]
    if not controllers:  # version 2
      top, read = groups, _quota_2
    elif 'cpu' in controllers.split(','):
      top, read = groups / controllers, _quota_1
      if not top.exists():
        top = groups / 'cpu'
    else:
      continue
    # A container may see its own group as the top, whatever its path says.
    folder = pathlib.PurePosixPath(path.lstrip('/'))
    for group in dict.fromkeys((folder, *folder.parents)):
      numbers = read(top / group)
      if len(numbers) == 2 and all(n.isdecimal() for n in numbers):
        quota, period = map(int, numbers)
        if quota and period:
          yield quota / period


def _quota_2(group):
  return _read(group / 'cpu.max').split()  # `max 100000` where there is none


def _quota_1(group):
  names = ('cpu.cfs_quota_us', 'cpu.cfs_period_us')  # -1 where there is none
  return [_read(group / name).strip() for name in names]


def _read(path):
  try:
    return path.read_text(encoding='utf-8')
  except OSError:
    return ''
