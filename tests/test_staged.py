"""What came first, training, and reinforcement: one command, one page."""

import json

import pytest

from early_experience import quickstart, recipes
from early_experience.reporting import report_data, round_folders
from early_experience.runtime import files
from early_experience.runtime.errors import UserError
from tests import test_evaluate

FIRST = """
from tests.test_staged import base

def get_config(recipe):
  return base(recipe, tasks=12)
"""


def base(recipe, **kwargs):
  """The toy's settings, with next to nothing to do."""
  config = test_evaluate.config_of()
  config.env.name = 'tests.toy_env:Asked'
  config.env.kwargs.update(kwargs)
  config.cluster.workers = 1
  config.collect.trajectories, config.explore.k = 3, 1
  config.prepare.rows = recipes.row_sets(('expert', 'trunk'), k=1)
  config.prepare.overlong = 'drop'
  config.budget.steps = 4
  config.evaluate.update(tasks=2, max_steps=2, world_model_states=0)
  config.rl.update(iterations=2, tasks=2, group=2, batch_rows=2)
  config.rl.update(panel_tasks=2, panel_every=2)
  return recipes.select(config, recipe)


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  folder = tmp_path_factory.mktemp('run')
  (folder / 'before.py').write_text(FIRST)
  config = base('imitation')
  config.quickstart.recipes = ('random', 'imitation')
  config.quickstart.rl = ('imitation',)
  config.quickstart.first = f'{folder}/before.py:trunk'
  workdir = folder / 'all'
  return workdir, config, quickstart.quickstart(config, str(workdir))


def test_each_policy_is_evaluated_before_and_after(finished):
  _, _, results = finished
  assert list(results) == ['random', 'imitation', 'imitation_rl']
  assert len({of['splits']['test']['panel'] for of in results.values()}) == 1


def test_each_goes_on_from_the_one_before_with_its_vocabulary(finished):
  workdir, *_ = finished
  begun = files.read_json(workdir / 'train' / 'imitation' / 'settings.json')
  start = begun['init']['checkpoint']['path']
  assert start == str(workdir / 'first' / 'train' / 'trunk')
  prepared = [
    files.read_json(home / 'prepare' / 'summary.json')
    for home in (workdir, workdir / 'first')
  ]
  assert prepared[0]['tokenizer'] == prepared[1]['tokenizer']


def test_one_page_has_all_stages_in_a_row(finished, tmp_path):
  workdir, *_ = finished
  row = [('first/trunk', 0), ('imitation', 1), ('imitation_rl', 2)]
  moved = workdir.rename(tmp_path / 'moved')
  try:
    elsewhere = report_data.gather(moved, seed=0)
  finally:
    moved.rename(workdir)
  for data in (elsewhere, report_data.gather(workdir, seed=0)):
    chain = data['chain']
    assert [(one['policy'], one['after']) for one in chain] == row
    starts = ['seed 0', 'first/trunk', 'imitation']
    assert [one['start'] for one in chain] == starts
    assert all(one['splits']['test']['success']['n'] == 2 for one in chain)
  assert data['curves']['first/trunk'] and data['curves']['imitation']
  assert data['reinforcement']['imitation_rl']
  said = ' '.join(data['conclusions'])
  assert 'imitation_rl is ' in said and ' imitation ' in said


def test_plain_text_may_come_first(tmp_path):
  corpus = tmp_path / 'corpus'
  corpus.mkdir()
  line = json.dumps({'text': 'open box 1 and look into it. ' * 40})
  (corpus / 'iwm.jsonl').write_text(f'{line}\n{line}\n')
  config = base('world_model')
  config.prepare.source = 'import'
  config.prepare.rows = recipes.row_sets(('world',), k=0)
  config.quickstart.chats = str(corpus)
  config.quickstart.recipes = ('world_model',)
  result = quickstart.quickstart(config, str(tmp_path / 'run'))
  assert result['world_model']['splits']['test']['success']['n'] == 2
  made = files.read_json(tmp_path / 'run' / 'prepare' / 'summary.json')
  rows = made['rows']['world']
  assert not rows['dropped'] and rows['rows'] > 1
  # Twice the same text: a tree of it weighs each token twice.
  tokens = rows['tree_tokens']
  assert (
    rows['flat_tokens'] == tokens and rows['scored']['world_model'] > tokens
  )
  assert not (tmp_path / 'run' / 'collect').exists()


def test_the_same_command_has_nothing_left_to_do(finished):
  workdir, config, results = finished
  kept = [p for p in workdir.rglob('*') if p.is_file()]
  kept = {p: p.stat().st_mtime_ns for p in kept if 'report' not in p.parts}
  again = quickstart.quickstart(config, str(workdir))
  assert list(again) == list(results)
  assert {p: p.stat().st_mtime_ns for p in kept} == kept


def test_what_cannot_be_is_said_before_anything_begins(tmp_path):
  config = base('imitation')
  config.quickstart.recipes = ('random', 'imitation')
  for name in ('random', 'joint'):
    config.quickstart.rl = (name,)
    with pytest.raises(UserError, match=f"quickstart.rl has '{name}', which"):
      quickstart.quickstart(config, str(tmp_path / 'run'))

  def fails(match):
    with pytest.raises(UserError, match=match):
      quickstart.quickstart(config, str(tmp_path / 'run'))
    assert not (tmp_path / 'run').exists()

  config.quickstart.rl, config.quickstart.first = (), 'nowhere.py:joint'
  fails('first=nowhere.py:joint: no such file')
  (tmp_path / 'broken.py').write_text('def get_config():\n  return 1 / 0\n')
  config.quickstart.first = str(tmp_path / 'broken.py')
  fails('broken.py line 2: ZeroDivisionError: division by zero')
  config.init.checkpoint = str(tmp_path)
  fails('first and config.init.checkpoint both say where')
  config.quickstart.first, config.quickstart.chats = '', str(tmp_path)
  fails('quickstart.chats has chats to import, which only .*source=import')


def test_what_came_first_may_have_had_something_before_it(tmp_path):
  for home in ('first/first', 'round-1', 'round-3'):
    (tmp_path / home).mkdir(parents=True)
  found = round_folders.homes(tmp_path)
  assert found == ['', 'first', 'first/first', 'round-1'], 'no round 2 yet'
  place = round_folders.stage_of('train', 'first/first/joint')
  assert place == 'first/first/train/joint'
