"""The page: whole, safe, and the same numbers as the files."""

import json
import re
import shutil

import pytest
from ml_collections import ConfigDict

from early_experience.report import report
from early_experience.reporting import report_data
from early_experience.runtime import files, stage
from early_experience.runtime.errors import UserError
from tests import tiny_workdir
from tests.chromium import browser, find

CONFIG = ConfigDict({'seed': 0})
PARTS, RATES = ('rate', 'low', 'high'), (0.125, 0.375, 0.625)


@pytest.fixture(scope='module')
def page(tmp_path_factory):
  workdir = tiny_workdir.build(tmp_path_factory.mktemp('run') / 'tiny')
  report(CONFIG, str(workdir))
  return workdir / 'report' / 'index.html'


def embedded(page):
  text = page.read_text(encoding='utf-8')
  block = text.split('<script type="application/json" id="data">')[1]
  return json.loads(block.split('</script>')[0])


def test_the_page_needs_nothing_but_itself(page):
  text = page.read_text(encoding='utf-8')
  assert not re.search(r'(src|href)="(?!#|data:,)', text)
  assert "default-src 'none'" in text


def test_no_data_can_end_its_block(page):
  assert tiny_workdir.NASTY not in page.read_text(encoding='utf-8')
  first = embedded(page)['trees']['sample'][0]
  assert any(tiny_workdir.NASTY in s['observation'] for s in first['steps'])


def test_the_page_is_a_function_of_the_workdir(page):
  before = page.read_bytes()
  report(CONFIG, str(page.parent.parent))
  assert page.read_bytes() == before


def test_samples_are_the_same_tasks_for_every_policy(tmp_path):
  workdir = tiny_workdir.build(tmp_path / 'run', trajectories=2, tasks=30)
  rollouts = report_data.gather(workdir, seed=0)['rollouts']
  chosen = {
    name: {r['task_id'] for r in rollouts[name]['seen']['sample']}
    for name in rollouts
  }
  assert chosen['joint'] == chosen['untrained']
  assert len(chosen['joint']) == report_data.ROLLOUTS
  # But for those on which an environment failed.
  aside = {f'seen-{i:04d}' for i in range(30 - tiny_workdir.ASIDE, 30)}
  assert chosen['random'] == chosen['joint'] - aside
  assert rollouts['joint']['seen']['total'] == 30


def test_long_curves_are_thinned_by_token_weighted_means():
  lines = [
    {'step': 1, 'stage': 0, 'imitation/nll': 4.0, 'imitation/tokens': 3},
    {'step': 2, 'stage': 0, 'imitation/nll': 2.0, 'imitation/tokens': 1},
    {'step': 3, 'stage': 1, 'imitation/nll': None, 'imitation/tokens': 0},
    {'step': 4, 'stage': 1, 'imitation/nll': 1.0, 'imitation/tokens': 5},
  ]
  first, second = report_data.thin(lines, points=2)
  assert (first['step'], first['imitation/nll']) == (2, 3.5)
  assert (second['imitation/nll'], second['imitation/tokens']) == (1.0, 5)


def test_rates_are_thinned_by_time():
  fast = {'step': 10, 'stage': 0, 'tokens_per_s': 1000.0, 'seconds': 1.0}
  slow = {'step': 20, 'stage': 0, 'tokens_per_s': 100.0, 'seconds': 11.0}
  (found,) = report_data.thin(
    [
      fast | {'data_wait_share': 0.0, 'lr': 0.2, 'loss': 1.0},
      slow | {'data_wait_share': 0.9, 'lr': 0.1, 'loss': 2.0},
    ],
    points=1,
  )
  assert found['tokens_per_s'] == pytest.approx(2000 / 11)
  assert found['data_wait_share'] == pytest.approx(9 / 11)
  assert (found['seconds'], found['lr'], found['loss']) == (11.0, 0.1, 1.5)


def test_an_empty_workdir_makes_a_page_that_says_so(tmp_path):
  report(CONFIG, str(tmp_path))
  data = embedded(tmp_path / 'report' / 'index.html')
  assert {s['state'] for s in data['stages'].values()} == {'absent'}


def test_a_value_that_is_not_finite_is_unknown(tmp_path):
  metrics = tmp_path / 'train' / 'joint' / 'metrics.jsonl'
  files.write_atomic(metrics, '{"step": 1, "imitation/nll": NaN}\n')
  report(CONFIG, str(tmp_path))
  page = tmp_path / 'report' / 'index.html'
  assert embedded(page)['curves']['joint'] == [
    {'step': 1, 'imitation/nll': None}
  ]


def test_success_over_samples_is_on_the_page(chrome, page, tmp_path):
  workdir = tmp_path / 'run'
  shutil.copytree(page.parent.parent, workdir)
  for samples in (3, 9):
    folder = workdir / 'evaluate' / f'joint-vote{samples}'
    shutil.copytree(workdir / 'evaluate' / 'joint', folder)
    path = folder / stage.SUMMARY
    how = {'samples': samples, 'temperature': 0.5}
    files.write_json(path, files.read_json(path) | {'settings': how})
  report(CONFIG, str(workdir))
  made = workdir / 'report' / 'index.html'
  chrome.get(made.as_uri())
  assert len(find(chrome, '#samples .charts polyline')) == 2, 'one a split'
  rows = find(chrome, '#samples tbody tr:not(.group)')
  assert [row.text.split()[:2] for row in rows[:3]] == [
    ['joint', '1'],
    ['joint-vote3', '3'],
    ['joint-vote9', '9'],
  ]
  assert chrome.get_log('browser') == []
  chrome.get(page.as_uri())
  assert not find(chrome, '#samples'), 'where nothing was sampled'


def test_what_reinforcement_came_to_is_on_the_page(chrome, page, tmp_path):
  workdir = tmp_path / 'run'
  shutil.copytree(page.parent.parent, workdir)
  rates = [(i, rate, rate / 2, (1 + rate) / 2) for i, rate in enumerate(RATES)]
  lines = [
    {'iteration': i, 'step': 2 * i, 'environment_steps': 300 * i}
    | dict(zip(map('success/{}'.format, PARTS), some, strict=True))
    | dict(zip(map('panel/{}'.format, PARTS), some, strict=True))
    | {'entropy': 1.0, 'kl': None}
    for i, *some in rates
  ]
  text = ''.join(json.dumps(line) + '\n' for line in lines)
  files.write_atomic(workdir / 'rl' / 'joint' / 'metrics.jsonl', text)
  asked = [line | {'environment_steps': 0} for line in lines]  # of records
  text = ''.join(json.dumps(line) + '\n' for line in asked)
  files.write_atomic(workdir / 'rl' / 'asked' / 'metrics.jsonl', text)
  report(CONFIG, str(workdir))
  made = workdir / 'report' / 'index.html'
  data = embedded(made)
  assert data['reinforcement'] == {'joint_rl': lines, 'asked_rl': asked}
  assert data['stages']['rl/joint']['state'] == 'unfinished'
  chrome.get(made.as_uri())
  assert len(find(chrome, '#reinforcement .charts polyline')) == 6
  said = find(chrome, '#reinforcement table')[0].text
  assert 'joint_rl' in said and '12.5%' in said and '62.5%' in said
  assert chrome.get_log('browser') == []


def test_rounds_and_stages_in_a_row_are_on_the_page(chrome, page, tmp_path):
  workdir = tmp_path / 'run'
  shutil.copytree(page.parent.parent, workdir)
  for home in ('first', 'round-1', 'round-2'):
    for name in ('collect', 'train/joint', 'evaluate/joint'):
      shutil.copytree(workdir / name, workdir / home / name)
  begun = workdir / 'train' / 'joint' / stage.SETTINGS
  init = {'checkpoint': str(workdir / 'first' / 'train' / 'joint')}
  files.write_json(begun, files.read_json(begun) | {'init': init})
  far = workdir / 'first' / 'evaluate' / 'joint' / stage.SUMMARY
  files.write_json(far, files.read_json(far) | {'source': 'elsewhere'})
  report(CONFIG, str(workdir))
  made = workdir / 'report' / 'index.html'
  assert not any(
    pair['same']
    for pair in embedded(made)['paired']
    if 'first/joint' in (pair['a'], pair['b'])
  ), 'tasks of other environments may have the same names'
  chrome.get(made.as_uri())
  assert len(find(chrome, '#rounds .charts polyline')) == 2, 'one a split'
  rows = find(chrome, '#rounds tbody tr:not(.group)')
  assert [row.text.split()[0] for row in rows[:2]] == [
    'round-1/joint',
    'round-2/joint',
  ]
  assert len(find(chrome, '[data-chain=joint] polyline')) == 2
  said = find(chrome, '#chain table')[0].text
  assert '→ first/joint' in said
  assert chrome.get_log('browser') == []
  chrome.get(page.as_uri())
  assert not find(chrome, '#rounds, #chain'), 'where there are none'


def test_bad_input_is_named(tmp_path):
  with pytest.raises(UserError, match='nowhere does not exist'):
    report(CONFIG, str(tmp_path / 'nowhere'))
  workdir = tiny_workdir.build(tmp_path / 'run', trajectories=2, tasks=2)
  rollouts = workdir / 'evaluate' / 'joint' / 'rollouts-00000.jsonl'
  rollouts.write_text(
    rollouts.read_text(encoding='utf-8').replace('"steps"', '"stops"')
  )
  with pytest.raises(UserError, match='00000.jsonl line 1: steps is missing'):
    report(CONFIG, str(workdir))
  shutil.rmtree(workdir / 'evaluate')
  metrics = workdir / 'train' / 'joint' / 'metrics.jsonl'
  metrics.write_text('{"loss": 1}\n' + metrics.read_text(encoding='utf-8'))
  with pytest.raises(UserError, match='metrics.jsonl line 1: .*step'):
    report(CONFIG, str(workdir))


@pytest.fixture(scope='module')
def chrome(tmp_path_factory):
  driver = browser(tmp_path_factory.mktemp('profile'))
  yield driver
  driver.quit()


def test_chromium_shows_the_numbers(chrome, page):
  chrome.get(page.as_uri())
  assert tiny_workdir.SOURCE in find(chrome, 'header')[0].text
  summary = files.read_json(
    page.parent.parent / 'evaluate' / 'joint' / stage.SUMMARY
  )
  success = summary['splits']['unseen']['success']
  said = find(chrome, 'main section')[0].text
  assert said.startswith('Conclusion\njoint is ')
  assert 'imitation by 16.7 points on 24 unseen tasks (95% interval' in said
  (row,) = find(chrome, '[data-split=seen] [data-policy=random]')
  cells = [c.text for c in row.find_elements('css selector', 'td')]
  assert cells[2:4] == ['1 of 24', '2']  # of which set aside
  assert 'set aside, counted as not solved: random: 4 hang' in (
    find(chrome, '#results')[0].text
  )
  (row,) = find(chrome, '[data-split=unseen] [data-policy=joint]')
  assert '75.8%' in row.text  # of outcomes foreseen
  assert f'{100 * success["rate"]:.1f}%' in row.text
  assert (
    f'{100 * success["low"]:.1f} to {100 * success["high"]:.1f}' in row.text
  )
  assert f'{success["count"]} of {success["n"]}' in row.text
  assert len(find(chrome, '#curves polyline')) == 4
  assert 'names the expert' in find(chrome, '[data-stage=reflect]')[0].text
  assert not find(chrome, '[data-stage=summarise]')
  assert '9.06×' in find(chrome, '#tokens')[0].text
  # Data that looks like markup stays text.
  assert chrome.execute_script('return window.broken') is None
  assert not find(chrome, '#problem:not([hidden])')
  assert chrome.get_log('browser') == []


def test_no_cell_shows_what_only_a_program_has_a_word_for(chrome, page):
  chrome.get(page.as_uri())
  chrome.execute_script(
    'document.querySelectorAll("details").forEach((d) => { d.open = true; })'
  )
  text = find(chrome, 'body')[0].text
  assert 'evaluate.think' in text or 'think' in text
  assert re.findall(r'.*\b(?:null|undefined|NaN|None)\b.*', text) == []


def test_policies_that_were_asked_other_tasks_are_told_apart(chrome, tmp_path):
  workdir = tiny_workdir.build(tmp_path / 'run', trajectories=2, tasks=8)
  other = tiny_workdir.build(tmp_path / 'other', trajectories=2, tasks=9)
  shutil.rmtree(workdir / 'evaluate' / 'joint')
  shutil.copytree(other / 'evaluate/joint', workdir / 'evaluate/joint')
  report(CONFIG, str(workdir))
  chrome.get((workdir / 'report' / 'index.html').as_uri())
  assert (
    'joint and imitation are not compared: they were not asked the same seen'
    ' tasks (9 and 8).'
  ) in find(chrome, '#conclusion')[0].text
  assert (
    'joint and imitation were not asked the same seen tasks: they are not'
    ' comparable.'
  ) in find(chrome, '#paired')[0].text
  assert chrome.get_log('browser') == []


def test_a_click_opens_a_branch(chrome, page):
  chrome.get(page.as_uri())
  branches = find(chrome, '.branches')[0]
  outcome = branches.find_elements('css selector', '.branch')[-1]
  assert not outcome.is_displayed()
  branches.find_element('css selector', 'summary').click()
  assert outcome.is_displayed()
  told = ('invalid', 'proposed by policy', 'Nothing happens.', 'in short: no')
  for text in told:
    assert text in outcome.text


def test_a_rollout_is_walked_through(chrome, page):
  chrome.get(page.as_uri())
  find(chrome, '[data-choose=split] option')[1].click()
  first = find(chrome, '#rollouts [aria-expanded=true]')[0].text
  assert first.startswith('1')
  chrome.execute_script('arguments[0].click()', find(chrome, '.walk button')[1])
  assert find(chrome, '#rollouts [aria-expanded=true]')[0].text.startswith('2')


def test_an_unfinished_run_still_makes_a_page(chrome, tmp_path):
  stage.begin(tmp_path, 'collect', {})
  report(CONFIG, str(tmp_path))
  chrome.get((tmp_path / 'report' / 'index.html').as_uri())
  assert 'begun, not finished' in find(chrome, '#counts')[0].text
  assert 'stage evaluate' in find(chrome, '#results')[0].text
  assert chrome.get_log('browser') == []


def test_a_damaged_page_names_what_is_missing(chrome, page, tmp_path):
  broken = tmp_path / 'index.html'
  broken.write_text(
    page.read_text(encoding='utf-8').replace('"paired":', '"pears":')
  )
  chrome.get(broken.as_uri())
  assert 'no "paired"' in find(chrome, '#problem')[0].text
