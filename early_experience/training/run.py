"""The loop: batches through the step, saved, logged, and left when told to."""

import dataclasses
import functools
import io
import time
from collections.abc import Callable

from jax.sharding import Mesh
from ml_collections import ConfigDict

from early_experience.experience import loader
from early_experience.model import sharding, table
from early_experience.model.config import ModelConfig
from early_experience.runtime import distributed
from early_experience.runtime.errors import UserError
from early_experience.runtime.progress import Progress
from early_experience.training import (
  flops,
  initial,
  metrics,
  optimizer,
  train_step,
)
from early_experience.training.checkpoint import Checkpoints, Position
from early_experience.training.idle import Idle
from early_experience.training.profile import Profile
from early_experience.training.train_step import TrainState


class Run:
  """A training, from where it stands to its end.

  Args:
    config: all of it.
    cfg, source: of the model, from `initial.resolve`.
    rows: of all stages, by name.
    row_tokens: the one length of all rows.
    mesh: from `make_mesh`.

  Raises:
    UserError: a stage's settings are out of range, or the mesh does not divide
      the model.
  """

  def __init__(
    self,
    config: ConfigDict,
    cfg: ModelConfig,
    source: dict,
    rows: dict[str, loader.Rows],
    row_tokens: int,
    mesh: Mesh,
  ):
    self._config, self._cfg, self._rows = config, cfg, rows
    self._source, self._row_tokens = source, row_tokens
    self._mesh, self._stages = mesh, config.train.stages
    # All at once: what is wrong with the last stage shows before the first.
    self._optimizers, self._steps = [], []
    for stage in self._stages:
      tx = optimizer.make_optimizer(stage, cfg, config.train.optimizer_dtype)
      self._optimizers.append(tx)
      parts = config.train.microbatches
      self._steps.append(
        train_step.make_train_step(cfg, tx, stage, parts)
        if stage.steps
        else None
      )
    # The states of all stages have one structure.
    self._like = train_step.abstract_state(cfg, self._optimizers[0], mesh)

  def to_the_end(
    self,
    folder,
    checkpoints: Checkpoints,
    leaves: Callable[[int], type[BaseException] | None],
  ) -> dict:
    """Trains; returns what was counted.

    Args:
      folder: of the training.
      checkpoints: in it.
      leaves: of `distributed.preemption`.

    Raises:
      UserError: the loss is not a number, or jumped.
      Preempted, Interrupted: as it was told; the state is saved.
    """
    self._checkpoints, self._leaves = checkpoints, leaves
    state, position = self._start()
    settings = self._config.train
    tokens = settings.batch_rows * self._row_tokens
    total = sum(stage.steps for stage in self._stages)
    name = self._config.name
    progress = Progress(
      f'train {name}',
      total,
      'updates',
      position.total,
      stream=None if distributed.is_first() else io.StringIO(),
    )
    with (
      metrics.Log(
        folder,
        position.total,
        settings.log_every_steps,
        settings.max_loss_ratio,
        tokens,
        functools.partial(
          flops.model_flops,
          self._cfg,
          settings.batch_rows,
          self._row_tokens,
        ),
      ) as log,
      Profile(folder, settings.profile_steps) as profile,
      Idle() as idle,
    ):
      self._log, self._profile, self._idle = log, profile, idle
      for index in range(position.stage, len(self._stages)):
        if index > position.stage:
          reset = self._stages[index].reset_optimizer
          tx = self._optimizers[index]
          state = train_step.enter_stage(state, tx, reset, self._mesh)
          position = Position(index, 0, position.total)
        state, position = self._stage(state, position, progress)
      if self._checkpoints.latest is None:  # nothing to train
        self._checkpoints.save(state, position, None)
      seconds = log.last.get('seconds', 0.0)
      ends = log.ends()
    progress.close()
    return {
      'name': name,
      'steps': total,
      'tokens': total * tokens,
      'seconds': seconds,
      'parameters': table.count(self._cfg),
      'trained': table.count(self._cfg, trained=True),
      'stages': [
        {'steps': stage.steps, 'end': ends.get(index)}
        for index, stage in enumerate(self._stages)
      ],
    }

  def _start(self) -> tuple[TrainState, Position]:
    like, params = self._like, None
    if self._cfg.lora_rank:  # what is frozen is not in the checkpoints
      # Once there are any, the adapters that it began with are not needed.
      begun = self._checkpoints.latest is not None
      params = self._params(0 if begun else self._cfg.lora_rank)
      like = like.replace(frozen=table.split(params, self._cfg)[1])
    restored = self._checkpoints.restore(like, self._mesh)
    if restored is not None:
      return restored
    params = params or self._params(self._cfg.lora_rank)
    tx = self._optimizers[0]
    return train_step.new_state(params, self._cfg, tx, self._mesh), Position()

  def _params(self, rank):
    cfg = dataclasses.replace(self._cfg, lora_rank=rank)
    return initial.params(self._source, cfg, self._mesh, self._config.seed)

  def _stage(self, state, position, progress):
    """The updates left of one stage, and a checkpoint at its end."""
    index, steps = position.stage, self._stages[position.stage].steps
    if position.step == steps:
      return state, position
    with progress.apart():
      batches = self._batches(position)
      batch = next(batches)
      step = self._steps[index].lower(state, batch).compile()
    log, every = self._log, self._config.train.checkpoint_every_steps
    began = position.total - position.step
    log.start(began, began + steps)
    try:
      while position.step < steps:
        self._profile.before(position.total, state)
        state, values = step(state, batch)
        position = Position(index, position.step + 1, position.total + 1)
        done = position.step == steps
        log.add(position.total, index, values)
        leave = self._leaves(position.total)
        if done or leave or not position.total % every:
          self._save(state, position)
        # Between stages too: the cluster announces it for one update only.
        if leave and not (done and index == len(self._stages) - 1):
          raise leave(position.total)
        if not done:
          batch, seconds = self._idle.next(batches, values['loss'])
          log.data_seconds += seconds
        progress.update(note=f'loss {log.last["loss"]:.4g}' if log.last else '')
    except metrics.Diverged as error:
      raise UserError(self._blame(error, index)) from error
    return state, position

  def _save(self, state, position):
    """Saves what is known to be sound: its loss is fetched first."""
    self._log.flush()
    start = time.perf_counter()
    self._checkpoints.save(state, position, self._log.last['loss'])
    self._log.checkpoint_seconds += time.perf_counter() - start

  def _batches(self, position):
    """The rest of a stage's batches, on the devices."""
    rows = self._config.train.batch_rows
    source = loader.batches(
      **self._order(position.stage),
      start_step=position.step,
      positions=sharding.row_positions(rows, self._mesh),
    )
    return (sharding.put_batch(batch, self._mesh, rows) for batch in source)

  def _order(self, index):
    """What the order of a stage's rows depends on."""
    return {
      'rows': self._rows,
      'shares': self._stages[index].rows.to_dict(),
      # Stages that share rows do not see them in one order.
      'seed': self._config.seed + 1000 * index,
      'batch_rows': self._config.train.batch_rows,
    }

  def _blame(self, error, index):
    step = error.update - 1 - sum(s.steps for s in self._stages[:index])
    rows = loader.drawn(**self._order(index), step=step)
    latest = self._checkpoints.latest
    return (
      f'{error} (train stage {index}, batch {step}: rows {", ".join(rows)});'
      f' the last good checkpoint is'
      f' {"none" if latest is None else f"of update {latest}"}: lower the'
      ' learning rate or clip_norm, and train under another --config.name'
    )
