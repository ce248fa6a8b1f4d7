"""Rows to batches: shuffled, mixed and sharded by process with grain."""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

import grain
import numpy as np

from early_experience.experience import rows as rows_lib
from early_experience.runtime.errors import UserError

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
  try:  # an index stands at the end of each shard
    source = grain.sources.ArrayRecordDataSource(paths)
    found = len(source)
  except (RuntimeError, ValueError, OSError) as error:
    raise UserError(
      f'{folder / name}: a shard is damaged:'
      f' {" ".join(str(error).split())}; delete prepare/, and prepare again'
    ) from None
  if found != manifest['rows']:
    raise UserError(
      f'{folder / name} holds {found} rows, and its manifest says'
      f' {manifest["rows"]}; delete prepare/, and prepare again'
    )
  return Rows(name, manifest, source)


def batches(
  rows: dict[str, Rows],
  shares: dict[str, float],
  *,
  seed: int,
  batch_rows: int,
  start_step: int = 0,
  positions: Sequence[int] | None = None,
) -> Iterator[rows_lib.Row]:
  """Endless batches; the one at step s is a pure function of (seed, s).

  Every process iterates by itself and reads its rows of the same batch,
  whatever the number of processes.

  Args:
    rows: row sets by name.
    shares: of the batch rows drawn from each set, by name.
    seed: of the shuffles, which differ from epoch to epoch.
    batch_rows: of the whole batch.
    start_step: of the first batch.
    positions: which of its rows to read; None: all.

  Yields:
    int32 [B, T] `tokens`, `depth`, `back`, `span`, float32 [B, T, O]
    `weights`, with B positions.

  Raises:
    UserError: a row is damaged.
  """
  mixed = _mixed(rows, shares, seed)
  positions = range(batch_rows) if positions is None else positions

  def batch(step):
    records = [mixed[step * batch_rows + int(i)][2] for i in positions]
    return _stack([rows_lib.decode(record) for record in records])

  steps = grain.MapDataset.range(start_step, len(mixed) // batch_rows)
  # A few batches ahead suffice: reading is much faster than training.
  options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=16)
  return iter(steps.map(batch).to_iter_dataset(options))


def drawn(
  rows: dict[str, Rows],
  shares: dict[str, float],
  *,
  seed: int,
  batch_rows: int,
  step: int,
) -> list[str]:
  """The rows of the batch at a step, as `NAME[NUMBER]`; see `batches`."""
  mixed = _mixed(rows, shares, seed)
  places = range(step * batch_rows, (step + 1) * batch_rows)
  return [
    f'{name}[{number}]' for name, number, _ in map(mixed.__getitem__, places)
  ]


def _mixed(rows, shares, seed):
  """(set, number, record) of all rows, in the order in which they are drawn."""
  names = sorted(name for name, share in shares.items() if share > 0)
  sets = [
    grain.MapDataset.source(_Numbered(rows[name]))
    .seed(seed + i)
    .shuffle()
    .repeat(EPOCHS)
    for i, name in enumerate(names)
  ]
  if len(sets) == 1:
    return sets[0]
  return grain.MapDataset.mix(sets, weights=[shares[n] for n in names])


@dataclasses.dataclass(frozen=True)
class _Numbered:
  """Rows that know where they come from."""

  rows: Rows

  def __len__(self):
    return len(self.rows)

  def __getitem__(self, number):
    try:
      return self.rows.name, int(number), self.rows.source[number]
    except RuntimeError as error:  # what ArrayRecord makes of damaged bytes
      raise UserError(
        f'prepare/rows/{self.rows.name}: row {int(number)} cannot be read:'
        f' {error}; delete prepare/, and prepare again'
      ) from None


def _stack(rows):
  return {field: np.stack([row[field] for row in rows]) for field in rows[0]}
