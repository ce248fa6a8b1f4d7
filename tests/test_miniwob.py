"""MiniWoB++ in the Chromium that is installed here."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

from early_experience import collect
from early_experience.envs.guard import Misbehaves
from early_experience.envs.interface import Task
from early_experience.envs.miniwob import experts
from early_experience.envs.miniwob.environment import MiniWob
from early_experience.experience import records
from early_experience.exploration import branching
from early_experience.runtime.errors import UserError
from tests import waiting

pytest.importorskip('miniwob')
if not shutil.which('chromedriver'):
  pytest.skip('no chromium-driver', allow_module_level=True)

# With animations, menus that open late, dialogs and date fields.
LIVELY = ('click-collapsible', 'use-autocomplete', 'click-dialog', 'enter-date')


@pytest.fixture(scope='module')
def env():
  env = MiniWob()
  yield env
  env.close()


@pytest.fixture
def short():
  """A folder for temporary files, whose sockets need short names."""
  with tempfile.TemporaryDirectory() as folder:
    yield folder


def task(kind, seed=0, split='train'):
  return Task(f'{kind}-{split}-{seed}', split, kind)


def children(process):
  tasks = pathlib.Path(f'/proc/{process}/task').glob('*/children')
  return [int(pid) for path in tasks for pid in path.read_text().split()]


def alive(process):
  status = pathlib.Path(f'/proc/{process}/status')
  return status.exists() and 'State:\tZ' not in status.read_text(
    encoding='utf-8'
  )


def transcripts(env):
  return [
    json.dumps(records.to_json(collect.run_expert(env, task(kind), 20)[0]))
    for kind in LIVELY
  ]


@pytest.mark.parametrize('kind', experts.EXPERTS)
def test_the_expert_solves_its_task(env, kind):
  split = 'train' if kind in experts.TRAIN else 'unseen'
  one = next(t for t in env.tasks(split) if t.type == kind)
  trajectory, failure = collect.run_expert(env, one, 20)
  assert failure is None
  assert trajectory.success and trajectory.score > 0.99


def test_runs_are_equal_in_every_process_and_leave_nothing(env, short):
  code = (
    'import json; from tests import test_miniwob as t;'
    'env = t.MiniWob(); print(json.dumps(t.transcripts(env))); env.close()'
  )
  other = subprocess.run(
    [sys.executable, '-c', code],
    env={
      **os.environ,
      'PYTHONHASHSEED': '7',
      'TZ': 'Asia/Tokyo',
      'TMPDIR': short,
    },
    capture_output=True,
    text=True,
    check=True,
  )
  assert json.loads(other.stdout) == transcripts(env)
  assert not os.listdir(short)


def test_other_seeds_and_splits_are_other_pages(env):
  first, *others = (
    env.reset(task('click-checkboxes', seed, split)).observation
    for seed, split in ((0, 'train'), (1, 'train'), (0, 'dev'))
  )
  assert first not in others


def test_held_out_kinds_are_never_trained_on(env):
  kinds = {s: {t.type for t in env.tasks(s)} for s in env.splits}
  assert kinds['train'] == kinds['dev']
  assert len(kinds['train']) >= 10 and len(kinds['unseen']) >= 5
  assert not kinds['train'] & kinds['unseen']


def test_time_stands_still_between_actions(env):
  turn = env.reset(task('enter-text'))
  env._browser.script('advanceClock(3600 * 1000)')
  turn = env.step('wait()')
  assert not turn.done


def test_branches_leave_the_trunk_as_it_was(env):
  one = task('click-tab-2')
  trajectory, _ = collect.run_expert(env, one, 20)
  ideas = ['click(999)', 'click(4)', 'click(9)', 'press(2, "ArrowRight")']
  proposals = [[(a, 'test') for a in ideas] for _ in trajectory.steps]
  explored = branching.branch(env, one, trajectory, proposals)
  rejected, tab, link, _ = explored.steps[0].alternatives
  assert not rejected.valid and 'no element 999' in rejected.observation
  assert tab.valid and tab.observation != trajectory.steps[0].observation
  assert link.done and link.observation == 'The task is over. Reward: -1'


def test_a_rejected_action_changes_nothing(env):
  turn = env.reset(task('enter-text'))
  before = env.fingerprint()
  for action in ('click(9)', 'type(2, "a")', 'goto("http://a.b")', 'hello'):
    answer = env.step(action)
    assert not answer.valid and not answer.done
    assert answer.observation.startswith('Not possible: ')
    assert answer.observation.endswith(turn.observation)
  assert env.fingerprint() == before
  assert env.step('type(1, "a")').valid
  assert env.fingerprint() != before


def test_a_covered_element_cannot_be_clicked(env):
  env.reset(task('click-button'))
  env._browser.script(
    "const e = document.body.appendChild(document.createElement('div'));"
    "e.style = 'position: fixed; inset: 0; z-index: 99'"
  )
  answer = env.step('click(1)')
  assert not answer.valid and 'hidden or covered' in answer.observation


def test_keys_go_only_where_they_can(env):
  env.reset(task('click-link'))
  answer = env.step('press(1, "Enter")')
  assert not answer.valid
  assert answer.observation.startswith('Not possible: element 1 takes no keys.')


def test_every_text_can_be_typed(env):
  env.reset(task('enter-text'))
  env.step('type(1, "old")')
  turn = env.step('type(1, "é中😀\\"x\\\\ Ab!")')
  assert '[1] textbox value="é中😀\\"x\\\\ Ab!" (focused)' in turn.observation


def test_nothing_is_left_of_the_episode_before(env):
  env.reset(task('enter-text'))
  for action in ('type(1, "old")', 'press(1, "Control+a")'):
    env.step(action)
  env.step('press(1, "Control+c")')
  env.reset(task('enter-text'))
  turn = env.step('press(1, "Control+v")')
  assert '[1] textbox value="" (focused)' in turn.observation


def test_a_double_click_on_the_end_starts_nothing_new(env):
  env.reset(task('enter-text'))
  assert env.step('dblclick(2)').done


def test_a_browser_that_crashes_is_named_and_replaced(env):
  env.reset(task('enter-text'))
  driver = env._browser._driver.service.process.pid
  (chromium,) = children(driver)
  os.kill(driver, signal.SIGKILL)
  with pytest.raises(Misbehaves, match='chromium ended'):
    env.step('click(2)')
  assert not alive(chromium)
  assert env.reset(task('enter-text')).observation.startswith('page')


def test_no_browser_outlives_a_process_that_is_killed(short):
  code = (
    'import sys; from tests import test_miniwob as t; env = t.MiniWob();'
    "env.reset(t.task('enter-text')); print('ready', flush=True);"
    'sys.stdin.read()'
  )
  process = subprocess.Popen(
    [sys.executable, '-c', code],
    env={**os.environ, 'TMPDIR': short},
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
  )
  assert process.stdout.readline() == b'ready\n'
  started = children(process.pid)
  started += [one for child in started for one in children(child)]
  assert len(started) == 3  # the driver, the browser, and who ends both
  process.kill()
  process.wait()
  waiting.until(lambda: not any(map(alive, started)), 'end of the browser')
  waiting.until(lambda: not os.listdir(short), 'end of its files')


@pytest.mark.parametrize(
  'kwargs, why',
  [
    ({'train_types': ['click-buton']}, "miniwob has no task 'click-buton'"),
    ({'dev_seeds': -1}, 'env.kwargs.dev_seeds is -1'),
    ({'unseen_types': ['click-tab']}, 'click-tab is among train_types too'),
  ],
)
def test_wrong_arguments_are_named(kwargs, why):
  with pytest.raises(UserError, match=why):
    MiniWob(**kwargs)


def test_a_missing_browser_is_named(monkeypatch):
  monkeypatch.setenv('PATH', '/nowhere')
  with pytest.raises(UserError, match='apt-get install chromium chromium-dri'):
    MiniWob()
