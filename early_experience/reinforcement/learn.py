"""From settings to a run: all that can be wrong shows before it begins."""

import functools
import operator
import pathlib

import jax
import numpy as np
from ml_collections import ConfigDict

from early_experience import config as config_lib
from early_experience.config import absent, reads
from early_experience.envs import apart, registry
from early_experience.evaluation import panel as panels
from early_experience.experience import loader
from early_experience.model import attention_check, sharding
from early_experience.reinforcement import questions
from early_experience.reinforcement.asking import Asker
from early_experience.reinforcement.handover import Server
from early_experience.reinforcement.run import Run
from early_experience.reinforcement.sampling import Sampler
from early_experience.runtime import distributed, files
from early_experience.runtime import stage as stage_lib
from early_experience.runtime.errors import UserError
from early_experience.runtime.progress import clock
from early_experience.tokenizers import saved
from early_experience.training import initial, origin
from early_experience.training.checkpoint import Checkpoints
from early_experience.work import hosts

INIT, ENVIRONMENT = 'init', 'environment'


def learn(
  seats: hosts.Hosts | hosts.Here, config: ConfigDict, workdir: str
) -> dict:
  """Runs, or goes on with, the run `rl/NAME`; see `early_experience.rl`.

  Args:
    seats: of `members`, with environments.
    config: all of it, with `evaluate.think` known.
    workdir: of the run.
  """
  settings = config.rl
  _check(config)
  prepared = stage_lib.require(workdir, 'prepare')
  tokenizer = saved.load(prepared)
  start = _start(config, workdir)
  name = f'rl/{config.name}'
  cfg, source = initial.resolve(config, tokenizer, pathlib.Path(workdir, name))
  mixed = _mixed(config, workdir, tokenizer.hash)
  held_to = reads('rl', config) | {
    'env': registry.settings(config.env),
    'init': start,
    'tokenizer': tokenizer.hash,
    'rows': {name: rows.manifest for name, rows in mixed.items()},
    **_records(config, workdir),
  }
  folder = pathlib.Path(workdir, name)
  begin = functools.partial(
    stage_lib.begin,
    workdir,
    name,
    held_to,
    absent=absent('rl', config),
    claim=distributed.is_first(),
  )
  summary = stage_lib.finished(folder)
  if summary is not None:
    distributed.first_then_all(begin)
    return _told(summary)
  if not (folder / stage_lib.SETTINGS).exists():
    initial.check_meant(config, source, prepared)
  mesh = sharding.make_mesh(config.mesh)
  with jax.set_mesh(mesh):
    cfg = attention_check.proven(cfg)
  run = Run(config, _stage(settings), cfg, source, tokenizer, mixed, mesh)
  sharding.check_rows(settings.batch_rows, mesh)
  share = -(-settings.tasks * settings.group // jax.process_count())
  slots = min(config.evaluate.batch_tasks, share)
  _check_lengths(config, cfg, mixed)
  server = None
  if settings.sampler == 'served':
    server = Server(config, cfg, tokenizer, mesh, source, folder)
  if settings.source == ENVIRONMENT:
    tasks, panel = _tasks(seats, config)
    sampler = Sampler(seats, config, cfg, tokenizer, mesh, slots, server)
  else:
    tasks, panel = questions.of_workdir(config, workdir, tokenizer)
    sampler = Asker(config, cfg, tokenizer, mesh, slots)
  distributed.first_then_all(begin)
  with (
    jax.set_mesh(mesh),
    # Until the last save is on disk.
    distributed.preemption(seldom=True) as leaves,
    Checkpoints(
      folder / initial.FOLDER,
      cfg,
      tokenizer.hash,
      settings.keep_checkpoints,
      source=source,
    ) as checkpoints,
  ):
    summary = run.to_the_end(folder, checkpoints, sampler, tasks, panel, leaves)
  distributed.barrier()
  if distributed.is_first():
    stage_lib.finish(folder, summary)
  return _told(summary)


def _check(config):
  settings = config.rl
  if settings.kl_weight and not settings.keep_start:
    raise UserError('config.rl.kl_weight needs config.rl.keep_start=True')
  for objective, weight in settings.weights.items():
    scored = settings.rows and settings.mixed_rows
    if objective == 'world_model':
      scored = scored or settings.observations
    if np.any(weight) and not scored:
      raise UserError(
        f'config.rl.weights.{objective} = {weight} weighs nothing: give'
        ' config.rl.rows and mixed_rows'
        + ', or observations=True'
        * (objective == 'world_model')
      )
  if settings.source != ENVIRONMENT:
    for key in ('step_weight', 'observations'):
      if settings[key]:
        raise UserError(
          f'config.rl.{key} = {settings[key]} is about episodes: not with'
          f' config.rl.source={settings.source!r}'
        )
    if settings.sampler == 'served':
      raise UserError(
        "config.rl.sampler='served' plays episodes: not with"
        f' config.rl.source={settings.source!r}'
      )
  if settings.sampler == 'served' and config.evaluate.constrained:
    raise UserError(
      "config.evaluate.constrained=True holds no model of rl.sampler='served':"
      ' set it False'
    )
  shares = [share for share in settings.rows.values() if share > 0]
  if bool(shares) != bool(settings.mixed_rows):
    raise UserError(
      f'config.rl.mixed_rows = {settings.mixed_rows} and config.rl.rows ='
      f' {settings.rows.to_dict()} do not go together: so many rows are drawn'
      ' by these shares'
    )


def _records(config, workdir):
  """What questions are made of, where they are asked."""
  if config.rl.source == ENVIRONMENT:
    return {}
  return {
    name: files.read_json(folder / stage_lib.SETTINGS)
    for name, folder in questions.sources(config, workdir).items()
  }


def _start(config, workdir):
  """Points `config.init` to where the run starts; returns what that is."""
  init = config.init
  if config.rl.start == INIT:
    return origin.noted(init)
  trained = stage_lib.require(
    workdir, f'train/{config.rl.start or config.name}'
  )
  init.checkpoint = str(trained.absolute())
  if not origin.has_adapters(trained):  # else hf is where their base is now
    init.hf = ''
  return files.read_json(trained / stage_lib.SETTINGS)


def _stage(settings):
  """The settings that a stage of training has."""
  updates = settings.iterations * settings.minibatches * settings.epochs
  shared = (
    'lr_peak',
    'warmup_steps',
    'decay',
    'b2',
    'weight_decay',
    'clip_norm',
  )
  return config_lib.stage(
    rows=settings.rows.to_dict(),
    weights=settings.weights.to_dict(),
    steps=updates,
    **{key: settings[key] for key in shared},
  )


def _mixed(config, workdir, tokenizer):
  """The prepared rows that are in every update."""
  names = [name for name, share in config.rl.rows.items() if share > 0]
  found = {name: loader.open_rows(workdir, name) for name in names}
  for name, rows in found.items():
    if rows.manifest['tokenizer'] != tokenizer:
      raise UserError(
        f'rows {name!r} in {workdir} were made with tokenizer'
        f' {rows.manifest["tokenizer"]}, but that of prepare/ is {tokenizer};'
        ' prepare them again'
      )
  return found


def _check_lengths(config, cfg, mixed):
  """A row holds every episode, and all rows are of one length."""
  length = config.rl.row_tokens or cfg.max_tokens
  if length < cfg.max_tokens:
    raise UserError(
      f'config.rl.row_tokens = {length} cannot hold an episode of'
      f' config.model.max_tokens = {cfg.max_tokens}'
    )
  for name, rows in mixed.items():
    theirs = rows.manifest['row_tokens']
    if theirs != length:
      raise UserError(
        f'rows {name!r} have {theirs} tokens, those of rl {length}: set'
        ' config.rl.row_tokens, config.model.max_tokens and'
        ' config.prepare.row_tokens alike'
      )


def _tasks(seats, config):
  """What is learnt from, and the panel, which is kept from it."""
  settings, panel = config.rl, []
  ask = functools.partial(apart.ask, seats, config.env.name)
  if settings.panel_every:
    every = ask(operator.methodcaller('tasks', settings.panel_split))
    panel = panels.choose(every, settings.panel_tasks, 'dev')
  kept = {(task.split, task.id) for task in panel}
  tasks = [
    task
    for task in ask(operator.methodcaller('tasks', settings.split))
    if (task.split, task.id) not in kept
  ]
  if len(tasks) < settings.tasks:
    raise UserError(
      f'{config.env.name} has {len(tasks)} tasks in split {settings.split!r}'
      f' beside the {len(panel)} of the panel, fewer than config.rl.tasks ='
      f' {settings.tasks}'
    )
  names = [f'{task.split}/{task.id}' for task in (*tasks, *panel)]
  if any(others != names for others in distributed.gathered(names)):
    raise UserError(
      f'{config.env.name} lists other tasks in one process than in another:'
      ' give all of them the same data'
    )
  return tasks, panel


def _told(summary):
  if distributed.is_first():
    print(_sentence(summary))
  return summary


def _sentence(summary):
  def told(name, line):
    low, high = line[f'{name}/low'], line[f'{name}/high']
    return f'{line[f"{name}/rate"]:.1%} [{low:.1%}, {high:.1%}]'

  solved = ' to '.join(
    told('success', summary[key]) for key in ('first', 'last')
  )
  panel = ' to '.join(told('panel', line) for line in summary['panel'])
  return (
    f'rl {summary["name"]}: {summary["steps"]} updates in'
    f' {summary["iterations"]} iterations, {summary["episodes"]} episodes'
    f' ({summary["episodes_failed"]} failed), {summary["environment_steps"]}'
    f' environment steps, {clock(summary["seconds"])}; groups without variance'
    f' {summary["groups_even"]}; solved {solved}'
    f'{panel and f"; panel {panel}"}'
  )
