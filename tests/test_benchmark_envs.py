"""What is said of environments and of scale follows from what was measured."""

import argparse
import dataclasses

import pytest

from early_experience.benchmark import branching, envs, sample, scale
from early_experience.runtime.errors import UserError

TOY = 'tests.naughty_env:NaughtyEnv'


def test_both_ways_of_branching_take_the_same_branches(capsys):
  broken = 'tests.no_such_module:Env'
  toy, other = branching.run(
    [TOY, broken], trajectories=3, k=2, seed=0, seconds=0.2
  )
  assert toy['compared'] == toy['equal'] == toy['branches'] > 10
  assert toy['ratio'] == toy['ours'] / toy['naive'] > 0
  assert 'no module tests.no_such_module' in other['note']
  assert capsys.readouterr().out.count('\n') == 4


@pytest.mark.parametrize('trajectories, k', [(0, 2), (3, 0)])
def test_a_sample_of_nothing_is_refused(trajectories, k):
  with pytest.raises(UserError, match='not 1 or more'):
    sample.take(sample.settings(TOY, trajectories), k, 0)


def test_the_table_counts_what_was_made(tmp_path):
  how = argparse.Namespace(trajectories=3, k=2, seed=0, seconds=0.1)
  config = sample.settings(TOY, 3)
  taken = sample.take(config, 2, 0)
  assert len({trajectory.task_id for _, trajectory, _ in taken.units}) == 3
  found = envs.measure(TOY, how)
  assert found['trajectories'] == 3 and found['source'] == 'boxes'
  assert found['states'] == sum(len(t.steps) for _, t, _ in taken.units)
  assert found['branches'] == 2 * found['states']
  assert found['flat_tokens'] > found['tree_tokens'] > 0
  assert found['steps_per_s'] > 0 and found['branches_per_s'] > 0


def test_a_table_keeps_the_rows_and_words_around_it(tmp_path):
  path = tmp_path / 'page.md'
  path.write_text(f'Before.\n{envs.BEGIN}\n{envs.END}\nAfter.\n')
  envs.insert(path, {'b': '| b | 1 |', 'a': '| a | 1 |'}, 'k=1')
  envs.insert(path, {'b': '| b | 2 |'}, 'k=2')
  text = path.read_text()
  assert '| a | 1 |\n| b | 2 |\n\nk=2.' in text
  assert text.startswith('Before.\n') and text.endswith('\nAfter.\n')
  path.write_text('no block')
  with pytest.raises(UserError, match='needs one <!-- python'):
    envs.insert(path, {}, '')


def test_the_simulation_is_bound_by_its_workers_or_by_its_driver():
  slow = scale.Figures([2.0], [9], [3], [999], 50.0, driver_seconds=0.001)
  assert scale.simulate(slow, 1000, 10, 0.0, 0) == pytest.approx(200, rel=0.01)
  repeated = scale.simulate(slow, 1000, 10, 0.5, 0)
  assert repeated == pytest.approx(400, rel=0.15)
  busy = dataclasses.replace(slow, driver_seconds=1.0)
  assert scale.simulate(busy, 100, 10, 0.0, 0) == pytest.approx(110, rel=0.01)


def test_the_page_of_scale_is_written(tmp_path, capsys):
  how = argparse.Namespace(
    env=[TOY, 'alfword'],
    workers=1000,
    branches=1_000_000,
    trajectories=3,
    k=2,
    seed=0,
    failures=0.001,
    address='',
    file=str(tmp_path / 'SCALE.md'),
  )
  scale.run(how)
  page = (tmp_path / 'SCALE.md').read_text()
  assert page.startswith('# What 1,000 workers and 1,000,000 branches need')
  (row,) = [line for line in page.splitlines() if line.startswith(f'| {TOY}')]
  assert row.count('|') == scale._HEAD.count('|')
  assert "'alfword', not one of" in capsys.readouterr().out
