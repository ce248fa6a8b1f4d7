"""No file of a workdir, damaged, ends in more than a line that names it."""

import pytest

from early_experience.experience import records
from early_experience.reporting import bookkeeping, report_data
from early_experience.runtime import files, stage
from early_experience.runtime.errors import UserError
from early_experience.train import train
from tests import tiny_workdir
from tests.training_case import config_of, prepared

pytestmark = [  # what orbax leaves behind when a load fails
  pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning'),
  pytest.mark.filterwarnings('ignore:coroutine'),
]
DAMAGES = {
  'cut': lambda data: data[: len(data) // 2],
  'emptied': lambda data: b'',
  'garbled': lambda data: b'\x00\xff{]' + data[::-1],
  'another value': lambda data: b'[1]\n',
}


def damaged(folder, paths):
  """(path, damage): each file in turn, which is whole again after it."""
  for path in paths:
    data = path.read_bytes()
    for name, how in DAMAGES.items():
      path.write_bytes(how(data))
      yield path.relative_to(folder), name
    path.write_bytes(data)


def assert_told(path, damage, read):
  """It is read all the same, or a line names the file or what it is part of."""
  try:
    read()
  except UserError as error:
    parts = {path.name, path.parent.name, *path.parts[:2]}
    assert '\n' not in str(error), (path, damage)
    assert any(part in str(error) for part in parts), (path, damage, error)


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """Everything that a report reads, each stage finished with its counts."""
  folder = tiny_workdir.build(tmp_path_factory.mktemp('run'), tasks=2, steps=20)
  for path in folder.rglob(stage.SUMMARY):
    stage.finish(path.parent, files.read_json(path))
  return folder


def test_what_a_report_reads(workdir):
  def read():
    report_data.gather(workdir, 0)
    list(bookkeeping.left_out(workdir))
    for name in ('collect', 'explore', 'reflect'):
      list(records.read(stage.require(workdir, name)))

  read()
  kinds = {
    '/'.join(p.relative_to(workdir).parts[::2]): p
    for p in workdir.rglob('*.json*')
  }
  for path, damage in damaged(workdir, sorted(kinds.values())):
    assert_told(path, damage, read)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  workdir, config = prepared(tmp_path_factory.mktemp('trained')), config_of()
  train(config, workdir)
  (workdir / 'train' / config.name / stage.SUMMARY).unlink()
  return workdir, config


def test_what_training_reads(trained):
  workdir, config = trained
  paths = [p for p in workdir.rglob('*') if p.is_file()]
  # See test_checkpoint.py for the files of a checkpoint.
  apart = {'tensorboard', *map(str, range(10))}
  paths = [p for p in paths if apart.isdisjoint(p.parts)]

  def read():
    train(config, workdir)
    (workdir / 'train' / config.name / stage.SUMMARY).unlink()

  for path, damage in damaged(workdir, paths):
    assert_told(path, damage, read)
