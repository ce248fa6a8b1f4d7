"""Checkpoints: the state, and the position in the data it goes on from.

All use of orbax is here and in restore.py: its v1 names still move.
"""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import sys

import jax
from jax.sharding import Mesh
from orbax.checkpoint import v1 as ocp

from early_experience.model.config import ModelConfig
from early_experience.runtime import distributed, files
from early_experience.runtime.errors import UserError
from early_experience.training import architecture, checksum, restore
from early_experience.training.train_step import TrainState, put_step


@dataclasses.dataclass(frozen=True)
class Position:
  """Where training stands.

  Attributes:
    stage: index in `config.train.stages`.
    step: updates done in it, and so batches drawn.
    total: updates done in all stages; names the checkpoint.
  """

  stage: int = 0
  step: int = 0
  total: int = 0


class Checkpoints:
  """The checkpoints of one training, saved in the background.

  Args:
    folder: `train/NAME/checkpoints`.
    cfg: its architecture is saved beside them, and compared.
    tokenizer: hash of the tokenizer, saved and compared too.
    keep: newest ones to keep.
    keep_best: and as many of those with the lowest loss.
    source: what an export is to say again of the checkpoint that the
      parameters come from, as `hf.read.facts` has it.

  Raises:
    UserError: the folder holds another architecture or tokenizer, or cannot be
      written.
  """

  def __init__(
    self,
    folder,
    cfg: ModelConfig,
    tokenizer: str,
    keep: int,
    keep_best: int = 0,
    source: dict | None = None,
  ):
    self._folder = pathlib.Path(folder)
    self._cfg = cfg
    distributed.first_then_all(
      lambda: architecture.record(self._folder, cfg, tokenizer, source or {})
    )
    if not os.access(self._folder, os.W_OK):
      raise UserError(f'cannot write {self._folder}: use another --workdir')
    distributed.first_then_all(self._drop_damaged)
    policies = ocp.training.preservation_policies
    best = policies.BestN(
      get_metric_fn=lambda metrics: -metrics['loss'],
      n=keep_best,
      keep_checkpoints_without_metrics=False,
    )
    self._keep = policies.LatestN(keep)
    if keep_best:
      self._keep = policies.AnyPreservationPolicy([self._keep, best])
    self._quiet = contextlib.ExitStack()
    self._quiet.enter_context(restore.quiet_orbax())
    self._manager = self._open()
    self._saving = None

  def _drop_damaged(self):
    """What orbax reads of all checkpoints, and no state depends on.

    Without its loss one is none of the best.
    """
    for step in restore.steps(self._folder):
      folder = self._folder / str(step)
      for path, key, kind in (
        (folder / 'metrics' / 'metrics', 'loss', int | float),
        (folder / '_CHECKPOINT_METADATA', 'item_handlers', dict),
      ):
        try:
          whole = not path.exists() or isinstance(
            files.read_json(path).get(key), kind
          )
        except UserError:
          whole = False
        if not whole:
          print(f'warning: {path} is damaged, and removed', file=sys.stderr)
          path.unlink(missing_ok=True)

  def _open(self):
    return ocp.training.Checkpointer(
      self._folder.absolute(),
      preservation_policy=self._keep,
      cleanup_tmp_directories=True,
    )

  @property
  def latest(self) -> int | None:
    """Updates done at the newest checkpoint, unless there is none."""
    newest = self._manager.latest
    return None if newest is None else newest.step

  def save(
    self, state: TrainState, position: Position, loss: float | None = None
  ) -> None:
    """Copies the state, then writes it while training goes on.

    Args:
      state: of the training.
      position: where it stands; names the checkpoint.
      loss: by which it may be among the best.

    Raises:
      UserError: this or the last checkpoint cannot be written.
    """
    trees = {'params': state.params, 'opt_state': state.opt_state}
    self._write(trees, state.frozen, position, loss)

  def save_params(self, params: dict) -> None:
    """As `save`, for parameters that no training made: they only load."""
    self._write({'params': params}, {}, Position())

  def _write(self, trees, frozen, position, loss=None):
    about = {
      'position': dataclasses.asdict(position),
      'sums': checksum.of(**trees, frozen=frozen),
    }
    with self._told():
      self._finish()
      self._saving = self._manager.save_checkpointables_async(
        position.total,
        {**trees, 'about': about},
        force=True,
        metrics=None if loss is None else {'loss': loss},
      )

  def _finish(self):
    """Waits for the save under way; its thread and files live until then."""
    saving, self._saving = self._saving, None
    if saving:
      saving.result()

  def restore(
    self, abstract: TrainState, mesh: Mesh
  ) -> tuple[TrainState, Position] | None:
    """The newest checkpoint that is whole; None where there is none at all.

    Damaged ones are reported on stderr and moved aside, so that saving and
    retention need not know of them.

    Args:
      abstract: from `abstract_state`; any mesh, whichever saved it. What is
        frozen is not saved: it must be there already.
      mesh: of that state.

    Raises:
      UserError: there are checkpoints, and none can be read, or what is frozen
        is not what it was.
    """
    like = {'params': abstract.params, 'opt_state': abstract.opt_state}
    found = restore.newest_whole(self._folder, like)
    if found is None:
      return None
    parts, damaged = found
    if damaged:
      self._move_aside(damaged)
    restore.check_frozen(self._folder, parts['about'], abstract.frozen)
    position = Position(**parts['about']['position'])
    state = TrainState(
      put_step(position.step, mesh),
      parts['params'],
      parts['opt_state'],
      abstract.frozen,
    )
    return state, position

  def _move_aside(self, steps):
    self._manager.close()
    aside = self._folder.with_name('damaged_checkpoints')
    if distributed.is_first():
      aside.mkdir(exist_ok=True)
      for step in steps:
        shutil.rmtree(aside / str(step), ignore_errors=True)
        shutil.move(self._folder / str(step), aside / str(step))
    distributed.barrier()
    self._manager = self._open()

  def close(self) -> None:
    """Waits until the last save is on disk."""
    try:
      with self._told():
        try:
          self._finish()
        finally:
          self._manager.close()
    finally:
      self._quiet.close()

  @contextlib.contextmanager
  def _told(self):
    """Says of what cannot be written where, and why.

    But for the death of another process, as processes save together: that is
    for whoever watches them to tell.
    """
    try:
      yield
    except Exception as error:
      of_jax = isinstance(error, jax.errors.JaxRuntimeError)
      if of_jax and jax.process_count() > 1:
        raise
      raise UserError(
        f'cannot save to {self._folder}: {restore.reason(error)}'
      ) from error

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()
