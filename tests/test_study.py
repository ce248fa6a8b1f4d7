"""Studies: what seeds and tasks say together, and the page about it."""

import collections
import csv
import dataclasses
import json
import random
import shutil

import numpy as np
import pytest

from early_experience import study
from early_experience.evaluation import statistics
from early_experience.reporting import results
from early_experience.runtime import files
from early_experience.runtime.errors import UserError
from early_experience.sweeps import costs, figure, studies, table
from early_experience.sweeps import folder as sweep_folder
from early_experience.sweeps.runs import expand
from early_experience.training import metrics
from tests import tiny_workdir
from tests.test_sweep import config_file


def test_of_one_run_the_tasks_are_the_sample():
  values = [[1.0, 0.0, 1.0, 1.0]]
  assert statistics.crossed(values) == statistics.mean_interval(values[0])


def test_two_way_variance_is_that_of_the_analysis_of_variance():
  # By hand: mean squares of runs 2/3, of tasks 1/6, of the rest 1/6.
  found = statistics.crossed([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
  assert found.rate == pytest.approx(2 / 3)
  total = (2 / 3) + 1 / 6 - 1 / 6
  degrees = total**2 / ((2 / 3) ** 2 + 2 * (1 / 6) ** 2 / 2)
  half = statistics.t_quantile(max(1, degrees)) * (total / 6) ** 0.5
  assert found.high - found.rate == pytest.approx(half)


def test_three_runs_that_differ_have_two_degrees_of_freedom():
  """Nearly: read as one they would say nothing."""
  found = statistics.crossed(
    [[0.0, 0.1] * 30, [0.4, 0.5] * 30, [1.0, 0.9] * 30]
  )
  of_runs = statistics.mean_interval([0.05, 0.45, 0.95])
  assert found.high - found.rate == pytest.approx(
    of_runs.high - of_runs.rate, rel=0.02
  )


def test_a_rate_of_nothing_or_all_is_not_certain():
  assert statistics.rate_of([[0.0] * 63] * 3) == statistics.wilson(0, 63)
  assert statistics.rate_of([[1.0] * 63]) == statistics.wilson(63, 63)
  found = statistics.rate_of([[0.0] * 9 + [1.0], [0.0] * 10])
  assert found.low == 0.0 < found.rate < found.high


def test_rates_that_are_all_alike_stay_what_they_are():
  for rates in ([0.375], [0.25, 0.25], [1 / 5] * 3):
    found = statistics.rate_of([rates])
    assert found.rate == pytest.approx(rates[0], abs=1e-12)
    assert found.low < found.rate - 0.05 and found.high > found.rate + 0.05


def test_a_difference_that_is_the_same_everywhere_is_not_certain():
  found = statistics.difference_of([[True] * 20], [[False] * 20])
  alone = statistics.paired([True] * 20, [False] * 20)
  assert found == statistics.Interval(1.0, alone.low, alone.high)
  assert found.low < 0.9
  none = statistics.difference_of([[False] * 20] * 2, [[False] * 20] * 2)
  assert none.low < -0.1 and none.rate == 0.0 and none.high > 0.1
  some = statistics.difference_of([[True, False, True]], [[False, False, True]])
  assert some.rate == pytest.approx(1 / 3) and -1 <= some.low < some.high <= 1


def test_trials_of_a_cluster_are_no_independent_ones():
  rng, held = random.Random(0), 0
  for _ in range(300):
    rates = [rng.choice((0.05, 0.95)) for _ in range(60)]
    counts = [sum(rng.random() < rate for _ in range(5)) for rate in rates]
    found = statistics.clustered(counts, [5] * 60)
    assert found.rate == pytest.approx(sum(counts) / 300)
    held += found.low <= 0.5 <= found.high
  assert 275 <= held <= 295, 'as if all were independent: 180'
  assert statistics.clustered([0, 0], [4, 6]) == statistics.wilson(0, 2)
  assert statistics.clustered([3], [4]).high == statistics.wilson(0.75, 1).high
  assert statistics.clustered([], []) == statistics.wilson(0, 0)


@pytest.mark.parametrize('seeds', [3, 4])
@pytest.mark.parametrize('of_runs, of_tasks', [(0.0, 0.3), (0.08, 0.2)])
def test_intervals_hold_the_truth_as_often_as_they_say(
  of_runs, of_tasks, seeds
):
  rng, held = random.Random(0), 0
  for _ in range(200):
    runs = [rng.gauss(0, of_runs) for _ in range(seeds)]
    tasks = [rng.gauss(0, of_tasks) for _ in range(30)]
    found = statistics.crossed(
      [[0.5 + r + t + rng.gauss(0, 0.3) for t in tasks] for r in runs]
    )
    held += found.low <= 0.5 <= found.high
  assert 180 <= held <= 200


def test_runs_that_were_asked_unequally_many_tasks_are_refused():
  with pytest.raises(ValueError, match='equally many'):
    statistics.crossed([[1.0, 0.0], [1.0]])


def panel_of(rows):
  pytest.importorskip('matplotlib', reason='extra notebooks is not installed')
  panel, *_ = figure.of(rows, study.overrides(rows)).axes
  return panel


def begun(folder, sweep):
  """(overrides, workdir) of each run of a sweep that has begun."""
  path = config_file(folder, sweep)
  runs = expand(path)
  sweep_folder.begin(folder, path, runs)
  return [(run.overrides, folder / 'runs' / run.name) for run in runs]


def built(folder, sweep):
  """Likewise; all runs have been evaluated, those of a seed on the same."""
  runs = begun(folder, sweep)
  for _, workdir in runs:
    tiny_workdir.build(workdir, trajectories=2)
  return runs


@pytest.fixture
def sweep(tmp_path):
  """Two recipes and two seeds; all runs of a seed have the same episodes."""
  built(tmp_path, "product({'recipe': ['imitation', 'joint'], 'seed': [0, 1]})")
  return tmp_path


def test_a_setting_is_one_row_over_its_seeds(sweep):
  rows = studies.rows(studies.read(sweep))
  found = {(row['policy'], row['split']): row for row in rows}
  assert len(found) == len(rows) == 2 * len(tiny_workdir.SPLITS)
  for (policy, split), row in found.items():
    assert (row['seeds'], row['tasks'], row['updates']) == (2, 24, 200)
    assert row['tokens'] == 200 * 4 * 1024
    assert row['low'] <= row['success'] <= row['high']
    assert 0 < row['flawless'] < row['success']
    assert ('ahead' in row) == (policy == 'joint')
    if policy == 'joint':
      gap = row['success'] - found['imitation', split]['success']
      assert row['ahead'] == pytest.approx(gap)
      assert row['ahead_low'] <= gap <= row['ahead_high']


def test_what_was_solved_without_a_rejected_action_is_told_apart(sweep):
  runs = [run for run in studies.read(sweep) if run.policy == 'joint']
  solved = flawless = 0
  for run in runs:
    for record in results.rollouts(run.folder, 'joint'):
      if record['split'] == 'seen' and record['success']:
        solved += 1
        flawless += not [s for s in record['steps'] if not s['valid']]
  (row,) = (
    row for row in studies.rows(runs) if row['split'].startswith('seen')
  )
  assert 0 < flawless < solved
  assert row['flawless'] == pytest.approx(flawless / (2 * row['tasks']))
  assert row['success'] == pytest.approx(solved / (2 * row['tasks']))


def like(other, folder, policy):
  """An evaluation of the policy in which it did as another one did."""
  made = shutil.copytree(
    folder / 'evaluate' / other,
    folder / 'evaluate' / policy,
    dirs_exist_ok=True,
  )
  summary = files.read_json(made / 'summary.json')
  files.write_json(made / 'summary.json', summary | {'name': policy})


def test_imitation_is_given_the_budget_that_is_best_for_it(tmp_path):
  runs = built(
    tmp_path,
    "product({'seed': [0, 1]}, {'recipe': ['imitation', 'joint']})"
    " + product({'seed': [0, 1], 'recipe': ['imitation']},"
    " {'budget.steps': [7]})",
  )
  for overrides, folder in runs:
    if 'budget.steps' in overrides:
      like('joint', folder, 'imitation')
  rows = studies.rows(studies.read(tmp_path))
  named = set()
  for row in rows:
    assert ('ahead' in row) == (row['policy'] == 'joint')
    if row['policy'] == 'joint':
      rivals = [
        other['success']
        for other in rows
        if (other['policy'], other['split']) == ('imitation', row['split'])
      ]
      assert len(rivals) == 2 and row['against_success'] == max(rivals)
      assert row['ahead'] == pytest.approx(row['success'] - max(rivals))
      named.add(row['against'])
  assert 'imitation (budget.steps 7)' in named
  # Fewer seeds say less, however good they are.
  shutil.rmtree(runs[-1][1] / 'evaluate')
  fewer = studies.rows(studies.read(tmp_path))
  assert {row.get('against') for row in fewer} == {None, 'imitation'}
  said = study.conclusions(rows)
  assert any(', imitation (budget.steps 7) ' in sentence for sentence in said)


def test_who_has_more_seeds_is_measured_on_those_that_both_have(tmp_path):
  runs = built(
    tmp_path,
    "product({'seed': [0, 1, 2], 'recipe': ['imitation']})"
    " + product({'seed': [0, 1], 'recipe': ['joint']})",
  )
  for overrides, folder in runs:
    if overrides['seed'] == 2:
      like('joint', folder, 'imitation')
  rows = studies.rows(studies.read(tmp_path))
  found = {(row['policy'], row['split']): row for row in rows}
  said, differ = study.conclusions(rows), 0
  for split in tiny_workdir.SPLITS:
    mine, rival = found['joint', split], found['imitation', split]
    assert (mine['seeds'], rival['seeds']) == (2, 3)
    other = mine['success'] - mine['ahead']
    assert mine['against_success'] == pytest.approx(other)
    own, like_joint = f'{100 * other:.0f}', f'{100 * mine["success"]:.0f}'
    assert rival['by_seed'].split() == [own, own, like_joint]
    differ += rival['success'] != pytest.approx(other)
    assert any(
      f'{split}: ' in s
      and f'solves {mine["success"]:.1%}' in s
      and f'imitation {other:.1%}' in s
      for s in said
    )
  assert differ


def test_samples_that_vote_do_not_take_the_place_of_one(sweep):
  before = studies.rows(studies.read(sweep))
  for run in studies.read(sweep):
    if run.policy == 'joint':
      voted = run.folder / 'evaluate' / 'joint-vote3'
      shutil.copytree(run.folder / 'evaluate' / 'imitation', voted)
      summary = files.read_json(voted / 'summary.json')
      settings = summary.get('settings', {}) | {'samples': 3}
      changed = {'name': 'joint', 'settings': settings}
      files.write_json(voted / 'summary.json', summary | changed)
  rows = studies.rows(studies.read(sweep))
  assert [row for row in rows if ':' not in row['split']] == before
  voted = {row['split'] for row in rows} - {row['split'] for row in before}
  assert voted == {f'{split}:vote3' for split in tiny_workdir.SPLITS}


def test_no_line_is_drawn_through_what_else_differs(tmp_path):
  built(
    tmp_path,
    "product({'seed': [0], 'recipe': ['joint'], 'budget.steps': [9, 5],"
    " 'prepare.layout': ['tree', 'flat'], 'evaluate.splits': [['seen']]})",
  )
  rows = studies.rows(studies.read(tmp_path))
  assert not panel_of(rows).get_xlabel()
  one = [row for row in rows if row['prepare.layout'] == 'tree']
  panel = panel_of(one)
  assert panel.get_xlabel() == 'budget.steps'
  assert list(panel.lines[0].get_xdata()) == [5, 9]


def point(**more):
  """A row of a study."""
  rate = {'low': 0.1, 'success': 0.2, 'high': 0.3}
  return {'policy': 'joint', 'split': 'seen'} | rate | more


def test_a_budget_goes_with_what_it_is_for():
  rows = [
    point(**{'budget.lr_peak': 1 / width, 'model.embed': width})
    for width in (32, 64)
  ]
  assert panel_of(rows).get_xlabel() == 'model.embed'


def test_a_point_stands_above_what_it_was_run_with():
  both = {'a.k': 8, 'a.whose': "('uniform',)"}
  rows = [
    point(**more) for more in ({}, both, {'a.k': 1}, {'a.k': 1, 'b.k': 2})
  ]
  panel = panel_of(rows)
  labels = [label.get_text() for label in panel.get_xticklabels()]
  assert labels[:3] == ['joint', 'joint\nk 8\nwhose\nuniform', 'joint\nk 1']
  assert labels[3] == 'joint\nk 1\nk 2'
  (line,) = panel.lines
  assert list(line.get_xdata()) == [0, 1, 2, 3]


def test_every_panel_shows_all_that_is_in_it():
  pytest.importorskip('matplotlib', reason='extra notebooks is not installed')
  rows = [
    point(split=split, low=low, success=at, high=high)
    for split, low, at, high in (
      ('large', 0.1, 0.2, 0.3),
      ('test', 0.5, 0.6, 0.7),
    )
  ]
  for panel in figure.of(rows, []).axes:
    assert panel.get_ylim()[0] == 0 and panel.get_ylim()[1] >= 70


def test_the_command_names_the_stages_that_were_shared(sweep):
  runs = studies.read(sweep)
  own = ['train', 'evaluate']
  for name in ('collect', 'explore', 'reflect', 'prepare'):
    (sweep / sweep_folder.SHARED / name).mkdir(parents=True)
  # The first of them has not ended.
  for run in runs[1:]:
    files.write_json(run.home / 'summary.json', {'stages': own})
  assert study._stages(runs) == ''
  shutil.rmtree(sweep / sweep_folder.SHARED / 'reflect')
  assert study._stages(runs) == (
    ' --stages=collect,explore,prepare,train,evaluate'
  )


def test_each_training_is_counted_once(sweep):
  runs = studies.read(sweep)
  (one, *_), each = runs, costs.hours(runs[:1])
  assert each > 0
  assert costs.hours(runs) == pytest.approx(len(runs) * each)
  # Votes are of the same policy; a shared training has one folder.
  assert costs.hours([one, dataclasses.replace(one, overrides={})]) == each
  shared = sweep_folder.SHARED
  (one.folder / 'train').rename(sweep / shared)
  (one.folder / 'train').symlink_to(sweep / shared)
  other = next(r for r in runs if r.policy == one.policy and r != one)
  shutil.rmtree(other.folder / 'train')
  (other.folder / 'train').symlink_to(sweep / shared)
  assert costs.hours([one, other]) == each


def test_a_training_counts_that_only_rl_was_evaluated_of(sweep):
  one = studies.read(sweep)[0]
  folder = one.folder / 'rl' / one.policy
  folder.mkdir(parents=True)
  line = {'step': 4, 'seconds_sampling': 300.0, 'seconds_training': 60.0}
  text = json.dumps(line | {'seconds_panel': 240.0})
  (folder / metrics.METRICS).write_text(text + '\n')
  after = dataclasses.replace(one, policy=f'{one.policy}_rl', before=one.policy)
  assert costs.of([after])['minutes'] == pytest.approx(10)
  each = costs.hours([one])
  assert costs.hours([after]) == pytest.approx(each + 1 / 6)
  assert costs.hours([one, after]) == pytest.approx(each + 1 / 6)


def test_operations_are_counted_by_updates_not_by_lines(sweep):
  one = studies.read(sweep)[0]
  path = one.folder / 'train' / one.policy / metrics.METRICS
  rate = {'tokens_per_s': 10.0, 'seconds': 60.0}
  lines = [
    {'step': step, 'flops_per_s': 10.0 * each} | rate
    for step, each in ((36, 2), (40, 2), (540, 1))
  ]
  path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
  found = costs.of([one])
  tokens = found['tokens'] / 540
  assert found['flops'] == pytest.approx(tokens * (40 * 2 + 500))


def test_how_far_actions_were_learnt_is_the_mean_of_the_table(sweep):
  ends = collections.defaultdict(list)
  for run in table.rows(sweep):
    ends[run['recipe']].append(run['imitation/nll'])
  for row in studies.rows(studies.read(sweep)):
    assert row['nll'] == pytest.approx(np.mean(ends[row['recipe']]))
  assert min(map(min, ends.values())) > 0


def test_a_difference_of_nothing_has_no_sign():
  row = {'split': 'seen', 'policy': 'joint', 'against': 'imitation'}
  gap = {'ahead': -1e-17, 'ahead_low': -0.1, 'ahead_high': 0.1}
  (said,) = study.conclusions([row | gap | {'against_success': 0.5}])
  assert said.endswith(' +0.0 points [-10.0, +10.0].')


def test_what_rl_made_is_measured_against_what_it_went_on_from(sweep):
  for run in studies.read(sweep):
    like('joint', run.folder, f'{run.policy}_rl')
    log = run.folder / 'rl' / run.policy / 'metrics.jsonl'
    log.parent.mkdir(parents=True)
    took = {'seconds_sampling': 9.0, 'seconds_training': 6.0}
    lines = [
      {'step': 1, 'environment_steps': 30} | took,
      {'step': 2, 'environment_steps': 60} | took,
      {'step': 2, 'panel/rate': 0.5},
    ]
    log.write_text(''.join(json.dumps(one) + '\n' for one in lines), 'utf-8')
  rows = studies.rows(studies.read(sweep))
  found = {(row['policy'], row['split']): row for row in rows}
  for split in tiny_workdir.SPLITS:
    before, after = found['imitation', split], found['imitation_rl', split]
    gained = after['success'] - before['success']
    assert after['gained'] == pytest.approx(gained)
    assert after['gained_low'] <= gained <= after['gained_high']
    assert (after['updates'], after['env_steps']) == (2, 60)
    assert after['minutes'] == 0.5 and 'tokens' not in after
    # After the same stages.
    assert found['joint', split]['against'] == 'imitation'
    assert found['joint_rl', split]['against'] == 'imitation_rl'
    assert found['joint_rl', split]['ahead'] == 0
  assert any(row.get('gained') for row in rows)
  said = study.conclusions(rows)
  assert any('**joint_rl**' in s and ', imitation_rl ' in s for s in said)


def test_a_setting_of_rl_is_measured_against_rl_without_it(tmp_path):
  runs = built(
    tmp_path,
    "product({'seed': [0, 1]}, {'recipe': ['imitation', 'joint']})"
    " + product({'seed': [0, 1], 'recipe': ['joint']}, {'rl.mixed_rows': [2],"
    " 'rl.rows': [{'joint': 1.0}]})",
  )
  for overrides, folder in runs:
    recipe = overrides['recipe']
    alone = recipe == 'joint' and 'rl.mixed_rows' not in overrides
    like('imitation' if alone else 'joint', folder, f'{recipe}_rl')
  rows, gaps = studies.rows(studies.read(tmp_path)), []
  for split in tiny_workdir.SPLITS:
    asked = [row for row in rows if row['split'] == split]
    # What was trained does not depend on it, and is one row.
    assert [row['policy'] for row in asked].count('joint') == 1
    alone, mixed = (row for row in asked if row['policy'] == 'joint_rl')
    assert 'added' not in alone and mixed['rl.mixed_rows'] == 2
    gaps.append(mixed['success'] - alone['success'])
    assert mixed['added'] == pytest.approx(gaps[-1])
    assert mixed['added_low'] <= gaps[-1] <= mixed['added_high']
    assert mixed['gained'] == 0 and mixed['against'] == 'imitation_rl'
  assert any(gaps)


def test_rounds_are_rows_and_measured_against_the_first(tmp_path):
  runs = begun(
    tmp_path, "product({'seed': [0, 1]}, {'recipe': ['joint', 'imitation']})"
  )
  for overrides, home in runs:
    for number in (1, 2):
      folder = home / f'round-{number}'
      tiny_workdir.build(folder, trajectories=2)
      if number == 2 and overrides['recipe'] == 'joint':
        like('imitation', folder, 'joint')
  rows = studies.rows(studies.read(tmp_path))
  assert len(rows) == 2 * 2 * len(tiny_workdir.SPLITS)
  gaps = []
  for split in tiny_workdir.SPLITS:
    own = [r for r in rows if (r['policy'], r['split']) == ('joint', split)]
    first, second = own
    assert [row['round'] for row in own] == [1, 2]
    gap = second['success'] - first['success']
    gaps.append(gap)
    assert second['since'] == pytest.approx(gap)
    assert second['since_low'] <= gap <= second['since_high']
    # Imitation of the same round, that is; the rounds are of one run.
    assert 'since' not in first and second['ahead'] == 0
  assert any(gaps)
  text = table.write(tmp_path).splitlines()
  cells = [line.split() for line in text]
  at = cells[0].index('round')
  assert [row[at] for row in cells[1:]] == ['1', '2'] * len(runs)
  shown = [row['seen/success'] for row in table.rows(tmp_path)]
  assert shown[1] - shown[0] == gaps[0] and len(text) == 1 + 2 * len(runs)


def test_what_imitation_has_none_of_is_drawn_against_its_level(tmp_path):
  built(
    tmp_path,
    "product({'seed': [0, 1]}, {'recipe': ['imitation']})"
    " + product({'seed': [0, 1]}, {'recipe': ['joint']},"
    " zipped({'prepare.rows.joint.k': [1, 2], 'train.batch_rows': [2, 4]}))",
  )
  rows = studies.rows(studies.read(tmp_path))
  split = [row for row in rows if row['split'] == 'seen']
  assert [row.get('prepare.rows.joint.k') for row in split] == [None, 1, 2]
  assert [row.get('against') for row in split] == [None, *['imitation'] * 2]
  panel = panel_of(split)
  assert panel.get_xlabel() == 'prepare.rows.joint.k'
  level, over = (line.get_xydata().tolist() for line in panel.lines)
  imitation, *joint = (100 * row['success'] for row in split)
  assert level == [[1, imitation], [2, imitation]]
  assert over == [[1, joint[0]], [2, joint[1]]]
  # Of a policy that has it in some settings alone, no line can be drawn.
  varied = ('prepare.rows.joint.k', 'train.batch_rows')
  own = {k: v for k, v in split[1].items() if k not in varied}
  assert not panel_of([*split, own, split[0]]).get_xlabel()


def test_the_page_begins_with_what_was_found(sweep):
  pytest.importorskip('matplotlib', reason='extra notebooks is not installed')
  page = sweep / 'results' / 'tiny.md'
  text = study.write(str(sweep), str(page))
  assert page.read_text('utf-8') == text
  found = text.splitlines()[2]
  assert found.startswith('* seen: **joint** solves ') and 'points [' in found
  assert '(tiny.svg)' in text and 'launch/sweep.py --config=' in text
  assert '<svg' in (sweep / 'results' / 'tiny.svg').read_text('utf-8')
  with open(sweep / 'results' / 'tiny.csv', encoding='utf-8') as file:
    (first, *_) = csv.DictReader(file)
  assert first['policy'] == 'imitation' and 0 < float(first['success']) < 1


def test_seeds_that_were_asked_other_tasks_are_no_sample(sweep):
  for run in studies.read(sweep)[:1]:
    path = run.folder / 'evaluate' / run.policy / 'panel.json'
    panel = files.read_json(path)
    panel['seen'].popitem()
    files.write_json(path, panel)
  with pytest.raises(UserError, match='different seen tasks'):
    studies.rows(studies.read(sweep))


def test_a_sweep_that_has_no_evaluation_yet_is_refused(tmp_path):
  path = config_file(tmp_path, "product({'recipe': ['imitation']})")
  sweep_folder.begin(tmp_path, path, expand(path))
  with pytest.raises(UserError, match='no run of this sweep was evaluated'):
    studies.read(tmp_path)
