"""The safetensors format: a header of JSON, then the tensors' bytes.

Read and written here and not by the package of that name, which maps whole
files (so their pages count as this process's memory, and a slice of columns
touches whole rows) and writes a file from all its tensors at once. The format
is at https://github.com/huggingface/safetensors#format.
"""

import dataclasses
import json
import math
import os
import pathlib
import struct
from collections.abc import Iterable

import ml_dtypes
import numpy as np

from early_experience.runtime.errors import UserError

# By the format's names: what parameters may be stored as.
DTYPES = {
  'F64': np.dtype(np.float64),
  'F32': np.dtype(np.float32),
  'F16': np.dtype(np.float16),
  'BF16': np.dtype(ml_dtypes.bfloat16),
}
NAMES = {dtype.name: name for name, dtype in DTYPES.items()}
_MAX_HEADER = 100_000_000  # bytes, as the package has it


@dataclasses.dataclass(frozen=True)
class Stored:
  """Where a tensor lies.

  Attributes:
    name: of the tensor.
    file: its path.
    dtype: the format's name, perhaps not one of DTYPES.
    shape: of the whole tensor.
    start, end: its first byte in the file, and the first behind it.
  """

  name: str
  file: pathlib.Path
  dtype: str
  shape: tuple[int, ...]
  start: int
  end: int


def read_header(path: str | os.PathLike) -> list[Stored]:
  """All tensors of a file.

  Raises:
    UserError: it is missing, cut short, or not of the format.
  """
  path = pathlib.Path(path)
  try:
    with open(path, 'rb') as file:
      size = os.fstat(file.fileno()).st_size
      length = file.read(8)
      (length,) = struct.unpack('<Q', length) if len(length) == 8 else (size,)
      if length > min(_MAX_HEADER, size - 8):
        raise UserError(f'{path} is truncated, or is not a safetensors file')
      header = json.loads(file.read(length), object_pairs_hook=_once)
    header.pop('__metadata__', None)
    tensors = [
      _stored(path, name, entry, 8 + length, size)
      for name, entry in header.items()
    ]
  except OSError as error:
    raise UserError(f'cannot read {path}: {error.strerror}') from None
  except RecursionError:
    raise UserError(f'{path} has a damaged header: too many levels') from None
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise UserError(f'{path} has a damaged header: {error}') from None
  return tensors


def _once(pairs):
  names = [name for name, _ in pairs]
  for name in set(names):
    if names.count(name) > 1:
      raise ValueError(f'{name} is there twice')
  return dict(pairs)


def _stored(path, name, entry, data, size):
  first, last = entry['data_offsets']
  shape = tuple(entry['shape'])
  if not (0 <= first <= last and all(n >= 0 for n in shape)):
    raise ValueError(f'{name} lies at {first} to {last}')
  if data + last > size:
    raise UserError(f'{path} is truncated: tensor {name} ends beyond it')
  dtype = DTYPES.get(entry['dtype'])
  if dtype and math.prod(shape) * dtype.itemsize != last - first:
    raise ValueError(f'{name} has {last - first} bytes for shape {shape}')
  return Stored(name, path, entry['dtype'], shape, data + first, data + last)


def read(stored: Stored, index: tuple[slice, ...]) -> np.ndarray:
  """A part of a tensor; no byte beside it is read.

  Args:
    stored: from `read_header`; its dtype is one of DTYPES.
    index: slices of one or two axes, steps 1.

  Raises:
    UserError: the file has become shorter, or cannot be read.
  """
  bounds = [s.indices(n) for s, n in zip(index, stored.shape, strict=True)]
  dtype = DTYPES[stored.dtype]
  part = np.empty([stop - start for start, stop, _ in bounds], dtype)
  row = math.prod(stored.shape[1:])
  column = bounds[1][0] if len(bounds) > 1 else 0
  begin = stored.start + dtype.itemsize * (bounds[0][0] * row + column)
  whole_rows = part[:1].size == row
  pieces = part.reshape(1, -1) if whole_rows else part
  try:
    with open(stored.file, 'rb', buffering=0) as file:
      for number, piece in enumerate(pieces):
        file.seek(begin + number * row * dtype.itemsize)
        _fill(file, memoryview(piece.view(np.uint8)), stored)
  except OSError as error:
    raise UserError(f'cannot read {stored.file}: {error.strerror}') from None
  return part


def sample(stored: Stored, count: int) -> bytes:
  """The last bytes of a tensor, at most so many.

  Raises:
    UserError: the file cannot be read.
  """
  try:
    with open(stored.file, 'rb') as file:
      file.seek(max(stored.start, stored.end - count))
      return file.read(min(count, stored.end - stored.start))
  except OSError as error:
    raise UserError(f'cannot read {stored.file}: {error.strerror}') from None


def _fill(file, buffer, stored):
  while buffer:
    count = file.readinto(buffer)
    if not count:
      raise UserError(f'{stored.file} is truncated: tensor {stored.name}')
    buffer = buffer[count:]


def write(
  path: str | os.PathLike,
  shapes: dict[str, tuple[int, ...]],
  dtype: str,
  arrays: Iterable[np.ndarray],
) -> None:
  """Writes a file tensor by tensor, so that one at a time is in memory.

  Args:
    path: of the file.
    shapes: of the tensors by name.
    dtype: NumPy's name of their dtype.
    arrays: the tensors in that order, of those shapes and that dtype.

  Raises:
    UserError: the file cannot be written; none is left.
  """
  item, end, header = np.dtype(dtype).itemsize, 0, {}
  for name, shape in shapes.items():
    start, end = end, end + math.prod(shape) * item
    header[name] = {
      'dtype': NAMES[dtype],
      'shape': list(shape),
      'data_offsets': [start, end],
    }
  # Loaders ask which framework's layout it is: `pt` is [out, in].
  text = json.dumps({'__metadata__': {'format': 'pt'}, **header}).encode()
  text += b' ' * (-len(text) % 8)  # the data begins aligned
  try:
    with open(path, 'wb') as file:
      file.write(struct.pack('<Q', len(text)) + text)
      for array in arrays:
        file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
      file.flush()
      os.fsync(file.fileno())
  except OSError as error:
    pathlib.Path(path).unlink(missing_ok=True)
    raise UserError(f'cannot write {path}: {error.strerror}') from error
