"""Checkpoints are whole, checked against the architecture, and fit any mesh."""

import dataclasses
import functools
import gc
import os
import resource
import shutil
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from early_experience import config as config_lib
from early_experience.runtime.errors import UserError
from early_experience.training import optimizer, train_step
from early_experience.training.checkpoint import Checkpoints, Position
from early_experience.training.restore import load_params
from tests.training_case import mesh_of, model_of, to_numpy

# What orbax leaves behind when a load fails.
pytestmark = [
  pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning'),
  pytest.mark.filterwarnings('ignore:coroutine'),
]
CFG = model_of()
TX = optimizer.make_optimizer(config_lib.stage(), CFG)


@pytest.fixture
def folder(tmp_path):
  return tmp_path / 'checkpoints'


@functools.cache
def state_on(mesh, seed=0):
  return train_step.init_state(jax.random.key(seed), CFG, TX, mesh)


def checkpoints_of(folder, cfg=CFG, tokenizer='abc', keep=2):
  return Checkpoints(folder, cfg, tokenizer, keep)


def empty(data):
  return b''


def replace(data):
  return b'[1]'


def save(folder, *totals, sizes=(1, 1, 1)):
  """Saves states with seed, step and total alike; returns their parameters."""
  mesh = mesh_of(sizes)
  params = {}
  with jax.set_mesh(mesh), checkpoints_of(folder) as checkpoints:
    for total in totals:
      state = state_on(mesh, seed=total)
      checkpoints.save(state, Position(1, total, total), loss=1.0)
      params[total] = to_numpy(state.params)
  return params


def restore(folder, sizes=(1, 1, 1)):
  mesh = mesh_of(sizes)
  with jax.set_mesh(mesh), checkpoints_of(folder) as checkpoints:
    return checkpoints.restore(train_step.abstract_state(CFG, TX, mesh), mesh)


def truncate(data):
  return data[:10]


def lose(data):
  return b''


def flip_a_bit(data):
  half = len(data) // 2
  return data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :]


def damage(folder, total, how=truncate):
  files = (folder / str(total) / 'params').rglob('d/*')
  largest = max(files, key=lambda path: path.stat().st_size)
  data = how(largest.read_bytes())
  largest.write_bytes(data) if data else largest.unlink()


def assert_identical(a, b):
  jax.tree.map(np.testing.assert_array_equal, to_numpy(a), b)


def test_state_and_position_come_back_on_another_mesh(folder):
  saved = save(folder, 3, sizes=(2, 2, 2))
  state, position = restore(folder, (1, 4, 1))
  assert position == Position(1, 3, 3) and state.step == 3
  assert_identical(state.params, saved[3])
  mesh = mesh_of((1, 4, 1))
  for x, like in zip(
    jax.tree.leaves(state),
    jax.tree.leaves(train_step.abstract_state(CFG, TX, mesh)),
    strict=True,
  ):
    assert x.sharding == like.sharding


def test_what_is_saved_is_the_state_before_it_is_donated(folder):
  mesh = mesh_of((1, 1, 1))
  double = jax.jit(lambda s: jax.tree.map(lambda x: 2 * x, s), donate_argnums=0)
  with jax.set_mesh(mesh), checkpoints_of(folder) as checkpoints:
    state = jax.tree.map(jnp.copy, state_on(mesh))
    want = jax.tree.map(np.array, to_numpy(state.params))
    checkpoints.save(state, Position())
    double(state)  # while the save is under way
  assert_identical(restore(folder)[0].params, want)


def test_newest_are_kept_and_parameters_load_alone(folder):
  saved = save(folder, 1, 2, 3)
  assert sorted(p.name for p in folder.glob('[0-9]*')) == ['2', '3']
  mesh = mesh_of((2, 2, 2))
  with jax.set_mesh(mesh):
    params = load_params(folder, CFG, mesh)
  assert_identical(params, saved[3])


def test_saves_leave_no_thread_and_no_open_file_behind(folder):
  def held():
    gc.collect()
    return threading.active_count(), len(os.listdir('/proc/self/fd'))

  save(folder, 1)  # the first one fills pools that stay
  before = held()
  save(folder, *range(2, 8))
  threads, files = held()
  assert threads <= before[0] and files <= before[1] + 2


@pytest.mark.parametrize('how', [truncate, flip_a_bit, lose])
def test_damaged_newest_is_reported_and_the_one_before_goes_on(
  folder, capsys, caplog, how
):
  saved = save(folder, 1, 2)
  damage(folder, 2, how)
  mesh = mesh_of((1, 1, 1))
  with jax.set_mesh(mesh):
    assert_identical(load_params(folder, CFG, mesh), saved[1])
  state, position = restore(folder)
  assert position.total == 1
  assert_identical(state.params, saved[1])
  assert f'checkpoint {folder / "2"} cannot be read' in capsys.readouterr().err
  gc.collect()
  assert caplog.records == []  # nothing that orbax says besides
  # Its place is free again, and it is not lost.
  again = save(folder, 2)
  assert_identical(restore(folder)[0].params, again[2])
  assert (folder.parent / 'damaged_checkpoints' / '2').is_dir()


def test_no_whole_checkpoint_is_an_error_and_none_at_all_is_not(folder):
  assert restore(folder) is None
  save(folder, 1)
  damage(folder, 1)
  with pytest.raises(UserError, match=f'{folder / "1"} cannot be read'):
    restore(folder)
  assert (folder / '1').is_dir()


@pytest.mark.parametrize('processes', [1, 2])
def test_the_death_of_another_process_is_not_ours_to_tell(
  folder, monkeypatch, processes
):
  """Processes save together; who has died is told by whoever watches them."""
  lost = jax.errors.JaxRuntimeError('UNKNOWN: Connection reset by peer')

  def lose(*_, **__):
    raise lost

  with jax.set_mesh(mesh_of((1, 1, 1))), checkpoints_of(folder) as made:
    monkeypatch.setattr(made._manager, 'save_checkpointables_async', lose)
    monkeypatch.setattr(jax, 'process_count', lambda: processes)
    with pytest.raises(UserError if processes == 1 else type(lost)):
      made.save_params({'a': np.zeros(1)})
    monkeypatch.undo()


def test_full_disk_is_one_message_and_leaves_what_was_there(folder, caplog):
  gc.collect()  # orbax complains of loads that failed before when they go
  caplog.clear()
  saved = save(folder, 1)
  no_limit = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
  mesh = mesh_of((1, 1, 1))
  with jax.set_mesh(mesh):
    checkpoints, state = checkpoints_of(folder), state_on(mesh, seed=2)
    try:
      resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, no_limit[1]))
      with pytest.raises(UserError, match='cannot save to'), checkpoints:
        checkpoints.save(state, Position())
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, no_limit)
  assert caplog.records == []
  assert_identical(restore(folder)[0].params, saved[1])


def test_half_written_checkpoint_is_none(folder):
  save(folder, 1)
  (folder / '2.orbax-checkpoint-tmp' / 'params').mkdir(parents=True)
  assert restore(folder)[1].total == 1


def test_a_folder_that_cannot_be_written_is_refused_at_the_start(
  folder, monkeypatch
):
  save(folder, 1)
  with monkeypatch.context() as patch:
    # Who runs the tests may write anywhere.
    patch.setattr(os, 'access', lambda path, mode: path != folder)
    with pytest.raises(UserError, match=f'cannot write {folder}'):
      checkpoints_of(folder)
  (folder.parent / 'file').touch()
  with pytest.raises(UserError, match='cannot write .*file/architecture.json'):
    checkpoints_of(folder.parent / 'file')


def test_other_architecture_or_tokenizer_is_refused(folder):
  save(folder, 1)
  other, mesh = dataclasses.replace(CFG, mlp=128), mesh_of((1, 1, 1))
  with pytest.raises(UserError, match='mlp is 64 there and 128'):
    load_params(folder, other, mesh)
  with pytest.raises(UserError, match='mlp is 64 there and 128'):
    checkpoints_of(folder, cfg=other)
  with pytest.raises(UserError, match='tokenizer abc, not xyz'):
    checkpoints_of(folder, tokenizer='xyz')
  with pytest.raises(UserError, match='holds no checkpoints'):
    load_params(folder / 'absent', CFG, mesh)


def kinds_of_files(folder):
  """One of each kind of a checkpoint, whatever its name: the largest."""
  found = {}
  for path in sorted(folder.rglob('*'), key=lambda p: p.stat().st_size):
    if path.is_file():
      part = path.relative_to(folder)
      in_data = path.parent.name == 'd'
      found[part.parent if in_data else part] = part
  return sorted(found.values())


@pytest.mark.parametrize('how', [empty, replace, lose])
def test_no_file_of_a_checkpoint_ends_more_than_that_checkpoint(
  folder, tmp_path, capsys, how
):
  """Training and evaluation go on, from it where its state is whole."""
  saved = save(folder, 1, 2)
  whole = shutil.copytree(folder, tmp_path / 'whole')
  mesh = mesh_of((1, 1, 1))

  def policy():
    with jax.set_mesh(mesh):
      return load_params(folder, CFG, mesh)

  parts = kinds_of_files(folder / '2')
  assert len(parts) > 15
  for part in parts:
    shutil.rmtree(folder)
    shutil.copytree(whole, folder)
    path = folder / '2' / part
    path.write_bytes(how(path.read_bytes()))
    if how is lose:
      path.unlink()
    for read in (policy, lambda: restore(folder)[0].params):
      found = read()
      told = f'{folder / "2"} cannot be read' in capsys.readouterr().err
      assert_identical(found, saved[1 if told else 2])
    if part.parts[0] in ('metrics', '_CHECKPOINT_METADATA'):
      assert not told, part


def test_a_checkpoint_without_its_loss_is_the_newest_and_not_the_best(
  folder, capsys
):
  mesh = mesh_of((1, 1, 1))
  with jax.set_mesh(mesh):
    with Checkpoints(folder, CFG, 'abc', keep=1, keep_best=1) as checkpoints:
      for total, loss in ((1, 3.0), (2, 1.0), (3, 2.0)):
        checkpoints.save(state_on(mesh), Position(0, total, total), loss)
    (folder / '2' / 'metrics' / 'metrics').write_text('{"lo')
    with Checkpoints(folder, CFG, 'abc', keep=1, keep_best=1) as checkpoints:
      checkpoints.save(state_on(mesh), Position(0, 4, 4), 5.0)
  assert '2/metrics/metrics is damaged, and removed' in capsys.readouterr().err
  assert sorted(p.name for p in folder.glob('[0-9]*')) == ['3', '4']
