"""Trains: rows of tokens to a policy, over the stages of the config.

It can be stopped at any moment. It goes on from its newest checkpoint, and
ends with the parameters it would have had, to the bit on the same machine.
"""

import os
import pathlib
import sys

import jax
from ml_collections import ConfigDict

from early_experience.config import absent, checked, reads
from early_experience.experience import loader
from early_experience.experience.render import OBJECTIVES
from early_experience.model import attention_check, sharding
from early_experience.runtime import cli, distributed, files
from early_experience.runtime import stage as stage_lib
from early_experience.runtime.errors import UserError
from early_experience.runtime.progress import clock
from early_experience.tokenizers import saved
from early_experience.training import initial, origin, train_step
from early_experience.training.checkpoint import Checkpoints
from early_experience.training.run import Run

_MANY_EPOCHS = 10  # for what was trained before


@checked
def train(config: ConfigDict, workdir: str) -> dict:
  """Trains the policy `config.name`.

  Returns:
    The summary: updates, tokens, seconds, parameters, and for every stage the
    nll of each objective at its end.

  Raises:
    UserError: a setting is out of range; rows, tokenizer, architecture, batch
      and mesh do not fit each other; the loss is not a number or jumped.
    Preempted, Interrupted: it was told to stop, and saved; the same command
      goes on.
  """
  prepared = stage_lib.require(workdir, 'prepare')
  tokenizer = saved.load(prepared)
  name = f'train/{config.name}'
  folder = pathlib.Path(workdir, name)
  cfg, source = initial.resolve(config, tokenizer, folder)
  rows = _open_rows(config, workdir, tokenizer.hash)
  settings = reads('train', config) | {
    'init': _init(config.init, folder),
    'tokenizer': tokenizer.hash,
    'rows': {name: source.manifest for name, source in rows.items()},
  }
  if stage_lib.finished(folder) is None:
    # Before its folder is begun: what is refused here is not held to.
    _check_settings(config)
    if not (folder / stage_lib.SETTINGS).exists():
      initial.check_meant(config, source, prepared)
    row_tokens = _row_tokens(config, rows, cfg)
    mesh = sharding.make_mesh(config.mesh)
    train_step.check_batch(config.train, mesh)
    with jax.set_mesh(mesh):
      cfg = attention_check.proven(cfg)
    run = Run(config, cfg, source, rows, row_tokens, mesh)
    if distributed.is_first():
      _tell_epochs(config, rows)
  distributed.first_then_all(
    lambda: stage_lib.begin(
      workdir,
      name,
      settings,
      absent=absent('train', config),
      way_on=_way_on(config, pathlib.Path(workdir, name)),
      claim=distributed.is_first(),
    )
  )
  summary = stage_lib.finished(folder)
  if summary is None:
    with (
      jax.set_mesh(mesh),
      distributed.preemption() as leaves,  # until the last save is on disk
      Checkpoints(
        folder / initial.FOLDER,
        cfg,
        tokenizer.hash,
        config.train.keep_checkpoints,
        config.train.keep_best_checkpoints,
        source,
      ) as checkpoints,
    ):
      counted = run.to_the_end(folder, checkpoints, leaves)
    distributed.barrier()
    summary = _summary(counted, rows)
    if distributed.is_first():
      stage_lib.finish(folder, summary)
  if distributed.is_first():
    print(_sentence(summary))
  return summary


def _open_rows(config, workdir, tokenizer):
  """The row sets of all stages that train, checked against the tokenizer."""
  rows = {}
  for index, stage in enumerate(config.train.stages):
    names = [name for name, share in stage.rows.items() if share > 0]
    key = f'config.train.stages[{index}].rows'
    if stage.steps and not names:
      raise UserError(f'{key} has no share above 0')
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


def _check_settings(config):
  settings = config.train
  traced = tuple(settings.profile_steps)
  ordered = len(traced) == 2 and 1 <= traced[0] <= traced[1]
  if traced != (0, 0) and not ordered:
    raise UserError(
      f'config.train.profile_steps = {traced} are not a first and a last'
      ' update, counted from 1'
    )
  if not settings.stages:
    raise UserError('config.train.stages is empty')
  steps = [stage.steps for stage in settings.stages]
  if any(steps) and not all(steps):
    raise UserError(
      f'config.train.stages have {steps} updates: one of them learns nothing'
      ' (see config.budget.world_model_steps, config.budget.steps)'
    )


def _tell_epochs(config, rows):
  """How often each stage reads its rows: they are trees, not decisions."""
  batch, most = config.train.batch_rows, 0.0
  for number, stage in enumerate(config.train.stages, 1):
    if not stage.steps:
      continue
    shares, told = {n: s for n, s in stage.rows.items() if s > 0}, []
    for name, share in shares.items():
      count = rows[name].manifest['rows']
      epochs = stage.steps * batch * share / sum(shares.values()) / count
      told.append(f'{epochs:.1f} epochs of {name} ({count:,} rows)')
      most = max(most, epochs)
    print(
      f'train {config.name}: stage {number}, {stage.steps:,} updates of'
      f' {batch} rows: {", ".join(told)}'
    )
  if most > _MANY_EPOCHS and (config.init.hf or config.init.checkpoint):
    print(
      f'warning: {most:.0f} epochs are many for parameters that were trained'
      ' before: the paper has 1 to 6; see config.budget.steps',
      file=sys.stderr,
    )


def _init(init, folder):
  """Where parameters come from; what adapters stand beside, they know."""
  path = folder / stage_lib.SETTINGS
  begun = files.read_json(path)['init'] if path.exists() else {}
  found = origin.noted(init)
  for key in ('hf', 'checkpoint'):
    old = begun.get(key)  # older settings are a path alone
    if found[key] and isinstance(old, str) and old and not os.path.exists(old):
      found[key] = old
  return found


def _way_on(config, folder):
  """What to do where a training was begun with other settings."""
  beside = ' --config.init.hf=' if config.init.hf else ''
  return (
    'to go on from what it learnt, with these: another --config.name and'
    f'{beside} --config.init.checkpoint={folder}; to train anew: another'
    ' --config.name or --workdir, or delete that folder'
  )


def _excerpt(rows):
  keys = ('rows', 'row_tokens', 'layout', 'datasets', 'k', 'scored')
  return {key: rows.manifest.get(key) for key in keys}


def _summary(counted, rows):
  stages = [
    {'steps': stage['steps'], 'nll': _nll(stage['end'])}
    for stage in counted['stages']
  ]
  sets = {name: _excerpt(source) for name, source in rows.items()}
  return {**counted, 'stages': stages, 'rows': sets}


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
  cli.run(train, many_processes=True)
