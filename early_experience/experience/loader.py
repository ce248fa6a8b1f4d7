"""Rows to batches: shuffled, mixed and sharded by process with grain."""

import dataclasses
import pathlib
from collections.abc import Iterator

import grain
import numpy as np

from early_experience.errors import UserError
from early_experience.experience import rows as rows_lib

# As good as endless; grain's own endless repeat overflows with batches of 1.
EPOCHS = 1 << 32


@dataclasses.dataclass(frozen=True)
class Rows:
  """A prepared row set.

  Attributes:
    name: its key in `config.prepare.rows`.
    manifest: what `prepare` recorded about it.
    source: random access to the encoded rows.
  """

  name: str
  manifest: dict
  source: grain.sources.ArrayRecordDataSource

  def __len__(self):
    return self.manifest['rows']


def open_rows(workdir, name: str) -> Rows:
  """Opens a row set of a workdir.

  Raises:
    UserError: it does not exist, or is damaged.
  """
  folder = pathlib.Path(workdir) / 'prepare' / 'rows'
  if not (folder / name).exists():
    there = sorted(p.name for p in folder.glob('[!.]*')) or ['none']
    raise UserError(
      f'no rows {name!r} in {folder} (there: {", ".join(there)});'
      ' run: python -m early_experience.prepare'
    )
  manifest = rows_lib.read_manifest(folder / name)
  paths = [str(folder / name / shard['name']) for shard in manifest['shards']]
  if not paths:
    raise UserError(f'{folder / name} holds no rows')
  return Rows(name, manifest, grain.sources.ArrayRecordDataSource(paths))


def batches(
  rows: dict[str, Rows],
  shares: dict[str, float],
  *,
  seed: int,
  batch_rows: int,
  start_step: int = 0,
  process_index: int = 0,
  process_count: int = 1,
) -> Iterator[rows_lib.Row]:
  """Endless batches; the one at step s is a pure function of (seed, s).

  Every process iterates by itself and gets its part of the same global batch,
  whatever the number of processes.

  Args:
    rows: row sets by name.
    shares: of the batch rows drawn from each set, by name.
    seed: of the shuffles, which differ from epoch to epoch.
    batch_rows: over all processes.
    start_step: of the first batch.
    process_index, process_count: which part, of how many.

  Yields:
    int32 [B, T] `tokens`, `depth`, `back`, `span`, float32 [B, T, O]
    `weights`, with B = batch_rows / process_count.

  Raises:
    UserError: the batch does not divide by the processes.
  """
  if batch_rows % process_count:
    raise UserError(
      f'config.train.batch_rows={batch_rows} does not divide by'
      f' {process_count} processes'
    )
  names = sorted(name for name, share in shares.items() if share > 0)
  sets = [
    grain.MapDataset.source(rows[name].source)
    .seed(seed + i)
    .shuffle()
    .repeat(EPOCHS)
    for i, name in enumerate(names)
  ]
  mixed = sets[0]
  if len(sets) > 1:
    mixed = grain.MapDataset.mix(sets, weights=[shares[n] for n in names])
  local = mixed[process_index::process_count].map(rows_lib.decode)
  local = local.batch(batch_rows // process_count, batch_fn=_stack)
  # A few batches ahead suffice: reading is much faster than training.
  options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=16)
  return iter(local[start_step:].to_iter_dataset(options))


def _stack(rows):
  return {field: np.stack([row[field] for row in rows]) for field in rows[0]}
