"""The tutorial is run as it stands: its files, its commands, its numbers."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from early_experience.runtime import files
from tests import waiting

ROOT = pathlib.Path(__file__).parent.parent
PAGE = (ROOT / 'docs' / 'TUTORIAL.md').read_text()


def blocks(language):
  return re.findall(rf'^```{language}\n(.*?)^```$', PAGE, re.M | re.S)


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  folder = tmp_path_factory.mktemp('tutorial')
  for block in blocks('python'):
    name = re.match(r'# (\w+\.py)\n', block)[1]
    (folder / name).write_text(block)
  (commands,) = blocks('sh')
  printed = subprocess.run(
    ['sh', '-ec', commands],
    cwd=folder,
    env={
      **os.environ,
      'PATH': f'{pathlib.Path(sys.executable).parent}:{os.environ["PATH"]}',
      'PYTHONPATH': str(ROOT),
      'JAX_PLATFORMS': 'cpu',
    },
    capture_output=True,
    text=True,
    timeout=waiting.SECONDS,
  )
  assert printed.returncode == 0, printed.stderr
  return folder / 'run', printed.stdout


def solved(table, policy):
  (line,) = re.findall(rf'^{policy} .*/.*$', table, re.M)
  return [int(count) for count in re.findall(r'(\d+)/50', line)]


def test_the_policy_is_far_above_chance(finished):
  _, printed = finished
  chance = solved(printed, 'random')
  assert all(
    count > other + 15
    for count, other in zip(solved(printed, 'joint'), chance, strict=True)
  )


def test_the_page_shows_what_is_printed(finished):
  _, printed = finished
  (shown,) = blocks('text')
  assert solved(shown, 'random') == solved(printed, 'random')
  assert min(solved(shown, 'joint')) > max(solved(shown, 'random')) + 15
  # Of this machine, so that only what is far off is news.
  for mine, theirs in zip(
    solved(shown, 'joint'), solved(printed, 'joint'), strict=True
  ):
    assert abs(mine - theirs) <= 15


def test_every_demonstration_was_played(finished):
  summary = files.read_json(finished[0] / 'collect' / 'summary.json')
  assert summary['trajectories'] == 60
  assert not summary['set_aside']
