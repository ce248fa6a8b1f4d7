"""What stands beside checkpoints: the architecture, the tokenizer, the source.

So that they can be checked before anything large is read.
"""

import dataclasses
import pathlib

from early_experience import config as config_lib
from early_experience.model import config as model_config
from early_experience.model.config import RUNTIME, ModelConfig
from early_experience.runtime import files
from early_experience.runtime.errors import UserError

FILE = 'architecture.json'


def record(folder, cfg: ModelConfig, tokenizer: str, source: dict) -> None:
  """Writes it, or compares with what was written before.

  Args:
    folder: `train/NAME/checkpoints`.
    cfg: of the model.
    tokenizer: its hash.
    source: of the parameters, from `initial.resolve`.

  Raises:
    UserError: the folder holds another architecture or tokenizer.
  """
  folder = pathlib.Path(folder)
  if (folder / FILE).exists():
    check(folder, cfg, tokenizer)
    return
  about = {'tokenizer': tokenizer, 'model': _saved(cfg), 'source': source}
  files.write_json(folder / FILE, about)


def read(folder) -> tuple[ModelConfig, dict]:
  """What the checkpoints of a folder hold.

  Returns:
    Their architecture, computed as `config.model()` has it, and the `source`
    they were saved with.

  Raises:
    UserError: there are no checkpoints.
  """
  about = _read(pathlib.Path(folder))
  settings = config_lib.model()
  settings.update(about['model'])
  cfg = model_config.from_config(settings, settings.vocab_size)
  return cfg, about['source']


def tokenizer(folder) -> str:
  """The hash of the tokenizer that checkpoints go with; '' where none does.

  Raises:
    UserError: there are no checkpoints.
  """
  return _read(pathlib.Path(folder))['tokenizer']


def check(folder, cfg: ModelConfig, tokenizer: str | None = None) -> None:
  """Makes sure that checkpoints fit the model, and the tokenizer if given.

  Raises:
    UserError: there are none, or they do not; it names what differs.
  """
  about, model = _read(pathlib.Path(folder)), _saved(cfg)
  for key in sorted(model | about['model']):
    there, here = about['model'].get(key), model.get(key)
    if there != here:
      raise UserError(
        f'{folder} has another architecture: {key} is {there!r} there and'
        f' {here!r} in config.model'
      )
  if tokenizer not in (None, about['tokenizer']):
    raise UserError(
      f'{folder} was trained with tokenizer {about["tokenizer"]}, not'
      f' {tokenizer}'
    )


def _saved(cfg):
  model = dataclasses.asdict(cfg)
  model['lora_targets'] = list(cfg.lora_targets)  # as JSON gives it back
  if not cfg.lora_rank:
    del model['lora_alpha'], model['lora_targets']
  return {key: value for key, value in model.items() if key not in RUNTIME}


def _read(folder):
  if not (folder / FILE).exists():
    raise UserError(f'{folder} holds no checkpoints')
  return files.read_json(folder / FILE)
