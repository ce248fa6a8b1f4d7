"""Tokenizers that a folder holds: whether one does, and which kind it is."""

import os
import pathlib

from early_experience.runtime.errors import UserError, need_extra
from early_experience.tokenizers.interface import FOLDER, JSON, MODEL, Tokenizer


def load(path: str | os.PathLike, **settings) -> Tokenizer:
  """Reads a tokenizer.

  Args:
    path: a sentencepiece `.model` with our control symbols; a folder with a
      `tokenizer.json` and its chat template; or a folder that `save` wrote.
    **settings: `answer_format` and `template_kwargs` of `ChatTokenizer`, for a
      `tokenizer.json` alone; what is left out is as it was saved.

  Raises:
    UserError: there is none, or it is damaged; the message names the file.
  """
  path = pathlib.Path(path)
  if path.is_dir():
    if (path / JSON).exists():
      try:
        from early_experience.tokenizers.chat_tokenizer import ChatTokenizer
      except ImportError as error:
        raise need_extra(error.name, 'hf') from None
      return ChatTokenizer.load(path, **settings)
    if (path / FOLDER).is_dir():
      return load(path / FOLDER, **settings)
    if not (path / MODEL).exists():
      raise UserError(f'{path} holds neither {JSON} nor {MODEL}')
    path = path / MODEL
  from early_experience.tokenizers.sentencepiece_tokenizer import (
    SentencePieceTokenizer,
  )

  return SentencePieceTokenizer.load(path)


def exists(folder: str | os.PathLike) -> bool:
  """Whether `save` has written a tokenizer into a folder."""
  folder = pathlib.Path(folder)
  return (folder / MODEL).exists() or (folder / FOLDER).is_dir()


def beside(folder: str | os.PathLike) -> pathlib.Path | None:
  """The tokenizer's folder of a policy; None where there is none.

  Args:
    folder: `train/NAME` of a workdir, or what `convert from_hf` wrote.
  """
  folder = pathlib.Path(folder).absolute()
  prepared = folder.parent.parent / 'prepare'
  if (folder / FOLDER).is_dir():
    return folder / FOLDER
  return prepared if exists(prepared) else None
