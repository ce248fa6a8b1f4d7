"""Where a model's parameters come from: a seed, a checkpoint, Hugging Face.

Adapters are saved without the parameters that they stand beside. So a training
records its source, and a policy is put together from both again.
"""

import dataclasses
import pathlib
import sys

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from early_experience.hf import architecture as hf_architecture
from early_experience.hf import read
from early_experience.model import config as model_config
from early_experience.model import table
from early_experience.model.config import ADDED, ModelConfig
from early_experience.runtime import files, stage
from early_experience.runtime.errors import UserError
from early_experience.tokenizers.interface import Tokenizer
from early_experience.training import architecture, origin, restore
from early_experience.training.origin import FOLDER as FOLDER


def resolve(
  config: ConfigDict, tokenizer: Tokenizer, trained
) -> tuple[ModelConfig, dict]:
  """What is trained, and from where: the architecture and the source.

  Args:
    config: `init`, `model` and `seed` are used.
    tokenizer: of the rows, or of the agent.
    trained: `train/NAME`; once begun, it knows both itself, and its source may
      be gone.

  Raises:
    UserError: the source is not there, not supported, or has another
      vocabulary, or a setting is out of range.
  """
  init, model = config.init, ConfigDict(config.model.to_dict())
  begun = (pathlib.Path(trained) / FOLDER / architecture.FILE).exists()
  if begun:
    saved, source = origin.read_source(trained)
    source = origin.located(source, (init.hf, init.checkpoint))
    if origin.is_given(source):  # it was never config.model's
      model.update(fields(saved))
    model.vocab_size = model.vocab_size or saved.vocab_size
  elif init.checkpoint:
    saved, source = _from_checkpoint(init, model.lora_rank)
    _check_vocabulary(init.checkpoint, tokenizer)
    model.update(fields(saved))
  elif init.hf:
    model.update(hf_architecture.read(init.hf))
    source = read.facts(pathlib.Path(init.hf).absolute())
    if init.round:
      source['round'] = True
  else:
    source = {'seed': config.seed}
  if not begun:
    source = origin.begun(source, trained)
  return model_config.from_config(model, tokenizer.vocab_size), source


def check_meant(config: ConfigDict, source: dict, prepared: pathlib.Path):
  """Refuses to draw from the seed what was meant to be read.

  Args:
    config: `prepare.tokenizer` says that it is meant.
    source: from `resolve`, of what is not yet begun.
    prepared: the folder of `prepare`.
  """
  if origin.is_given(source):
    return
  begun = prepared / stage.SETTINGS
  settings = files.read_json(begun) if begun.exists() else {}
  path = stage.path_of(settings.get('tokenizer'))
  if path and not config.prepare.tokenizer:
    raise UserError(
      f'{prepared} was made for parameters, with the tokenizer of {path}, and'
      ' config.init names none: give it here as it was given there (or, to'
      f' begin from the seed, --config.prepare.tokenizer={path})'
    )
  if config.model.lora_rank:
    print(
      'warning: config.init names no parameters: adapters will stand beside'
      ' such as were drawn from the seed, and never trained',
      file=sys.stderr,
    )


def _check_vocabulary(folder, tokenizer):
  theirs = architecture.tokenizer(pathlib.Path(folder) / FOLDER)
  if theirs and theirs.split('-')[0] != tokenizer.hash.split('-')[0]:
    raise UserError(
      f'{folder} was trained with the vocabulary of tokenizer {theirs}, but'
      f' that of prepare is {tokenizer.hash}; set config.prepare.tokenizer'
    )


def _from_checkpoint(init, rank):
  folder = init.checkpoint
  if init.hf and not origin.has_adapters(folder):
    raise UserError(
      'config.init has both hf and checkpoint, which has no adapters: leave one'
      ' empty'
    )
  saved, source = origin.read_source(folder)
  source = origin.located(source, (init.hf,))
  if not saved.lora_rank:
    return saved, origin.started(source, 'checkpoint', folder)
  if saved.lora_rank != rank:
    raise UserError(
      f'{folder} has adapters of rank {saved.lora_rank}: go on with'
      f' config.model.lora_rank={saved.lora_rank}, or merge them first by'
      ' python -m early_experience.convert to_hf'
    )
  return saved, origin.started(source, 'adapters', folder)


def params(source: dict, cfg: ModelConfig, mesh: Mesh, seed: int) -> dict:
  """All of the parameter table, before training.

  Args:
    source: from `resolve`.
    cfg: the architecture.
    mesh: from `make_mesh`.
    seed: of what the source lacks: adapters, or everything.

  Raises:
    UserError: the source is damaged, or of another architecture.
  """
  if 'adapters' in source and cfg.lora_rank:
    found = policy(origin.present(source, 'adapters'), cfg, mesh, source)
  elif 'checkpoint' in source:
    found = policy(origin.present(source, 'checkpoint'), cfg, mesh)
  elif 'path' in source:
    folder = origin.present(source, 'path')
    found = read.read_params(folder, cfg, mesh, source.get('round', False))
  else:
    found = {}
  there = table.flat(found)
  missing = lambda path: path not in there
  if not any(map(missing, table.table(cfg))):
    return found
  fresh = table.make_params(jax.random.key(seed), cfg, mesh, missing)
  return table.merge(found, fresh)


def policy(
  folder, cfg: ModelConfig, mesh: Mesh, source: dict | None = None
) -> dict:
  """The parameters of a training, with those its adapters stand beside.

  Args:
    folder: `train/NAME`, or what `convert from_hf` wrote.
    cfg: the architecture; where it has adapters and the training had none,
      they are absent.
    mesh: from `make_mesh`.
    source: where what its adapters stand beside is now; None: where it was.

  Raises:
    UserError: there is no whole checkpoint, it is of another architecture, or
      what it stands beside is gone.
  """
  folder = pathlib.Path(folder)
  saved, recorded = origin.read_source(folder)
  plain = dataclasses.replace(cfg, lora_rank=0)
  if not saved.lora_rank:
    return restore.load_params(folder / FOLDER, plain, mesh)
  beside = recorded if source is None else source
  base = params(beside, plain, mesh, beside.get('seed', 0))
  return restore.load_params(folder / FOLDER, cfg, mesh, base)


def fields(saved: ModelConfig) -> dict:
  """Of an architecture, what a training that goes on from it may not choose."""
  every = dataclasses.asdict(saved)
  return {key: value for key, value in every.items() if key not in ADDED}
