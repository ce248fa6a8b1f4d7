"""Rows hold the supervision of the training trajectories, in either layout."""

import itertools
import json

import pytest

from configs import tiny
from early_experience.collect import collect_from
from early_experience.experience import loader, records, render, rows
from early_experience.explore import explore_in
from early_experience.prepare import prepare
from early_experience.recipes import row_sets
from early_experience.reflect import reflect
from early_experience.runtime import files
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import saved
from tests.toy_env import ToyEnv


def settings(**changes):
  config = tiny.get_config()
  config.collect.trajectories = 6
  config.prepare.rows = row_sets(('expert', 'joint', 'world'), k=2)
  config.prepare.row_tokens = 256
  config.prepare.held_out = 0.34
  config.prepare.update(changes)
  return config


@pytest.fixture
def workdir(tmp_path):
  env = ToyEnv()
  collect_from(env, settings(), str(tmp_path))
  explore_in(env, settings(), str(tmp_path))
  reflect(settings(), str(tmp_path))
  return tmp_path


def tokens_of(workdir, name):
  source = loader.open_rows(workdir, name).source
  return [rows.decode(source[i]) for i in range(len(source))]


def test_both_layouts_hold_the_same_supervision(workdir):
  trees = prepare(settings(), str(workdir))['rows']['joint']
  (workdir / 'prepare').rename(workdir / 'prepared')
  model = str(workdir / 'prepared' / 'tokenizer.model')
  flat = prepare(settings(layout='flat', tokenizer=model), str(workdir))
  flat = flat['rows']['joint']
  assert trees['scored'] == flat['scored']
  assert trees['flat_tokens'] == flat['flat_tokens'] == flat['packed_tokens']
  assert trees['packed_tokens'] < flat['packed_tokens']
  assert trees['ratio'] == trees['flat_tokens'] / trees['tree_tokens'] > 1


def test_flat_rows_hold_an_episode_once_whatever_scores_it(workdir):
  config = settings(rows=row_sets(('trunk',), k=0))
  assert prepare(config, str(workdir))['rows']['trunk']['ratio'] == 1


def test_the_manifest_counts_what_the_rows_hold(workdir):
  summary = prepare(settings(), str(workdir))['rows']['joint']
  made = tokens_of(workdir, 'joint')
  assert len(made) == summary['rows']
  scored = sum(row['weights'].sum(0) for row in made)
  assert scored.tolist() == list(summary['scored'].values())
  assert max(row['depth'].max() for row in made) == summary['max_depth']


def test_held_out_trajectories_are_in_no_row(workdir):
  summary = prepare(settings(), str(workdir))
  assert summary['trajectories'] == {'train': 4, 'held_out': 2}
  held_out = files.read_json(workdir / 'prepare' / 'split.json')['held_out']
  everything = prepare_without_split(workdir)
  assert len(held_out) == 2
  assert sum(everything.values()) > sum(
    summary['rows']['expert']['scored'].values()
  )


def test_something_has_to_be_left_to_train_on(workdir):
  with pytest.raises(UserError, match=r'held_out = 0.99 leaves none of 6 traj'):
    prepare(settings(held_out=0.99), str(workdir))


def prepare_without_split(workdir):
  (workdir / 'prepare').rename(workdir / 'prepared')
  summary = prepare(settings(held_out=0.0), str(workdir))
  return summary['rows']['expert']['scored']


def test_an_instructed_world_model_shares_nothing_with_the_policy(workdir):
  prepare(settings(world_model='instructed'), str(workdir))
  coder = saved.load(workdir / 'prepare')
  (system,) = {coder.role_id('system')}
  for row in tokens_of(workdir, 'world'):
    starts = (row['depth'] == 1) & (row['tokens'] != coder.pad_id)
    assert set(row['tokens'][starts]) == {system}


def test_a_path_longer_than_a_row_is_an_error(workdir):
  with pytest.raises(UserError, match='has a path of .*row_tokens=16'):
    prepare(settings(row_tokens=16, overlong='error'), str(workdir))


@pytest.mark.parametrize('layout', ['tree', 'flat'])
def test_of_an_overlong_path_all_decisions_that_fit_are_kept(
  workdir, layout, capsys
):
  whole = prepare(settings(), str(workdir))
  (workdir / 'prepare').rename(workdir / 'whole')
  given = {'tokenizer': str(workdir / 'whole'), 'layout': layout}
  summary = prepare(settings(row_tokens=64, **given), str(workdir))
  found = summary['rows']['expert']
  coder = saved.load(workdir / 'whole')
  held_out = files.read_json(workdir / 'whole' / 'split.json')['held_out']
  expected = lost = decisions = 0
  for trajectory in records.read(workdir / 'reflect'):
    if trajectory.task_id in held_out:
      continue
    for i, step in enumerate(trajectory.steps):
      past = render.history(
        trajectory.instruction,
        [s.observation for s in trajectory.steps[: i + 1]],
        [s.action for s in trajectory.steps[:i]],
      )
      prompt = coder.encode_prompt(past, 'action')
      answer = coder.encode_answer(past, 'action', step.action)
      fits = len(prompt) + len(answer) <= 64
      expected += fits * len(answer)
      lost, decisions = lost + (not fits), decisions + 1
  assert whole['rows']['expert']['scored']['imitation'] > expected > 0
  assert found['scored']['imitation'] == expected
  assert (found['dropped'], found['decisions']) == (lost, decisions)
  line = f', {lost} of {decisions} decisions and outcomes overlong, dropped'
  assert line in capsys.readouterr().out


def test_rows_of_which_nothing_fits_are_an_error_that_leaves_nothing(workdir):
  with pytest.raises(UserError, match='expert: none of .*row_tokens=16'):
    prepare(settings(row_tokens=16), str(workdir))
  assert not (workdir / 'prepare').exists()


@pytest.mark.parametrize(
  ('changes', 'fault'),
  [
    ({'vocab_size': 100}, 'config.prepare.vocab_size=100: '),
    ({'tokenizer': 'nowhere'}, 'nowhere'),
    ({'row_tokens': 16, 'overlong': 'error'}, 'config.prepare.row_tokens=16'),
  ],
)
def test_a_wrong_setting_leaves_nothing_that_refuses_the_right_one(
  workdir, changes, fault
):
  with pytest.raises(UserError, match=fault):
    prepare(settings(**changes), str(workdir))
  assert not (workdir / 'prepare').exists()


def test_what_an_earlier_run_made_survives_an_error(workdir):
  prepare(settings(), str(workdir))
  folder = workdir / 'prepare'
  (folder / 'summary.json').unlink()  # as if killed before the end
  (workdir / 'reflect' / 'trajectories-00000.jsonl').write_text('{')
  with pytest.raises(UserError, match='line 1'):
    prepare(settings(), str(workdir))
  assert (folder / 'rows' / 'expert').exists()


def test_rows_that_are_there_are_not_made_again(workdir):
  prepare(settings(), str(workdir))
  folder = workdir / 'prepare'
  (folder / 'summary.json').unlink()  # as if killed before the end
  kept = (folder / 'rows' / 'expert' / 'manifest.json').stat().st_mtime_ns
  prepare(settings(), str(workdir))
  again = (folder / 'rows' / 'expert' / 'manifest.json').stat().st_mtime_ns
  assert again == kept


def test_rows_that_lack_what_they_are_for_are_told(workdir, capsys):
  path = workdir / 'reflect' / 'trajectories-00000.jsonl'
  made = [json.loads(line) for line in path.read_text().splitlines()]
  for step in itertools.chain(*(record['steps'] for record in made)):
    step['rationales'] = []  # as where all that were written leak
  path.write_text(''.join(json.dumps(record) + '\n' for record in made))
  prepare(settings(), str(workdir))
  expert, joint, world = capsys.readouterr().out.splitlines()[-3:]
  assert joint.endswith('dropped; it has nothing of: reflection')
  assert expert.endswith('dropped') and world.endswith('dropped')


def test_rows_that_need_rationales_need_reflect_first(tmp_path):
  collect_from(ToyEnv(), settings(), str(tmp_path))
  with pytest.raises(UserError, match='python -m early_experience.reflect'):
    prepare(settings(), str(tmp_path))
  only = settings()
  only.prepare.rows = row_sets(('expert',), k=0)
  assert prepare(only, str(tmp_path))['rows']['expert']['rows'] > 0


def test_rows_of_nothing_and_a_tokenizer_that_is_not_there_are_named(workdir):
  nothing = settings()
  nothing.prepare.rows = {'none': {}}
  with pytest.raises(UserError, match='rows.none.datasets is empty'):
    prepare(nothing, str(workdir))
  with pytest.raises(UserError, match='prepare.tokenizer=nowhere: no such'):
    prepare(settings(tokenizer='nowhere'), str(workdir))


@pytest.mark.parametrize(
  'changes', [{'layout': 'list'}, {'overlong': 'cut'}, {'world_model': 'on'}]
)
def test_a_wrong_choice_names_its_key(tmp_path, changes):
  (key,) = changes
  with pytest.raises(UserError, match=f'config.prepare.{key} is'):
    prepare(settings(**changes), str(tmp_path))
