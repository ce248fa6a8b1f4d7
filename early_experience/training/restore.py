"""Checkpoints read back: the newest that is whole, to the bit.

It is looked for in the folder itself: orbax's own list of checkpoints needs
files that no parameter depends on.
"""

import contextlib
import gc
import logging
import pathlib
import sys
from collections.abc import Iterator

import jax
from jax.sharding import Mesh
from orbax.checkpoint import v1 as ocp

from early_experience.model import table
from early_experience.model.config import ModelConfig
from early_experience.runtime import distributed
from early_experience.runtime.errors import UserError
from early_experience.training import architecture, checksum


def load_params(
  folder, cfg: ModelConfig, mesh: Mesh, frozen: dict | None = None
) -> dict:
  """The parameters of the newest whole checkpoint, laid out over any mesh.

  Args:
    folder: `train/NAME/checkpoints`.
    cfg: the architecture they are to have.
    mesh: from `make_mesh`.
    frozen: the parameters beside which adapters were trained.

  Returns:
    All of the parameter table.

  Raises:
    UserError: there is no checkpoint, none is whole, it has another
      architecture, or was trained beside other parameters.
  """
  folder = pathlib.Path(folder)
  architecture.check(folder, cfg)
  with jax.set_mesh(mesh), quiet_orbax():
    trained, _ = table.split(table.abstract_params(cfg, mesh), cfg)
    found = newest_whole(folder, {'params': trained})
  if found is None:
    raise UserError(f'{folder} holds no checkpoints')
  parts, _ = found
  check_frozen(folder, parts['about'], frozen or {})
  return table.merge(parts['params'], frozen or {})


def check_frozen(folder, about: dict, frozen: dict) -> None:
  """Makes sure that adapters stand beside what they were trained beside.

  Raises:
    UserError: they do not.
  """
  if checksum.difference(about['sums'], frozen=frozen):
    raise UserError(
      f'the adapters in {folder} were trained beside other parameters than'
      ' those given'
    )


def newest_whole(folder, like: dict) -> tuple[dict, list[int]] | None:
  """What was loaded, and the damaged checkpoints newer than it.

  Args:
    folder: `train/NAME/checkpoints`.
    like: abstract trees of `params`, and what else is to be loaded.

  Returns:
    The trees and `about` them; None where there are no checkpoints at all.

  Raises:
    UserError: none is whole.
  """
  damaged, last = [], ''
  for step in steps(folder):
    path = pathlib.Path(folder, str(step)).absolute()
    parts, error = _load(path, like)
    if distributed.all_agree(parts is not None):
      loaded = {name: parts[name] for name in like}
      error = checksum.difference(parts['about']['sums'], **loaded)
      if not error:
        return parts, damaged
    damaged.append(step)
    last = f'checkpoint {path} cannot be read: {error or "by another process"}'
    if distributed.is_first():
      print(f'warning: {last}', file=sys.stderr)
  if damaged:
    raise UserError(f'no checkpoint is left to go on from; {last}')
  return None


def steps(folder) -> list[int]:
  """Updates done at each checkpoint, the newest first."""
  names = [path.name for path in pathlib.Path(folder).glob('[0-9]*')]
  return sorted((int(name) for name in names if name.isdigit()), reverse=True)


def sums(folder) -> dict[str, int]:
  """What `checksum.of` gave of the newest checkpoint.

  Raises:
    UserError: there is none, or it is damaged.
  """
  newest, *_ = steps(folder) or ['']
  path = pathlib.Path(folder, str(newest)).absolute()
  with quiet_orbax():
    parts, error = _load(path, {})
  if error:
    raise UserError(f'checkpoint {path} cannot be read: {error}')
  return parts['about']['sums']


def _load(path, like):
  """(what is there, ''), or (None, why it cannot be read)."""
  # Each process reads its part by itself: if one alone meets the damage, the
  # others shall not wait for it.
  here = jax.process_index()
  alone = ocp.options.MultiprocessingOptions(
    primary_host=here,
    active_processes={here},
    barrier_sync_key_prefix=f'process_{here}',
  )
  try:
    with ocp.Context(multiprocessing_options=alone):
      parts = ocp.load_checkpointables(path, {**like, 'about': None})
    missing = {'params', 'frozen', *like} - parts['about']['sums'].keys()
    if missing or not parts['about']['position']:
      raise ValueError('about has not all that is saved')
  except Exception as error:  # orbax and tensorstore raise many kinds
    return None, reason(error)
  return parts, ''


def reason(error: Exception) -> str:
  """The end of an error's first line: paths come first, the cause last."""
  line = (str(error).strip() or type(error).__name__).splitlines()[0]
  return line if len(line) <= 200 else f'... {line[-200:]}'


@contextlib.contextmanager
def quiet_orbax() -> Iterator[None]:
  """Drops what orbax logs: its doings, and errors that it raises as well."""
  loggers = [logging.getLogger(name) for name in ('absl', 'asyncio')]

  def keep(record):
    said = record.pathname + record.getMessage()
    return 'orbax' not in said and 'exception was never retrieved' not in said

  for logger in loggers:
    logger.addFilter(keep)
  try:
    yield
  finally:
    gc.collect()  # what it left undone complains when it goes
    for logger in loggers:
      logger.removeFilter(keep)
