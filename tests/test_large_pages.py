"""What trains on Linux asks for large pages, by starting once more."""

import os
import sys

import pytest

from early_experience.runtime import large_pages


@pytest.fixture
def asked(monkeypatch, tmp_path):
  """Sets up a command; returns what it would be started with, or None."""

  def start(command, tunables='', pages='always [madvise] never'):
    calls, given = [], tmp_path / 'enabled'
    given.write_text(pages, 'utf-8')
    monkeypatch.setattr(large_pages, 'PAGES', given)
    monkeypatch.setattr(sys, 'orig_argv', ['python', '-m', *command])
    monkeypatch.setenv(large_pages.TUNABLES, tunables)
    monkeypatch.setattr(os, 'execve', lambda *call: calls.append(call))
    large_pages.ask()
    return calls[0] if calls else None

  return start


def test_a_command_that_trains_is_started_with_them(asked):
  command = ['early_experience.train', '--workdir=x']
  program, argv, environment = asked(command)
  assert program == sys.executable
  assert argv == [sys.executable, '-m', *command]
  assert environment['GLIBC_TUNABLES'] == 'glibc.malloc.hugetlb=1'
  assert environment['PATH'] == os.environ['PATH']


def test_other_tunables_are_kept_and_a_choice_is_the_users(asked):
  command = ['early_experience.rl']
  *_, environment = asked(command, 'glibc.malloc.check=0')
  assert environment['GLIBC_TUNABLES'] == (
    'glibc.malloc.check=0:glibc.malloc.hugetlb=1'
  )
  assert asked(command, 'glibc.malloc.hugetlb=0') is None


def test_nothing_else_is_started_twice(asked):
  assert asked(['early_experience.collect']) is None
  assert asked(['pytest', 'tests']) is None


@pytest.mark.parametrize(
  'pages', ['[always] madvise never', 'always madvise [never]']
)
def test_where_the_kernel_has_decided_nothing_is_asked(asked, pages):
  assert asked(['early_experience.train'], pages=pages) is None


def test_elsewhere_than_on_linux_nothing_is_asked(asked, monkeypatch):
  assert asked(['early_experience.train']) is not None
  monkeypatch.setattr(large_pages, 'PAGES', large_pages.PAGES / 'none')
  monkeypatch.setattr(os, 'execve', lambda *_: pytest.fail('started'))
  large_pages.ask()
