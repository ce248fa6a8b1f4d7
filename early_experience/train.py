"""Stage `train`: rows of tokens to a policy, over the stages of the config.

It can be stopped at any moment. It goes on from its newest checkpoint, and
ends with the parameters it would have had, to the bit on the same machine.
"""

import pathlib

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from early_experience import cli
from early_experience import stage as stage_lib
from early_experience.errors import UserError
from early_experience.experience import loader
from early_experience.experience import tokenizer as tokenizer_lib
from early_experience.experience.render import OBJECTIVES
from early_experience.model import sharding, table
from early_experience.model.config import ModelConfig
from early_experience.progress import Progress, clock
from early_experience.training import initial, metrics, optimizer, train_step
from early_experience.training.checkpoint import Checkpoints, Position
from early_experience.training.train_step import TrainState

# What may differ between the runs that make up one training.
FREE_TRAIN = ('checkpoint_every_steps', 'keep_checkpoints', 'log_every_steps')
FREE_MODEL = ('remat', 'attention_block', 'loss_chunk')


def train(config: ConfigDict, workdir: str) -> dict:
  """Trains the policy `config.name`.

  Returns:
    The summary: updates, tokens, seconds, parameters, and for every stage the
    nll of each objective at its end.

  Raises:
    UserError: rows, tokenizer, architecture, batch and mesh do not fit each
      other, or the loss is not a number.
  """
  prepared = stage_lib.require(workdir, 'prepare')
  tokenizer = tokenizer_lib.load(prepared)
  name = f'train/{config.name}'
  cfg, source = initial.resolve(
    config, tokenizer.vocab_size, pathlib.Path(workdir, name)
  )
  rows = _open_rows(config, workdir, tokenizer.hash)
  folder = stage_lib.begin(
    workdir, name, _settings(config, tokenizer.hash, rows)
  )
  summary = stage_lib.finished(folder)
  if summary is None:
    mesh = sharding.make_mesh(config.mesh)
    keep = config.train.keep_checkpoints
    with (
      jax.set_mesh(mesh),
      Checkpoints(
        folder / initial.FOLDER, cfg, tokenizer.hash, keep, source
      ) as checkpoints,
    ):
      run = _Run(config, cfg, source, rows, mesh, checkpoints)
      summary = run.to_the_end(folder)
    stage_lib.finish(folder, summary)
  print(_sentence(summary))
  return summary


class _Run:
  """A training, from where it stands to its end."""

  def __init__(
    self,
    config: ConfigDict,
    cfg: ModelConfig,
    source: dict,
    rows: dict[str, loader.Rows],
    mesh: Mesh,
    checkpoints: Checkpoints,
  ):
    self._config, self._cfg, self._rows = config, cfg, rows
    self._source = source
    self._mesh, self._checkpoints = mesh, checkpoints
    self._stages = config.train.stages
    self._row_tokens = _row_tokens(config, rows, cfg)
    _check_batch(config, mesh)
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

  def to_the_end(self, folder) -> dict:
    """Trains; returns the summary."""
    state, position = self._start()
    settings = self._config.train
    tokens = settings.batch_rows * self._row_tokens
    total = sum(stage.steps for stage in self._stages)
    name = self._config.name
    progress = Progress(f'train {name}', total, 'updates', position.total)
    with metrics.Log(
      folder,
      position.total,
      settings.log_every_steps,
      tokens,
      metrics.model_flops(self._cfg, settings.batch_rows, self._row_tokens),
    ) as log:
      for index in range(position.stage, len(self._stages)):
        if index > position.stage:
          reset = self._stages[index].reset_optimizer
          tx = self._optimizers[index]
          state = train_step.enter_stage(state, tx, reset, self._mesh)
          position = Position(index, 0, position.total)
        state, position = self._stage(state, position, log, progress)
      if self._checkpoints.latest is None:  # nothing to train
        self._checkpoints.save(state, position)
      seconds = log.last.get('seconds', 0.0)
      finals = log.last_of_stages
    progress.close()
    return {
      'name': name,
      'steps': total,
      'tokens': total * tokens,
      'seconds': seconds,
      'parameters': table.count(self._cfg),
      'trained': table.count(self._cfg, trained=True),
      'stages': [
        {'steps': stage.steps, 'nll': _nll(finals.get(index))}
        for index, stage in enumerate(self._stages)
      ],
      'rows': {name: _excerpt(rows) for name, rows in self._rows.items()},
    }

  def _start(self) -> tuple[TrainState, Position]:
    tx = self._optimizers[0]  # the states of all stages have one structure
    like = train_step.abstract_state(self._cfg, tx, self._mesh)
    params = None
    if self._cfg.lora_rank:  # what is frozen is not in the checkpoints
      params = self._params()
      like = like.replace(frozen=table.split(params, self._cfg)[1])
    restored = self._checkpoints.restore(like, self._mesh)
    if restored is not None:
      return restored
    params = params or self._params()
    return train_step.new_state(params, self._cfg, tx, self._mesh), Position()

  def _params(self):
    seed = self._config.seed
    return initial.params(self._source, self._cfg, self._mesh, seed)

  def _stage(self, state, position, log, progress):
    """The updates left of one stage, and a checkpoint at its end."""
    index, steps = position.stage, self._stages[position.stage].steps
    if position.step == steps:
      return state, position
    batches = self._batches(position)
    batch = next(batches)
    step = self._steps[index].lower(state, batch).compile()
    log.start()
    try:
      while position.step < steps:
        state, values = step(state, batch)
        position = Position(index, position.step + 1, position.total + 1)
        done = position.step == steps
        log.add(position.total, index, values)
        if (
          done or not position.total % self._config.train.checkpoint_every_steps
        ):
          log.flush()  # nothing is saved before its loss is known
          self._checkpoints.save(state, position)
        if not done:
          batch = next(batches)  # while the device is at work
        progress.update()
    except metrics.NotFinite as error:
      raise UserError(self._blame(error, index)) from error
    return state, position

  def _batches(self, position):
    """The rest of a stage's batches, on the devices."""
    source = loader.batches(
      self._rows,
      self._stages[position.stage].rows.to_dict(),
      # Stages that share rows do not see them in one order.
      seed=self._config.seed + 1000 * position.stage,
      batch_rows=self._config.train.batch_rows,
      start_step=position.step,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
    )
    return (sharding.put_batch(batch, self._mesh) for batch in source)

  def _blame(self, error, index):
    before = sum(stage.steps for stage in self._stages[:index])
    latest = self._checkpoints.latest
    return (
      f'{error} (train stage {index}, batch {error.update - before - 1} of'
      f' rows {", ".join(self._stages[index].rows)}, seed'
      f' {self._config.seed}); the last good checkpoint is'
      f' {"none" if latest is None else f"of update {latest}"}: lower the'
      ' learning rate or clip_norm, and train under another --config.name'
    )


def _open_rows(config, workdir, tokenizer):
  """The row sets of all stages that train, checked against the tokenizer."""
  rows = {}
  for index, stage in enumerate(config.train.stages):
    names = [name for name, share in stage.rows.items() if share > 0]
    if stage.steps and not names:
      raise UserError(f'config.train.stages[{index}].rows has no share above 0')
    if stage.steps:
      rows |= {name: loader.open_rows(workdir, name) for name in names}
  for name, source in rows.items():
    theirs = source.manifest['tokenizer']
    if theirs != tokenizer:
      raise UserError(
        f'rows {name!r} in {workdir} were made with tokenizer {theirs}, but'
        f' that of prepare/ is {tokenizer}; prepare them again'
      )
  return rows


def _row_tokens(config, rows, cfg):
  """The one length of all rows; 0 where nothing is trained."""
  lengths = {name: s.manifest['row_tokens'] for name, s in rows.items()}
  if len(set(lengths.values())) > 1:
    raise UserError(f'rows differ in length: {lengths}; prepare them alike')
  for name, source in rows.items():
    depth = source.manifest['max_depth']
    if depth >= cfg.max_tokens:
      raise UserError(
        f'rows {name!r} reach position {depth}, but config.model.max_tokens ='
        f' {cfg.max_tokens}; raise it to {depth + 1}'
      )
  return max(lengths.values(), default=0)


def _check_batch(config, mesh):
  rows, parts = config.train.batch_rows, config.train.microbatches
  ways = mesh.shape['data'] * mesh.shape['fsdp']
  if parts < 1 or rows < 1 or rows % (parts * ways):
    raise UserError(
      f'config.train.batch_rows = {rows} cannot be cut into'
      f' config.train.microbatches = {parts} parts over config.mesh data x fsdp'
      f' = {ways} devices; make it a multiple of {max(1, parts) * ways}'
    )


def _settings(config, tokenizer, rows):
  train_settings = config.train.to_dict()
  stages = train_settings.pop('stages')
  return {
    'seed': config.seed,
    'tokenizer': tokenizer,
    'init': config.init.to_dict(),
    'model': _without(FREE_MODEL, config.model.to_dict()),
    'train': _without(FREE_TRAIN, train_settings),
    'stages': {str(i): stage.to_dict() for i, stage in enumerate(stages)},
    'rows': {name: source.manifest for name, source in rows.items()},
  }


def _without(keys, settings):
  return {key: value for key, value in settings.items() if key not in keys}


def _excerpt(rows):
  keys = ('rows', 'row_tokens', 'layout', 'datasets', 'k', 'scored')
  return {key: rows.manifest.get(key) for key in keys}


def _nll(line):
  return {name: line and line[f'{name}/nll'] for name in OBJECTIVES}


def _sentence(summary):
  nll = summary['stages'][-1]['nll'] if summary['stages'] else {}
  ends = [
    f'{name} {value:.3f}' for name, value in nll.items() if value is not None
  ]
  return (
    f'train {summary["name"]}: {summary["steps"]} updates of'
    f' {summary["parameters"]:,} parameters, {summary["tokens"]:,} tokens,'
    f' {clock(summary["seconds"])}; nats a token at the end:'
    f' {", ".join(ends) or "untrained"}'
  )


if __name__ == '__main__':
  cli.run(train)
