"""Where a model's parameters come from: a seed, a checkpoint, Hugging Face.

Adapters are saved without the parameters that they stand beside. So a training
records its source, and a policy is put together from both again.
"""

import dataclasses
import pathlib

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from early_experience.hf import architecture as hf_architecture
from early_experience.hf import read
from early_experience.model import config as model_config
from early_experience.model import table
from early_experience.model.config import ADDED, ModelConfig
from early_experience.runtime.errors import UserError
from early_experience.tokenizers.interface import Tokenizer
from early_experience.training import architecture, checkpoint

FOLDER = 'checkpoints'


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
  if init.hf and init.checkpoint:
    raise UserError('config.init has both hf and checkpoint: leave one empty')
  begun = (pathlib.Path(trained) / FOLDER / architecture.FILE).exists()
  if begun:
    saved, source = _saved(trained)
    if init.hf or init.checkpoint:
      model.update(_fields(saved))
  elif init.checkpoint:
    saved, source = _from_checkpoint(init.checkpoint, model.lora_rank)
    _check_vocabulary(init.checkpoint, tokenizer)
    model.update(_fields(saved))
  elif init.hf:
    model.update(hf_architecture.read(init.hf))
    source = read.facts(pathlib.Path(init.hf).absolute())
  else:
    source = {'seed': config.seed}
  return model_config.from_config(model, tokenizer.vocab_size), source


def _check_vocabulary(folder, tokenizer):
  theirs = architecture.tokenizer(pathlib.Path(folder) / FOLDER)
  if theirs and theirs.split('-')[0] != tokenizer.hash.split('-')[0]:
    raise UserError(
      f'{folder} was trained with the vocabulary of tokenizer {theirs}, but'
      f' that of prepare is {tokenizer.hash}; set config.prepare.tokenizer'
    )


def _from_checkpoint(folder, rank):
  saved, source = _saved(folder)
  if not saved.lora_rank:
    return saved, source | {'checkpoint': str(pathlib.Path(folder).absolute())}
  if saved.lora_rank != rank:
    raise UserError(
      f'{folder} has adapters of rank {saved.lora_rank}: go on with'
      f' config.model.lora_rank={saved.lora_rank}, or merge them first by'
      ' python -m early_experience.convert to_hf'
    )
  return saved, source | {'adapters': str(pathlib.Path(folder).absolute())}


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
    found = policy(source['adapters'], cfg, mesh)
  elif 'checkpoint' in source:
    found = policy(source['checkpoint'], cfg, mesh)
  elif 'path' in source:
    found = read.read_params(source['path'], cfg, mesh)
  else:
    found = {}
  there = table.flat(found)
  missing = lambda path: path not in there
  if not any(map(missing, table.table(cfg))):
    return found
  fresh = table.make_params(jax.random.key(seed), cfg, mesh, missing)
  return table.merge(found, fresh)


def policy(folder, cfg: ModelConfig, mesh: Mesh) -> dict:
  """The parameters of a training, with those its adapters stand beside.

  Args:
    folder: `train/NAME`, or what `convert from_hf` wrote.
    cfg: the architecture; where it has adapters and the training had none,
      they are absent.
    mesh: from `make_mesh`.

  Raises:
    UserError: there is no whole checkpoint, it is of another architecture, or
      what it stands beside is gone.
  """
  folder = pathlib.Path(folder)
  saved, beside = _saved(folder)
  plain = dataclasses.replace(cfg, lora_rank=0)
  if not saved.lora_rank:
    return checkpoint.load_params(folder / FOLDER, plain, mesh)
  base = params(beside, plain, mesh, beside.get('seed', 0))
  return checkpoint.load_params(folder / FOLDER, cfg, mesh, base)


def _saved(folder):
  return architecture.read(pathlib.Path(folder) / FOLDER)


def _fields(saved):
  """What a new training may not choose."""
  fields = dataclasses.asdict(saved)
  return {key: value for key, value in fields.items() if key not in ADDED}
