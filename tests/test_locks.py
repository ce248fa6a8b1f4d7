"""File systems without locks: the truth is said, and work goes on."""

import errno
import fcntl
import json
import os
import subprocess
import sys

import pytest

from early_experience.language.answer import Answer
from early_experience.language.cache import Cache
from early_experience.runtime import stage
from early_experience.runtime.errors import UserError

NONE = [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL]


def refuse(monkeypatch, number):
  def lockf(*_):
    raise OSError(number, os.strerror(number))

  monkeypatch.setattr(fcntl, 'lockf', lockf)


@pytest.mark.parametrize('number', NONE)
def test_a_folder_that_cannot_be_locked_is_worked_in(
  tmp_path, monkeypatch, capsys, number
):
  refuse(monkeypatch, number)
  folder = stage.begin(tmp_path, 'collect', {'seed': 0})
  assert json.loads((folder / stage.SETTINGS).read_text()) == {'seed': 0}
  (line,) = capsys.readouterr().err.splitlines()
  assert f'{folder} cannot be locked ({os.strerror(number)})' in line


@pytest.mark.parametrize('number', [errno.EACCES, errno.EAGAIN])
def test_a_folder_that_another_has_locked_is_refused(
  tmp_path, monkeypatch, number
):
  refuse(monkeypatch, number)
  with pytest.raises(UserError, match='in use by another run: wait'):
    stage.begin(tmp_path, 'collect', {'seed': 0})


@pytest.mark.parametrize('number', NONE)
def test_answers_are_kept_where_nothing_can_be_locked(
  tmp_path, monkeypatch, capsys, number
):
  refuse(monkeypatch, number)
  path = tmp_path / 'a b?c#d' / 'answers.sqlite'
  assert Cache(path).keep('asked', 'm', '', Answer('said'))
  assert 'answers.sqlite cannot be locked' in capsys.readouterr().err
  assert Cache(path).find('asked').text == 'said'
  assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_sqlite_does_without_the_locks_that_a_file_system_lacks(tmp_path):
  """Another process has it locked, as one without locks would answer."""
  path = tmp_path / 'answers.sqlite'
  Cache(path).keep('asked', 'm', '', Answer('said'))
  code = (
    'import errno, fcntl, sys\n'
    'def lockf(*_): raise OSError(errno.ENOLCK, "none")\n'
    'fcntl.lockf = lockf\n'
    'from early_experience.language import cache\n'
    'cache._BUSY_SECONDS = 1\n'
    'print(cache.Cache(sys.argv[1]).find("asked").text)\n'
  )
  with open(path, 'r+b') as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    done = subprocess.run(
      [sys.executable, '-c', code, str(path)], capture_output=True, text=True
    )
  assert done.stdout == 'said\n', done.stderr
