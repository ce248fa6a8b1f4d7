"""The agent of a workdir: its parameters, with the tokenizer they belong to."""

import pathlib

import jax
from ml_collections import ConfigDict

from early_experience.evaluation.agent import Agent, Decoding
from early_experience.evaluation.rollouts import FOLDERS
from early_experience.model import sharding
from early_experience.runtime import stage
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import saved
from early_experience.training import architecture, initial


def load_agent(
  config: ConfigDict,
  workdir: str,
  policy: str,
  name: str,
  decoding: Decoding,
  slots: int,
) -> Agent:
  """The agent of a workdir.

  Args:
    config: `model` and `mesh` are used, and `seed` where nothing is trained.
    workdir: `prepare` must be done, and training for a trained policy.
    policy: one of `FOLDERS`, or `untrained`.
    name: whose training, `train/NAME` or `rl/NAME`.
    decoding: how it acts.
    slots: episodes side by side.

  Raises:
    UserError: a stage is missing, or the checkpoint has another architecture or
      another tokenizer.
  """
  path = stage.require(workdir, 'prepare')
  tokenizer = saved.load(path)
  folder = pathlib.Path(workdir, 'train', name)
  if policy in FOLDERS:
    folder = stage.require(workdir, f'{FOLDERS[policy]}/{name}')
    _check_tokenizer(folder, tokenizer, path)
  cfg, source = initial.resolve(config, tokenizer, folder)
  mesh = sharding.make_mesh(config.mesh)
  with jax.set_mesh(mesh):
    if policy in FOLDERS:
      params = initial.policy(folder, cfg, mesh, source)
    else:
      initial.check_meant(config, source, path)
      params = initial.params(source, cfg, mesh, config.seed)
  return Agent(params, cfg, tokenizer, mesh, decoding, slots)


def _check_tokenizer(folder, tokenizer, prepared):
  trained = architecture.tokenizer(folder / initial.FOLDER)
  if trained != tokenizer.hash:
    raise UserError(
      f'{folder} was trained with tokenizer {trained}, but that of'
      f' {prepared} is {tokenizer.hash}'
    )
