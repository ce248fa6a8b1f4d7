"""CPUs that a process may use: its affinity, and its control groups' time."""

import os

import pytest

from early_experience.runtime import cpus

MANY = 64


@pytest.fixture(autouse=True)
def machine(monkeypatch):
  monkeypatch.setattr(
    os, 'sched_getaffinity', lambda _: set(range(MANY)), raising=False
  )


def files(root, texts):
  for name, text in texts.items():
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
  return root


V1 = 'sys/fs/cgroup/cpu,cpuacct'
OWN = 'proc/self/cgroup'


@pytest.mark.parametrize(
  'texts, count',
  [
    ({}, MANY),
    ({OWN: '0::/\n', 'sys/fs/cgroup/cpu.max': '200000 100000\n'}, 2),
    ({OWN: '0::/\n', 'sys/fs/cgroup/cpu.max': 'max 100000\n'}, MANY),
    ({OWN: '0::/\n', 'sys/fs/cgroup/cpu.max': '250000 100000\n'}, 2),
    ({OWN: '0::/\n', 'sys/fs/cgroup/cpu.max': '50000 100000\n'}, 1),
    ({OWN: '0::/\n', 'sys/fs/cgroup/cpu.max': '9900000 100000\n'}, MANY),
    # The least of all that it is in.
    (
      {
        OWN: '0::/job/step\n',
        'sys/fs/cgroup/job/cpu.max': '300000 100000\n',
        'sys/fs/cgroup/job/step/cpu.max': '800000 100000\n',
      },
      3,
    ),
    # A container's path is the host's, and its own group is the top.
    ({OWN: '0::/docker/ab\n', 'sys/fs/cgroup/cpu.max': '400000 100000'}, 4),
    (
      {
        OWN: '5:memory:/m\n4:cpu,cpuacct:/docker/ab\n1:name=systemd:/x\n0::/\n',
        f'{V1}/cpu.cfs_quota_us': '600000\n',
        f'{V1}/cpu.cfs_period_us': '100000\n',
      },
      6,
    ),
    (
      {
        OWN: '4:cpuacct,cpu:/\n',
        'sys/fs/cgroup/cpu/cpu.cfs_quota_us': '600000\n',
        'sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
      },
      6,
    ),
    (
      {
        OWN: '4:cpu,cpuacct:/\n',
        f'{V1}/cpu.cfs_quota_us': '-1\n',
        f'{V1}/cpu.cfs_period_us': '100000\n',
      },
      MANY,
    ),
    ({OWN: 'nonsense\n', 'sys/fs/cgroup/cpu.max': '\n'}, MANY),
  ],
)
def test_a_quota_counts_as_so_many_cpus(tmp_path, texts, count):
  assert cpus.count(files(tmp_path, texts)) == count


def test_this_machine_has_some():
  assert 1 <= cpus.count() <= MANY
