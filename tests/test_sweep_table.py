"""The table of a sweep: rates, what they are of, and which of them compare."""

import pytest

from early_experience import analysis
from early_experience.runtime import files, stage
from early_experience.sweeps import folder as sweep_folder
from early_experience.sweeps import table
from early_experience.sweeps.runs import expand
from tests import tiny_workdir
from tests.test_sweep import TINY, config_file


def test_the_table_has_rates_with_their_intervals(tmp_path):
  pytest.importorskip('pandas', reason='extra notebooks is not installed')
  runs = expand(TINY)
  sweep_folder.begin(tmp_path, TINY, runs)
  tiny_workdir.build(tmp_path / 'runs' / runs[2].name, trajectories=2)
  frame = analysis.load_runs(str(tmp_path))
  assert list(frame.run) == [run.name for run in runs]
  assert list(frame.state) == ['waiting', 'waiting', 'begun', 'waiting']
  assert list(frame['budget.lr_peak']) == [1e-3, 3e-3, 1e-3, 3e-3]
  row = frame.iloc[2]
  assert row['updates'] == 200
  assert row['imitation/nll'] > 0
  for split in tiny_workdir.SPLITS:
    assert row[f'{split}/n'] == 24
    assert row[f'{split}/low'] < row[f'{split}/success'] < row[f'{split}/high']
  assert row['outcome/exact'] == 97 / 128
  assert frame.iloc[0].isna()['seen/success']
  text = table.write(tmp_path).splitlines()
  cell = f'{row["seen/success"]:.1%} [{row["seen/low"]:.1%}, '
  assert f'{cell}{row["seen/high"]:.1%}] of 24' in text[3]
  assert (row['seen/set_aside'], len(row['seen/panel'])) == (0, 8)
  assert (
    f'75.8% [{row["outcome/low"]:.1%}, {row["outcome/high"]:.1%}]' in text[3]
  )


def test_the_table_says_what_was_set_aside_and_which_runs_do_not_compare(
  tmp_path,
):
  path = config_file(tmp_path, "product({'recipe': ['random', 'joint']})")
  sweep_folder.begin(tmp_path, path, expand(path))
  for run, tasks in zip(expand(path), (8, 9), strict=True):
    folder = tmp_path / 'runs' / run.name
    tiny_workdir.build(folder, trajectories=2, tasks=tasks)
  text = table.write(tmp_path).splitlines()
  assert '] of 8, 2 set aside' in text[1] and 'set aside' not in text[2]
  assert text[3:] == [
    f'{split}: the runs were not all asked the same tasks, so their rates do'
    f' not compare: see {split}/panel in table.csv'
    for split in tiny_workdir.SPLITS
  ]
  assert table.rows(tmp_path)[0]['seen/set_aside'] == 2


def test_a_panel_has_columns_of_its_own(tmp_path):
  path = config_file(tmp_path, "product({'recipe': ['joint']})")
  sweep_folder.begin(tmp_path, path, expand(path))
  evaluated = tmp_path / 'runs' / 'recipe=joint' / 'evaluate'
  tiny_workdir.build(evaluated.parent, trajectories=2, tasks=8)
  (evaluated / 'joint').rename(evaluated / 'joint-dev')
  summary = evaluated / 'joint-dev' / stage.SUMMARY
  named = {'panel': 'dev', 'name': 'joint'}
  files.write_json(summary, files.read_json(summary) | named)
  (row,) = table.rows(tmp_path)
  assert row['seen:dev/n'] == 8 and 'seen/n' not in row
  (evaluated / 'joint-dev').rename(evaluated / 'joint-vote3-dev')
  (row,) = table.rows(tmp_path)
  assert row['seen:vote3-dev/n'] == 8 and 'seen:dev/n' not in row


def test_a_table_has_what_rl_made_and_any_override(tmp_path):
  path = config_file(
    tmp_path,
    "product({'recipe': ['joint'], 'rl.rows': [{'joint': 1.0}, {}]})",
  )
  sweep_folder.begin(tmp_path, path, expand(path))
  for run in expand(path):
    folder = tmp_path / 'runs' / run.name
    tiny_workdir.build(folder, trajectories=2, tasks=8)
    (folder / 'evaluate' / 'imitation').rename(
      folder / 'evaluate' / 'joint_rl-test'
    )
    summary = folder / 'evaluate' / 'joint_rl-test' / stage.SUMMARY
    named = {'panel': 'test', 'name': 'joint_rl'}
    files.write_json(summary, files.read_json(summary) | named)
  head, *lines = table.write(tmp_path).splitlines()
  assert 'seen/success' in head and 'seen:rl-test/success' in head
  for row in table.rows(tmp_path):
    assert row['outcome/exact'] == pytest.approx(97 / 128)
    assert row['outcome:rl/exact'] == pytest.approx(11 / 128)
  assert len(lines) == 2
