"""Where the parameters come from, known by what is there and not by its path.

A training records the folder that it starts from. Folders are moved and copied:
alone, or with the training in one tree. What is found elsewhere is taken where
it holds the same parameters.
"""

import os
import pathlib
from collections.abc import Sequence

from ml_collections import ConfigDict

from early_experience.hf import architecture as hf_architecture
from early_experience.hf import read
from early_experience.runtime import stage
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import interface
from early_experience.training import architecture, restore

FOLDER = 'checkpoints'
# By key of a `source`, in which folders stand: a Hugging Face checkpoint; our
# own of all parameters, and of adapters.
PLACES = ('path', 'checkpoint', 'adapters')


def content(folder) -> str:
  """Names the parameters in a folder: another copy of them has this name too.

  Args:
    folder: of a Hugging Face checkpoint, `train/NAME`, or what `convert
      from_hf` wrote.

  Returns:
    The name; '' where there are none, or they cannot be read.
  """
  ours = pathlib.Path(folder) / FOLDER
  try:
    if (ours / architecture.FILE).exists():
      sums = restore.sums(ours)
      return f'{sums["params"]:08x}-{sums["frozen"]:08x}'
    if (pathlib.Path(folder) / hf_architecture.CONFIG).exists():
      return read.content(folder)
  except UserError:
    pass
  return ''


def noted(init: ConfigDict) -> dict:
  """`config.init` as the folder of a stage holds it."""
  found = init.to_dict()
  # Checkpoints know what their adapters stand beside.
  found['hf'] = '' if init.checkpoint else init.hf
  for key in ('hf', 'checkpoint'):
    found[key] = stage.place(found[key], found[key] and content(found[key]))
  return found


def begun(source: dict, trained) -> dict:
  """What a new training records: the source, and what tells it again.

  Args:
    source: with absolute paths under keys of `PLACES`.
    trained: `train/NAME` that is begun.
  """
  there = [key for key in PLACES if key in source]
  known = source.get('contents', {})
  contents = {key: known.get(key) or content(source[key]) for key in there}
  home = str(pathlib.Path(trained).absolute())
  return source | {'contents': contents, 'home': home}


def started(source: dict, key: str, folder) -> dict:
  """The source of a training that starts from another one.

  Args:
    source: of that one.
    key: of `PLACES`, under which the new one has it.
    folder: of it.
  """
  known = {k: v for k, v in source.get('contents', {}).items() if k != key}
  here = str(pathlib.Path(folder).absolute())
  return source | {key: here, 'contents': known}


def read_source(folder) -> tuple[object, dict]:
  """The architecture of `train/NAME`, and its source with paths as of now.

  Raises:
    UserError: there are no checkpoints.
  """
  folder = pathlib.Path(folder).absolute()
  cfg, source = architecture.read(folder / FOLDER)
  for key in PLACES:
    if 'home' in source and key in source and not os.path.exists(source[key]):
      # The tree that both are in may have been moved.
      way = os.path.relpath(source[key], source['home'])
      moved = os.path.normpath(folder / way)
      if os.path.exists(moved):
        source[key] = moved
  return cfg, source | {'home': str(folder)}


def located(source: dict, given: Sequence[str]) -> dict:
  """A source with the paths that a user gives for those that are gone.

  Args:
    source: from `read_source`.
    given: folders; '' is none.

  Raises:
    UserError: what is given holds other parameters.
  """
  for key in PLACES:
    if key not in source or os.path.exists(source[key]):
      continue
    known = source.get('contents', {}).get(key)
    others = [path for path in given if path and _may_be(key, path)]
    # What older versions began has no names. Adapters know their base.
    same = [p for p in others if not known or content(p) == known]
    if others and not same:
      if not os.path.exists(others[0]):
        raise UserError(
          f'{others[0]} does not exist, and {source[key]} is gone'
        )
      if not content(others[0]):
        raise UserError(
          f'{others[0]} has no parameters to read, and {source[key]} is gone'
        )
      raise UserError(
        f'{others[0]} holds other parameters than {source[key]} did, which is'
        ' gone'
      )
    if same:
      source = source | {key: str(pathlib.Path(same[0]).absolute())}
  return source


def is_given(source: dict) -> bool:
  """Whether parameters are read from somewhere, and not all from the seed."""
  return any(key in source for key in PLACES)


def base(source: dict) -> dict:
  """`read.facts` of what adapters stand beside; {} where a training made it."""
  folder = source.get('checkpoint')
  copied = folder and (pathlib.Path(folder) / interface.FOLDER).is_dir()
  return source if copied or not folder else {}


def present(source: dict, key: str) -> str:
  """The folder of a source.

  Raises:
    UserError: it is gone.
  """
  if not os.path.exists(source[key]):
    flag = '--config.init.hf' if key == 'path' else '--config.init.checkpoint'
    raise UserError(
      f'{source[key]} is not there, from where the parameters come: name the'
      f' folder where it is now by {flag} (of convert: --base)'
    )
  return source[key]


def has_adapters(folder) -> bool:
  """Whether `train/NAME` is there and trains adapters."""
  ours = pathlib.Path(folder) / FOLDER
  there = (ours / architecture.FILE).exists()
  return there and architecture.read(ours)[0].lora_rank > 0


def _may_be(key, path):
  if not (pathlib.Path(path) / FOLDER).exists():
    return key == 'path'
  return key == ('adapters' if has_adapters(path) else 'checkpoint')
