"""Notebooks run on a tiny workdir and are stored without outputs."""

import os
import pathlib

import pytest

from early_experience import analysis
from early_experience.language.answer import Answer
from early_experience.language.cache import FILE, Cache
from early_experience.runtime.errors import UserError
from tests import tiny_workdir, waiting

FOLDER = pathlib.Path(__file__).parent.parent / 'notebooks'
NOTEBOOKS = sorted(FOLDER.glob('*.ipynb'))
pytest.importorskip('pandas', reason='extra notebooks is not installed')


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  return tiny_workdir.build(tmp_path_factory.mktemp('runs') / 'tiny')


def test_tables_hold_what_the_stages_wrote(workdir):
  runs = analysis.load_workdirs([str(workdir), str(workdir)])
  alone = analysis.load_workdirs(str(workdir))
  assert len(runs.results) == len(alone.results)
  results = runs.results[runs.results.task_type == analysis.ALL_TYPES]
  assert set(results.policy) == set(tiny_workdir.POLICIES)
  assert set(results.n) == {24}
  assert dict(results.groupby('policy').set_aside.sum()) == {
    'random': 4,
    'untrained': 0,
    'imitation': 0,
    'joint': 0,
  }
  assert results.groupby('split').panel.nunique().eq(1).all()
  assert (results.low <= results.rate).all()
  assert (results.rate <= results.high).all()
  assert list(runs.tokens.name) == ['expert', 'joint']
  # What was not trained has no curve, and no gap of NaN either.
  lines = runs.curves.groupby(['policy', 'objective']).size()
  assert dict(lines) == {
    ('imitation', 'imitation'): 20,
    ('joint', 'imitation'): 20,
    ('joint', 'reflection'): 20,
    ('joint', 'world_model'): 20,
  }
  experience = analysis.load_experience(str(workdir))
  assert experience.states.alternatives.sum() == len(experience.branches)
  assert experience.states.rationales.sum() == len(experience.rationales)
  said = experience.states[['thought', 'summary']].notna().all(axis=1)
  assert (said == (experience.states.step == 0)).all()
  assert set(experience.branches.summary.dropna()) == {'no such thing'}


def test_what_was_left_out_and_paid_is_there(workdir):
  answer = Answer('yes', False, False, 7, 2)
  Cache(workdir / FILE).keep('request', 'model', 'rationale-1', answer)
  experience = analysis.load_experience(str(workdir))
  left_out = experience.left_out.groupby(['stage', 'reason']).size()
  assert dict(left_out) == {
    ('collect', 'more than 20 steps'): 1,
    ('evaluate/random', 'hang'): 4,
    ('explore', 'hang'): 1,
    ('reflect', 'names the expert'): 3,
    ('reflect', 'outcome'): 1,
  }
  assert experience.answers.values.tolist() == [
    ['model', 'rationale-1', 1, 7, 2]
  ]
  counts = experience.counts.set_index(['stage', 'what']).value
  assert counts['reflect', 'dropped.names the expert'] == 3


def test_a_figure_tells_what_was_set_aside_and_what_does_not_compare(
  workdir, tmp_path
):
  pytest.importorskip('matplotlib')
  other = tiny_workdir.build(tmp_path / 'other', trajectories=2, tasks=4)

  def texts(*workdirs):
    figure = analysis.plot_results(analysis.load_workdirs(workdirs))
    axes = figure.axes[0]
    return axes.get_title(), [text.get_text() for text in axes.texts]

  assert texts(str(workdir)) == ('seen tasks', ['2 of 24 set aside'])
  title, _ = texts(str(workdir), str(other))
  assert title == 'seen tasks\n(not the same for all: they do not compare)'


def test_runs_of_one_name_are_told_apart(tmp_path):
  for parent in ('a', 'b'):
    tiny_workdir.build(tmp_path / parent / 'run', trajectories=2, tasks=2)
  paths = [str(tmp_path / parent / 'run') for parent in ('a', 'b')]
  assert set(analysis.load_workdirs(paths).results.run) == set(paths)


def test_a_run_that_is_not_there_is_named(tmp_path):
  with pytest.raises(UserError, match='nowhere does not exist'):
    analysis.load_workdirs([str(tmp_path / 'nowhere')])
  with pytest.raises(UserError, match='collect does not exist; run first'):
    analysis.load_experience(str(tmp_path))


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_is_stored_without_outputs(
  path, workdir, monkeypatch
):
  nbclient = pytest.importorskip('nbclient')
  pytest.importorskip('ipykernel')
  nbformat = pytest.importorskip('nbformat')
  notebook = nbformat.read(path, as_version=4)
  cells = [cell for cell in notebook.cells if cell.cell_type == 'code']
  assert not any(cell.outputs or cell.execution_count for cell in cells)
  monkeypatch.setenv('EARLY_EXPERIENCE_WORKDIR', str(workdir))
  other = tiny_workdir.build(
    workdir.parent / f'other-{path.stem}', trajectories=2, tasks=4
  )
  monkeypatch.setenv(
    'EARLY_EXPERIENCE_WORKDIRS', os.pathsep.join([str(workdir), str(other)])
  )
  nbclient.NotebookClient(
    notebook,
    timeout=waiting.SECONDS,
    kernel_name='python3',
    resources={'metadata': {'path': str(path.parent)}},
  ).execute()
