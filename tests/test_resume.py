"""A training that is stopped and started again ends as if it had not been."""

import contextlib
import json
import shutil

import jax
import numpy as np
import pytest

from early_experience import config as config_lib
from early_experience.model import config as model_config
from early_experience.runtime import distributed, files
from early_experience.runtime.cluster import Preempted
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import saved
from early_experience.train import train
from early_experience.training import metrics
from early_experience.training.restore import load_params
from tests import close
from tests.training_case import config_of, mesh_of, prepared, to_numpy

CLOCK = {
  'seconds',
  'tokens_per_s',
  'flops_per_s',
  'data_wait_share',
  'checkpoint_share',
}


@pytest.fixture(scope='module')
def straight(tmp_path_factory):
  """A training that nobody disturbed."""
  workdir = prepared(tmp_path_factory.mktemp('straight'))
  summary = train(config_of(), workdir)
  return summary, *outcome(workdir), workdir


@pytest.fixture
def workdir(tmp_path):
  return prepared(tmp_path)


def outcome(workdir, name='tiny', config=None):
  """The final parameters, and the metrics but for the clock's."""
  tokenizer = saved.load(workdir / 'prepare')
  cfg = model_config.from_config(
    (config or config_of()).model, tokenizer.vocab_size
  )
  folder = workdir / 'train' / name
  mesh = mesh_of((1, 1, 1))
  with jax.set_mesh(mesh):
    params = to_numpy(load_params(folder / 'checkpoints', cfg, mesh))
  text = (folder / metrics.METRICS).read_text()
  lines = [json.loads(line) for line in text.splitlines()]
  return params, [
    {key: value for key, value in line.items() if key not in CLOCK}
    for line in lines
  ]


def stop(monkeypatch, config, workdir, update):
  """Trains until the power fails after an update."""

  class PowerFailure(BaseException):
    pass

  def failing(self, number, *args):
    add(self, number, *args)
    if number == update:
      raise PowerFailure

  add = metrics.Log.add
  with monkeypatch.context() as patch, pytest.raises(PowerFailure):
    patch.setattr(metrics.Log, 'add', failing)
    train(config, workdir)


def assert_identical(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


# Before a checkpoint, on both sides of the stages' boundary, and at the end.
@pytest.mark.parametrize('updates', [(1, 5), (4, 7)])
def test_stopped_training_ends_bit_for_bit_as_the_straight_one(
  monkeypatch, straight, workdir, updates
):
  for update in updates:
    stop(monkeypatch, config_of(), workdir, update)
  summary = train(config_of(), workdir)
  params, lines = outcome(workdir)
  assert_identical(params, straight[1])
  assert lines == straight[2]
  assert summary['stages'] == straight[0]['stages']


def test_metrics_have_every_interval_once_and_the_tokens_of_each_objective(
  straight,
):
  lines = straight[2]
  assert [line['step'] for line in lines] == [2, 3, 4, 6, 7]
  assert [line['stage'] for line in lines] == [0, 0, 0, 1, 1]
  assert all(line['imitation/tokens'] > 0 for line in lines)
  assert all(line['loss'] > 0 and line['utilisation'] is None for line in lines)


@close.float64_in_all_threads()
def test_training_goes_on_over_another_mesh(monkeypatch, workdir, tmp_path):
  here, there = (close.in_float64(config_of(microbatches=n)) for n in (2, 1))
  there.mesh.update(data=2, fsdp=2, tensor=2)
  stop(monkeypatch, here, workdir, 5)
  moved = shutil.copytree(workdir, tmp_path / 'moved')
  train(here, workdir)
  train(there, moved)
  ends = [outcome(folder, config=here) for folder in (workdir, moved)]
  close.assert_exact(*(params for params, _ in ends))
  close.assert_exact(*([line['loss'] for line in lines] for _, lines in ends))


def test_it_leaves_between_stages_and_has_nothing_to_leave_at_the_end(
  monkeypatch, straight, workdir
):
  @contextlib.contextmanager
  def announced_once():
    yield lambda update: Preempted if update in (4, 7) else None

  monkeypatch.setattr(distributed, 'preemption', announced_once)
  with pytest.raises(Preempted):
    train(config_of(), workdir)
  params, lines = outcome(workdir)
  assert lines == straight[2][:3]
  train(config_of(), workdir)
  assert_identical(outcome(workdir)[0], straight[1])


def test_finished_training_is_not_repeated(straight, capsys):
  summary, *_, workdir = straight
  paths = sorted((workdir / 'train').rglob('*'))
  assert train(config_of(), workdir) == summary
  assert sorted((workdir / 'train').rglob('*')) == paths
  assert '7 updates of' in capsys.readouterr().out


def test_other_settings_are_refused(straight):
  changed = config_of()
  changed.train.stages[0].lr_peak = 2e-2
  with pytest.raises(UserError, match='lr_peak was 0.01, is 0.02'):
    train(changed, straight[-1])


def test_nothing_to_train_leaves_the_initial_parameters(workdir):
  config = config_of()
  for stage in config.train.stages:
    stage.steps, stage.warmup_steps, stage.rows = 0, 20, {'absent': 1.0}
  assert train(config, workdir)['tokens'] == 0
  params, lines = outcome(workdir)
  assert lines == [] and np.std(params['embed']) > 0


def test_loss_that_is_no_number_names_update_stage_rows_and_checkpoint(workdir):
  config = config_of()
  config.train.stages[1].lr_peak = 1e30
  with pytest.raises(UserError) as caught:
    train(config, workdir)
  message = str(caught.value)
  for part in ('update 6', 'stage 1', 'expert', 'checkpoint is of update 4'):
    assert part in message


def test_rows_of_another_tokenizer_are_refused(workdir):
  change_manifest(workdir, tokenizer='0123')
  with pytest.raises(UserError, match="'world'.*tokenizer 0123"):
    train(config_of(), workdir)


def test_rows_deeper_than_the_model_are_refused(workdir):
  change_manifest(workdir, max_depth=1024)
  with pytest.raises(UserError, match="'world'.*1024.*max_tokens"):
    train(config_of(), workdir)


def change_manifest(workdir, **changes):
  path = workdir / 'prepare' / 'rows' / 'world' / 'manifest.json'
  files.write_json(path, {**files.read_json(path), **changes})


@pytest.mark.parametrize(
  'train_settings, mesh, named',
  [
    ({'batch_rows': 6, 'microbatches': 4}, (1, 1, 1), 'batch_rows = 6'),
    ({'batch_rows': 8, 'microbatches': 4}, (2, 2, 1), 'multiple of 16'),
    ({}, (1, 1, 4), 'tensor = 4 does not divide kv_heads = 2'),
    ({'checkpoint_every_steps': 0}, (1, 1, 1), 'every_steps is 0, not a'),
    ({'log_every_steps': 0}, (1, 1, 1), 'log_every_steps is 0, not a'),
    ({'keep_checkpoints': 0}, (1, 1, 1), 'keep_checkpoints is 0, not a'),
    ({'profile_steps': (3, 2)}, (1, 1, 1), r'profile_steps = \(3, 2\)'),
    ({'profile_steps': (3,)}, (1, 1, 1), r'profile_steps = \(3,\)'),
    ({'stages': []}, (1, 1, 1), 'stages is empty'),
    (
      {'stages': [config_lib.stage(steps=n) for n in (4, 0)]},
      (1, 1, 1),
      r'stages have \[4, 0\] updates: one of them learns nothing',
    ),
    (
      {'stages': [config_lib.stage(rows={'world': 0})]},
      (1, 1, 1),
      'no share above 0',
    ),
    (
      {'stages': [config_lib.stage(rows={'world': -1, 'expert': 1})]},
      *((1, 1, 1), 'rows.world is -1, not a number'),
    ),
  ],
)
def test_what_does_not_fit_is_refused_before_its_folder_is_begun(
  workdir, train_settings, mesh, named
):
  config = config_of(**train_settings)
  config.mesh.data, config.mesh.fsdp, config.mesh.tensor = mesh
  with pytest.raises(UserError, match=named):
    train(config, workdir)
  assert not (workdir / 'train').exists()


@pytest.mark.parametrize('name', ['', '.', '..', '../out', '/out', 'a/b'])
def test_a_name_that_leads_elsewhere_is_refused(workdir, name):
  config = config_of()
  config.name = name
  with pytest.raises(UserError, match='config.name is '):
    train(config, workdir)


def test_unknown_rows_are_named_with_those_there_are(workdir):
  config = config_of()
  config.train.stages[1].rows = {'exprt': 1.0}
  with pytest.raises(UserError, match=r"'exprt'.*expert, world"):
    train(config, workdir)


def test_unfinished_prepare_is_refused_with_its_command(workdir):
  (workdir / 'prepare' / 'summary.json').unlink()
  with pytest.raises(UserError, match='early_experience.prepare'):
    train(config_of(), workdir)
