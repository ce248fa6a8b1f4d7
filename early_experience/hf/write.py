"""The parameter table as a checkpoint that transformers loads."""

import itertools
import math
import os
import pathlib
import shutil
from collections.abc import Iterator

import jax
import numpy as np

from early_experience.hf import architecture, names, tensor_file
from early_experience.hf.read import INDEX, SINGLE
from early_experience.model import table
from early_experience.model.config import ModelConfig
from early_experience.model.precision import wide
from early_experience.runtime import files
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import tokenizer_files


def write_params(
  params: dict,
  cfg: ModelConfig,
  folder,
  dtype: str,
  known: dict,
  tokenizer=None,
  file_bytes: int = 5_000_000_000,
) -> None:
  """Writes a checkpoint; adapters are merged into what they adapt.

  One tensor at a time is copied from the devices.

  Args:
    params: as `table(cfg)` says; every device of the mesh is this process's.
    cfg: their architecture.
    folder: to be made; complete or absent.
    dtype: of the stored tensors.
    known: `facts` of the checkpoint it comes from, or {}.
    tokenizer: folder whose files are taken along, or None.
    file_bytes: a file ends before it has more.

  Raises:
    UserError: the folder is there already, transformers has no such model, a
      value is too large for float16, or the disk is full.
  """
  content = architecture.write(cfg, known, dtype)
  with files.new_folder(folder) as made:
    _write_tensors(params, cfg, made, dtype, known, file_bytes)
    files.write_json(made / architecture.CONFIG, content)
    if tokenizer:
      tokenizer_files.export(tokenizer, made)
    if not (made / tokenizer_files.GENERATION).exists():
      ids = {key: value for key, value in content.items() if '_token_id' in key}
      # Else transformers' server is greedy at any temperature.
      how = ids | {'do_sample': True}
      files.write_json(made / tokenizer_files.GENERATION, how)


def replace_params(
  params: dict,
  cfg: ModelConfig,
  folder,
  known: dict,
  file_bytes: int = 5_000_000_000,
) -> None:
  """Puts parameters in the place of those of an export, for who reads it again.

  Args:
    params: as for `write_params`.
    cfg: their architecture, which is that of the export.
    folder: of the export; its other files stay. Each file is whole at any time.
    known: `facts` of it.
    file_bytes: as it was written with.

  Raises:
    UserError: a value is too large for float16, or the disk is full.
  """
  folder = pathlib.Path(folder)
  made = folder / '.next'
  try:
    shutil.rmtree(made, ignore_errors=True)  # of one that was killed
    made.mkdir()
    _write_tensors(params, cfg, made, known['dtype'], known, file_bytes)
    new = sorted(os.listdir(made))
    for name in new:
      os.replace(made / name, folder / name)
    for path in (*folder.glob('*.safetensors'), folder / INDEX):
      if path.name not in new:
        path.unlink(missing_ok=True)
  except OSError as error:
    raise UserError(f'cannot write {folder}: {error.strerror}') from error
  finally:
    shutil.rmtree(made, ignore_errors=True)


def _write_tensors(params, cfg, folder, dtype, known, file_bytes):
  flat = table.flat(params)
  # A tied head is stored again where it was: an export equals the import.
  tensors = names.tensors(cfg, head=bool(known.get('head')))
  values = (
    _cast(stored(flat, tensor, cfg), dtype, tensor) for tensor in tensors
  )
  write_files(tensors, values, folder, dtype, file_bytes)


def write_files(
  tensors: list[names.Tensor],
  values: Iterator[np.ndarray],
  folder: pathlib.Path,
  dtype: str,
  file_bytes: int,
) -> None:
  """Writes tensors into as many files as it takes, and their index.

  Args:
    tensors: in order.
    values: theirs, of that dtype.
    folder: that is there.
    dtype: NumPy's name of it.
    file_bytes: a file ends before it has more.
  """
  item = np.dtype(dtype).itemsize
  parts, places = _split(tensors, item, file_bytes), {}
  for number, part in enumerate(parts, start=1):
    name = SINGLE
    if len(parts) > 1:
      name = f'model-{number:05d}-of-{len(parts):05d}.safetensors'
    places |= {tensor.name: name for tensor in part}
    shapes = {tensor.name: tensor.shape for tensor in part}
    some = itertools.islice(values, len(part))
    tensor_file.write(folder / name, shapes, dtype, some)
  if len(parts) > 1:
    metadata = {'total_size': _size(tensors, item)}
    index = {'metadata': metadata, 'weight_map': places}
    files.write_json(folder / INDEX, index)


def write_adapters(
  params: dict, cfg: ModelConfig, folder, known: dict, tokenizer=None
) -> None:
  """Writes the adapters alone, in PEFT's format.

  Args:
    params: as `table(cfg)` says.
    cfg: their architecture.
    folder: to be made; complete or absent.
    known: `facts` of the checkpoint that they adapt, or {}. Its `path` is for
      `peft` to find it.
    tokenizer: folder whose files are taken along, or None.

  Raises:
    UserError: there are no adapters, the folder is there already, or the disk
      is full.
  """
  if not cfg.lora_rank:
    raise UserError('there are no adapters: config.model.lora_rank is 0')
  flat = table.flat(params)
  targets = [names.module(name).split('.')[-1] for name in cfg.lora_targets]
  top = 'model.'
  if known.get('multimodal'):  # what sees images has modules of these names too
    top = 'model.language_model.'
    targets = rf'.*\.language_model\..*\.({"|".join(targets)})'
  found = {}  # name: (shape, how to make it)
  for tensor in names.tensors(cfg):
    if f'{tensor.path}_lora_a' in flat:
      name = tensor.name.removesuffix('.weight').removeprefix('model.')
      module = f'base_model.model.{top}{name}'
      rank, (rows, columns) = cfg.lora_rank, tensor.shape
      found[f'{module}.lora_A.weight'] = (rank, columns), tensor, 'a'
      found[f'{module}.lora_B.weight'] = (rows, rank), tensor, 'b'
  content = {
    'peft_type': 'LORA',
    'task_type': 'CAUSAL_LM',
    'base_model_name_or_path': known.get('path'),
    'r': cfg.lora_rank,
    'lora_alpha': cfg.lora_alpha,
    'target_modules': targets,
    'lora_dropout': 0.0,
    'bias': 'none',
    'fan_in_fan_out': False,
    'use_rslora': False,
    'inference_mode': True,
  }
  with files.new_folder(folder) as made:
    tensor_file.write(
      made / 'adapter_model.safetensors',
      {name: shape for name, (shape, _, _) in found.items()},
      'float32',
      (
        _factor(flat, tensor, side).astype(np.float32).T.reshape(shape)
        for shape, tensor, side in found.values()
      ),
    )
    files.write_json(made / 'adapter_config.json', content)
    if tokenizer:
      tokenizer_files.export(tokenizer, made)


def stored(
  flat: dict[str, jax.Array], tensor: names.Tensor, cfg: ModelConfig
) -> np.ndarray:
  """A tensor as it is stored, with what adapters add to it, in a wide dtype."""
  value = tensor.to_stored(_on_host(flat[tensor.path], tensor.layer))
  if f'{tensor.path}_lora_a' not in flat:
    return value
  a, b = (_factor(flat, tensor, side) for side in 'ab')
  added = a.dtype.type(cfg.lora_alpha / cfg.lora_rank) * (a @ b).T
  return value.astype(a.dtype) + added


def _cast(value, dtype, tensor):
  with np.errstate(over='ignore'):
    made = value.astype(dtype, copy=False)
  if dtype == 'float16' and not np.isfinite(made).all():
    raise UserError(
      f'{tensor.name} has values that float16 does not hold; bfloat16 does'
    )
  return made


def _factor(flat, tensor, side):
  """[in, R] or [R, out]."""
  value = _on_host(flat[f'{tensor.path}_lora_{side}'], tensor.layer)
  value = value.astype(wide(value.dtype))
  rank = value.shape[-1] if side == 'a' else value.shape[0]
  return value.reshape((-1, rank) if side == 'a' else (rank, -1))


def _on_host(value, layer):
  """The parameter, or one layer of it."""
  return np.asarray(value if layer is None else _layer(value, layer))


@jax.jit
def _layer(stack, layer):
  return jax.lax.dynamic_index_in_dim(stack, layer, 0, keepdims=False)


def _split(tensors, item, limit):
  """Tensors by file, in order."""
  parts = [[]]
  for tensor in tensors:
    if parts[-1] and _size([*parts[-1], tensor], item) > limit:
      parts.append([])
    parts[-1].append(tensor)
  return parts


def _size(tensors, item):
  return sum(math.prod(tensor.shape) * item for tensor in tensors)
