"""The tokenizer of rows: given, or learnt from what they are made of."""

import contextlib
import pathlib

from ml_collections import ConfigDict

from early_experience.hf import architecture as hf_architecture
from early_experience.preparation.interface import Source
from early_experience.runtime import stage
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import (
  interface,
  saved,
  sentencepiece_tokenizer,
  tokenizer_files,
)
from early_experience.tokenizers.interface import Tokenizer
from early_experience.training import architecture


def tokenizer(source: Source, config: ConfigDict) -> Tokenizer:
  """The tokenizer of the settings, else one that is learnt from the source."""
  settings = config.prepare
  if given := _given(source, config):
    return _load(given, settings)
  model = sentencepiece_tokenizer.train(source.texts(), settings.vocab_size)
  return sentencepiece_tokenizer.SentencePieceTokenizer(model)


def _load(folder, settings):
  kwargs = settings.template_kwargs.to_dict()
  if settings.date:
    kwargs[tokenizer_files.CLOCK] = settings.date
  return saved.load(
    folder, answer_format=settings.answer_format, template_kwargs=kwargs
  )


def check(coder: Tokenizer, init: ConfigDict) -> None:
  """Before rows are made that no training of these parameters can read."""
  if init.checkpoint:
    cfg, _ = architecture.read(pathlib.Path(init.checkpoint) / 'checkpoints')
    interface.check_vocab(coder, cfg.vocab_size, init.checkpoint)
  elif init.hf and pathlib.Path(init.hf, hf_architecture.CONFIG).exists():
    rows = hf_architecture.read(init.hf)['vocab_size']
    interface.check_vocab(coder, rows, init.hf)


def _given(source, config):
  """The tokenizer of the settings, or of where the parameters come from."""
  if given := config.prepare.tokenizer:
    if not pathlib.Path(given).exists():
      raise UserError(
        f'config.prepare.tokenizer={given}: no such file or folder'
      )
    return given
  checkpoint = config.init.checkpoint
  if checkpoint and not pathlib.Path(checkpoint).is_dir():
    raise UserError(f'config.init.checkpoint={checkpoint}: there is no folder')
  beside = checkpoint and saved.beside(checkpoint)
  own = source.folder.parent / 'prepare'
  if beside and beside.resolve() == own.resolve():
    return ''  # a training of this very folder goes on
  return str(beside or '') or config.init.hf


def place(source: Source, config: ConfigDict) -> dict | str:
  """Known by what it makes of text; it is copied, and may be gone later."""
  given, content = _given(source, config), ''
  if given:
    with contextlib.suppress(UserError):
      content = _load(given, config.prepare).hash
  return stage.place(given, content)
