"""The list of environments: complete, true, and broken by none of them."""

import os
import subprocess
import sys
import time

import pytest

from early_experience.envs import catalogue, registry
from early_experience.runtime.errors import UserError
from tests import waiting
from tests.toy_env import ToyEnv


class Absent(ToyEnv):
  needs, install = ('no_such_module',), 'pip install no-such-module'


class Unset(ToyEnv):
  def __init__(self):
    raise UserError('config.env.kwargs.data is empty')


class Broken(ToyEnv):
  def __init__(self):
    raise RuntimeError('the box is\nempty')


class Dies(ToyEnv):
  def __init__(self):
    os._exit(7)


class Hangs(ToyEnv):
  def tasks(self, split):
    time.sleep(600)


def test_each_environment_is_told_and_none_breaks_the_list():
  kinds = ('Absent', 'Unset', 'Broken', 'Dies', 'Hangs')
  names = [f'tests.test_catalogue:{kind}' for kind in kinds]
  found = catalogue.described(['tests.toy_env:ToyEnv', *names], 5.0)
  toy, *others = found
  assert toy['tasks'] == {'train': 8, 'test': 8}
  assert toy['note'] == 'installed: boxes'
  assert [one['note'] for one in others] == [
    'not installed; run: pip install no-such-module',
    'installed, but config.env.kwargs.data is empty',
    'broken: RuntimeError: the box is empty',
    'crash: its process ended with exit code 7',
    'hang: no answer in 5 s',
  ]
  lines = catalogue.table(found, 80).splitlines()
  assert len(lines) == 1 + 2 * len(found) and max(map(len, lines)) <= 80


def test_all_that_is_registered_can_be_described_without_its_packages():
  code = (
    'import sys\n'
    'from early_experience.envs import registry\n'
    'before = set(sys.modules)\n'
    'for name in registry.ENVIRONMENTS:\n'
    '  kind = registry.kind_of(name)\n'
    '  loaded = (set(sys.modules) - before).intersection(kind.needs)\n'
    '  assert not loaded, (name, loaded)\n'
    '  assert kind.licence and kind.splits, name\n'
    '  assert kind.branching in ("clone", "fork", "replay"), name\n'
    '  assert kind.install or not kind.needs, name\n'
    'assert "jax" not in sys.modules\n'
  )
  subprocess.run(
    [sys.executable, '-c', code], check=True, timeout=waiting.SECONDS
  )


def test_the_command_prints_the_table():
  pytest.importorskip('alfworld')
  told = subprocess.run(
    [sys.executable, '-m', 'early_experience.envs', 'alfworld'],
    check=True,
    capture_output=True,
    text=True,
  ).stdout
  head, row, note = told.splitlines()
  assert head.startswith('environment') and 'train 3,553' in row
  assert note.strip().startswith('installed: ')
  assert 'alfworld' in registry.ENVIRONMENTS


def test_the_command_knows_an_environment_of_ones_own_and_no_other():
  told = lambda name: subprocess.run(
    [sys.executable, '-m', 'early_experience.envs', name],
    capture_output=True,
    text=True,
  )
  found = told('tests.toy_env:ToyEnv')
  assert 'tests.toy_env:ToyEnv  train 8' in found.stdout, found.stderr
  other = told('nowhere')
  assert (
    other.returncode and "env.name is 'nowhere', not one of" in other.stderr
  )
