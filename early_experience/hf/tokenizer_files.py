"""The files of a tokenizer, taken from one folder to another."""

import pathlib
import shutil

GENERATION = 'generation_config.json'
FILES = (
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'chat_template.jinja',
  'tokenizer.model',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  GENERATION,
)


def copy(source, target) -> None:
  """Copies what is there of FILES.

  Args:
    source: folder; None: nothing.
    target: folder that is there.
  """
  for name in FILES if source else ():
    path = pathlib.Path(source) / name
    if path.is_file():
      shutil.copyfile(path, pathlib.Path(target) / name)
