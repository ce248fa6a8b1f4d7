"""WebArena's adapter, through BrowserGym, on a fixture shop."""

import ast
import json
import pathlib
import shutil

import pytest

from early_experience import collect
from early_experience.envs import webarena
from early_experience.envs.web import actions
from early_experience.runtime.errors import UserError
from tests import web_site

pytest.importorskip('browsergym.core')
if not shutil.which('chromium'):
  pytest.skip('no chromium', allow_module_level=True)

DEMOS = [
  {'task': '4', 'actions': ['click("6")']},
  {
    'task': 1,
    'actions': ["fill('8', 'rope')", 'select(9, "Lamps")', 'click(12)'],
    'thoughts': [None, 'Only lamps.', None],
  },
]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('webarena')
  web_site.write_tasks(folder)
  lines = ''.join(json.dumps(demo) + '\n' for demo in DEMOS)
  (folder / 'demos.jsonl').write_text(lines)
  return folder


@pytest.fixture(scope='module')
def env(folder, tmp_path_factory):
  browsers, pages = (tmp_path_factory.mktemp(n) for n in ('browsers', 'pages'))
  web_site.playwright_browsers(browsers)
  with pytest.MonkeyPatch.context() as patch, web_site.serve(pages) as site:
    patch.setenv('PLAYWRIGHT_BROWSERS_PATH', str(browsers))
    env = web_site.FixtureArena(
      site=site, data=str(folder), demonstrations=str(folder / 'demos.jsonl')
    )
    yield env
    env.close()


def task(env, number):
  tasks = [task for split in env.splits for task in env.tasks(split)]
  return next(task for task in tasks if task.id == str(number))


def test_tests_are_never_trained_on_and_new_templates_are_unseen(env):
  ids = {s: [task.id for task in env.tasks(s)] for s in env.splits}
  assert ids == {'train': ['0', '1', '2'], 'seen': ['3'], 'unseen': ['4']}


def test_demonstrations_are_the_expert(env):
  trajectory, failure = collect.run_expert(env, task(env, 1), 30)
  assert failure is None and trajectory.success
  typed, chosen, sent = trajectory.steps
  assert typed.action == 'type(8, "rope")' and chosen.thought == 'Only lamps.'
  assert '[8] textbox "Search" value="rope"' in chosen.observation
  assert '[9] combobox "Section" value="Lamps"' in sent.observation
  assert 'select(9, "All")' in sent.admissible
  assert trajectory.final_observation.endswith('heading "Nothing found"')


def test_pages_tabs_and_answers(env):
  turn = env.reset(task(env, 0))
  assert env.instruction == 'What does the lamp cost?'
  assert '[5] link "Lamps"' in turn.observation

  turn = env.step('click(5)')
  assert '/lamps.html\npage "Lamps"' in turn.observation
  assert '17 coins' not in turn.observation
  before = turn.observation
  same = env.fingerprint()
  for action in ('import os', 'click(99)', 'tab_focus(b)'):
    turn = env.step(action)
    assert not turn.valid and turn.observation.endswith(before)
  assert env.fingerprint() == same
  turn = env.step('type(5, "a")')  # only the browser knows that it cannot
  assert not turn.valid and turn.observation.startswith('Not possible: ')
  more = next(line for line in before.splitlines() if 'Show the' in line)
  turn = env.step(f'click({more.split("]")[0].strip(" [")})')
  assert 'text "17 coins"' in turn.observation
  button = next(line for line in before.splitlines() if 'New tab' in line)
  turn = env.step(f'click({button.split("]")[0].strip(" [")})')
  assert 'tab 0 "Lamps"\ntab 1 "Boats" (here)' in turn.observation
  assert 'button "x" (disabled)' in turn.observation
  assert not turn.done

  turn = env.step('answer("17 coins")')
  assert turn.done and turn.success and turn.score == 1.0


@pytest.mark.parametrize('name', actions.FORMS)
def test_browsergym_knows_every_action(name):
  from browsergym.core.action.highlevel import HighLevelActionSet

  said = 'it\'s "17"\\\n) + exit('
  examples = {'id': '7', 'text': said, ('up', 'down'): 'down'}
  args = tuple(examples[kind] for kind in actions.FORMS[name])
  known = HighLevelActionSet(subsets=webarena.SUBSETS)
  code = known.to_python_code(webarena.written(actions.Action(name, args)))
  call = ast.parse(code).body[-1].value
  literals = [ast.literal_eval(arg) for arg in call.args]
  assert (said in literals) == ('text' in actions.FORMS[name])


def test_missing_files_and_servers_are_named(folder, tmp_path, monkeypatch):
  with pytest.raises(UserError, match='VisualAgentBench') as error:
    webarena.WebArena(data=str(tmp_path))
  assert '\n' not in str(error.value)
  path = pathlib.Path(tmp_path / webarena.ALL_FILE)
  path.write_text('[{"task_id": 1, "sites": []}]', encoding='utf-8')
  with pytest.raises(UserError, match='a task has no intent_template_id'):
    webarena.WebArena(data=str(tmp_path))
  monkeypatch.delenv('WA_SHOPPING', raising=False)
  with pytest.raises(UserError, match='WA_SHOPPING|browsergym.webarena'):
    webarena.WebArena(data=str(folder))
