"""A unit whose process died is tried alone before it is given up."""

import os
import signal
import time

import pytest

from early_experience.work import workers
from tests.test_workers import settings


def dies_at_first(unit):
  """One of the units ends its process in as many tries as its folder lacks."""
  folder, times, number = unit
  if number == 2:
    marks = len(list(folder.iterdir()))
    if marks < times:
      (folder / str(marks)).touch()
      os.kill(os.getpid(), signal.SIGKILL)
  return number


@pytest.mark.parametrize('tries', [1, 3])
def test_a_unit_whose_workers_are_killed_from_outside_is_not_lost(
  tmp_path, tries
):
  cluster = settings().cluster
  cluster.tries = tries
  units = [(tmp_path, tries, number) for number in range(6)]
  found = list(workers.run(dies_at_first, units, cluster, 6))
  assert len(list(tmp_path.iterdir())) == tries
  assert found == [(unit, unit[2]) for unit in units]


def runs_alone(unit):
  """Dies as if memory were short, wherever anything runs beside it."""
  folder, number = unit
  (folder / str(number)).touch()
  time.sleep(0.3)
  beside = len(list(folder.iterdir())) - 1
  if number == 2 and beside:
    os.kill(os.getpid(), signal.SIGKILL)
  (folder / str(number)).unlink()
  return number


def test_what_only_runs_alone_is_tried_alone_before_it_is_lost(tmp_path):
  cluster = settings(workers=3).cluster
  cluster.tries = 2
  units = [(tmp_path, number) for number in range(9)]
  found = dict(workers.run(runs_alone, units, cluster, 9))
  assert found == {unit: unit[1] for unit in units}
