"""Rows: trees packed to a fixed length, in ArrayRecord shards with a manifest.

Rows are made once, offline. So the order of training data is a pure function
of seed and step, whatever the number of hosts, and resuming is exact.
"""

import bisect
import contextlib
import pathlib
import shutil
from collections.abc import Iterable

import numpy as np
from array_record.python import array_record_module
from flax import serialization

from early_experience.experience.render import OBJECTIVES
from early_experience.experience.tree import Tree
from early_experience.runtime import files
from early_experience.runtime.errors import UserError

SCHEMA = 1
MANIFEST = 'manifest.json'
FIELDS = ('tokens', 'depth', 'back', 'span')  # int32; and float32 `weights`

Row = dict[str, np.ndarray]


def pack(trees: Iterable[Tree], row_tokens: int) -> list[Row]:
  """Packs trees side by side into rows, best fit first.

  Args:
    trees: of at most `row_tokens` tokens each.
    row_tokens: length T of every row.

  Returns:
    Rows `tokens`, `depth`, `back`, `span` int32 [T] and `weights` float32
    [T, O] with the columns of the trees. Padding sees itself alone and is no
    target.
  """
  # Bins by room left; ties by age, so that the result is deterministic.
  bins: list[list[Tree]] = []
  rooms: list[tuple[int, int]] = []
  for tree in sorted(trees, key=len, reverse=True):
    place = bisect.bisect_left(rooms, (len(tree), -1))
    if place == len(rooms):
      room, index = row_tokens, len(bins)
      bins.append([])
    else:
      room, index = rooms.pop(place)
    bins[index].append(tree)
    bisect.insort(rooms, (room - len(tree), index))
  return [_row(content, row_tokens) for content in bins]


def _row(trees, row_tokens):
  row = {field: np.zeros(row_tokens, np.int32) for field in FIELDS}
  row['span'][:] = 1
  columns = trees[0].weights_TO.shape[1]
  row['weights'] = np.zeros((row_tokens, columns), np.float32)
  start = 0
  for tree in trees:
    place = slice(start, start + len(tree))
    row['tokens'][place] = tree.tokens_T
    row['depth'][place] = tree.depth_T
    row['back'][place] = tree.back_T
    row['span'][place] = tree.span_T
    row['weights'][place] = tree.weights_TO
    start += len(tree)
  return row


def decode(record: bytes) -> Row:
  return serialization.msgpack_restore(record)


class RowWriter:
  """Writes rows into shards of a folder that appears whole or not at all.

  Args:
    folder: to be made; its content so far is replaced.
    shard_rows: rows a shard.
  """

  def __init__(self, folder, shard_rows: int = 4096):
    self._folder = pathlib.Path(folder)
    self._partial = self._folder.with_name(f'.{self._folder.name}.partial')
    shutil.rmtree(self._partial, ignore_errors=True)
    self._partial.mkdir(parents=True)
    self._shard_rows, self._shards, self._writer = shard_rows, [], None

  def write(self, row: Row) -> None:
    """Appends a row.

    Raises:
      UserError: it cannot be written, e.g. because the disk is full.
    """
    if self._writer is None or self._shards[-1]['rows'] == self._shard_rows:
      self._close_shard()
      name = f'rows-{len(self._shards):05d}.array_record'
      self._shards.append({'name': name, 'rows': 0})
      self._writer = array_record_module.ArrayRecordWriter(
        str(self._partial / name), 'group_size:1'
      )
    self._attempt(self._writer.write, serialization.msgpack_serialize(row))
    self._shards[-1]['rows'] += 1

  def _close_shard(self):
    writer, self._writer = self._writer, None
    if writer is not None:
      self._attempt(writer.close)

  def _attempt(self, action, *args):
    try:
      action(*args)
    except RuntimeError as error:  # what ArrayRecord makes of an OSError
      name = self._shards[-1]['name']
      reason = str(error).split(';')[0]
      raise UserError(f'cannot write {self._folder / name}: {reason}') from None

  def finish(self, manifest: dict) -> dict:
    """Writes the manifest and moves the folder into place."""
    self._close_shard()
    for shard in self._shards:
      shard['bytes'] = (self._partial / shard['name']).stat().st_size
    manifest = {
      'schema': SCHEMA,
      'objectives': list(OBJECTIVES),
      'rows': sum(shard['rows'] for shard in self._shards),
      'shards': self._shards,
      **manifest,
    }
    files.write_json(self._partial / MANIFEST, manifest)
    shutil.rmtree(self._folder, ignore_errors=True)
    self._partial.rename(self._folder)
    return manifest

  def abandon(self) -> None:
    """Removes what was written so far."""
    with contextlib.suppress(UserError):
      self._close_shard()
    shutil.rmtree(self._partial, ignore_errors=True)


def read_manifest(folder) -> dict:
  """Reads and checks a row folder's manifest.

  Raises:
    UserError: it is absent, of another schema, or a shard is missing or was
      cut short; the message names the file.
  """
  folder = pathlib.Path(folder)
  manifest = files.read_json(folder / MANIFEST)
  if manifest.get('schema') != SCHEMA:
    raise UserError(
      f'{folder / MANIFEST}: schema {manifest.get("schema")!r}, this version'
      f' reads {SCHEMA}'
    )
  shards = manifest.get('shards')
  if not isinstance(shards, list) or not isinstance(manifest.get('rows'), int):
    raise UserError(f'{folder / MANIFEST} does not list rows and shards')
  for shard in shards:
    path = folder / shard['name']
    size = path.stat().st_size if path.exists() else None
    if size != shard['bytes']:
      state = 'is missing' if size is None else f'has {size} bytes'
      raise UserError(f'{path} {state}, the manifest says {shard["bytes"]}')
  return manifest
