"""Rows on disk are whole, and their order depends on seed and step alone."""

import itertools
import resource

import numpy as np
import pytest

from early_experience.experience import loader, rows
from early_experience.experience.tree import merge, windows
from early_experience.runtime.errors import UserError
from tests.sequences import random_sequences


def write(workdir, name, seeds):
  writer = rows.RowWriter(workdir / 'prepare' / 'rows' / name, shard_rows=4)
  trees = [t for s in seeds for t in merge(random_sequences(s))]
  for row in rows.pack([w for t in trees for w in windows(t, 128)], 128):
    writer.write(row)
  writer.finish({'row_tokens': 128})
  return loader.open_rows(workdir, name)


@pytest.fixture
def row_sets(tmp_path):
  return {
    'a': write(tmp_path, 'a', range(30)),
    'b': write(tmp_path, 'b', range(100, 120)),
  }


def take(row_sets, steps, **kwargs):
  kwargs = {'seed': 0, 'batch_rows': 4, **kwargs}
  batches = loader.batches(row_sets, {'a': 0.75, 'b': 0.25}, **kwargs)
  return list(itertools.islice(batches, steps))


def test_rows_round_trip(tmp_path):
  made = rows.pack(merge(random_sequences(0)), 128)
  writer = rows.RowWriter(tmp_path / 'prepare' / 'rows' / 'x')
  writer.write(made[0])
  writer.finish({})
  read = rows.decode(loader.open_rows(tmp_path, 'x').source[0])
  for field, value in made[0].items():
    np.testing.assert_array_equal(read[field], value)
    assert read[field].dtype == value.dtype


def test_batches_start_anywhere_without_reading_what_precedes(row_sets):
  straight, later = take(row_sets, 8), take(row_sets, 3, start_step=5)
  for a, b in zip(straight[5:], later, strict=True):
    np.testing.assert_array_equal(a['tokens'], b['tokens'])


def test_processes_share_one_global_batch(row_sets):
  whole = take(row_sets, 4)
  parts = [
    take(row_sets, 4, positions=positions) for positions in ([0, 1], [2, 3])
  ]
  for s in range(4):
    together = [*parts[0][s]['tokens'], *parts[1][s]['tokens']]
    np.testing.assert_array_equal(together, whole[s]['tokens'])


def test_the_rows_of_a_batch_can_be_named(row_sets):
  shares = {'a': 0.75, 'b': 0.25}
  names = loader.drawn(row_sets, shares, seed=0, batch_rows=4, step=3)
  for name, tokens_T in zip(names, take(row_sets, 4)[3]['tokens'], strict=True):
    source = row_sets[name[0]].source
    row = rows.decode(source[int(name[2:-1])])
    np.testing.assert_array_equal(row['tokens'], tokens_T)


def test_another_seed_is_another_order(row_sets):
  a, b = take(row_sets, 1), take(row_sets, 1, seed=1)
  assert (a[0]['tokens'] != b[0]['tokens']).any()


def test_an_epoch_shows_every_row_once_and_the_next_another_order(row_sets):
  only = {'a': row_sets['a']}
  count = len(row_sets['a'])
  batches = loader.batches(only, {'a': 1.0}, seed=0, batch_rows=1)
  shown = [next(batches)['tokens'].tobytes() for _ in range(2 * count)]
  assert len(set(shown[:count])) == count
  assert sorted(shown[:count]) == sorted(shown[count:])
  assert shown[:count] != shown[count:]


def test_shares_are_kept(row_sets):
  b_rows = {
    rows.decode(row_sets['b'].source[i])['tokens'].tobytes()
    for i in range(len(row_sets['b']))
  }
  shown = [r.tobytes() for b in take(row_sets, 25) for r in b['tokens']]
  assert sum(r in b_rows for r in shown) == pytest.approx(25, abs=1)


def test_a_truncated_shard_is_named(tmp_path):
  write(tmp_path, 'a', range(10))
  shard = tmp_path / 'prepare' / 'rows' / 'a' / 'rows-00000.array_record'
  shard.write_bytes(shard.read_bytes()[:-100])
  with pytest.raises(UserError, match='rows-00000.array_record has .* bytes'):
    loader.open_rows(tmp_path, 'a')


def test_a_damaged_row_is_named(tmp_path):
  write(tmp_path, 'a', range(10))
  shard = tmp_path / 'prepare' / 'rows' / 'a' / 'rows-00000.array_record'
  data = bytearray(shard.read_bytes())
  data[600] ^= 1  # a bit of one of its rows
  shard.write_bytes(data)
  row_sets = {'a': loader.open_rows(tmp_path, 'a')}
  batches = loader.batches(row_sets, {'a': 1.0}, seed=0, batch_rows=1)
  with pytest.raises(UserError, match='prepare/rows/a: row . cannot be read: '):
    list(itertools.islice(batches, len(row_sets['a'])))


@pytest.mark.parametrize('place', range(0, 1 << 17, 1 << 12))
def test_damage_anywhere_is_one_message_or_none(tmp_path_factory, place):
  """At the end of what is written, too, where a shard's index stands."""
  folder = tmp_path_factory.getbasetemp() / 'damaged'
  if not folder.exists():
    write(folder, 'a', range(10))
  shard = folder / 'prepare' / 'rows' / 'a' / 'rows-00000.array_record'
  data = shard.read_bytes()
  bad = bytes(255 - b for b in data[place : place + 4096])
  shard.write_bytes(data[:place] + bad + data[place + 4096 :])
  try:
    row_sets = {'a': loader.open_rows(folder, 'a')}
    batches = loader.batches(row_sets, {'a': 1.0}, seed=0, batch_rows=1)
    shown = list(itertools.islice(batches, len(row_sets['a'])))
  except UserError as error:
    assert 'rows/a: ' in str(error) and '\n' not in str(error)
  else:
    assert len(shown) == len(row_sets['a'])
  finally:
    shard.write_bytes(data)


def test_unknown_rows_are_refused_with_those_there(tmp_path):
  write(tmp_path, 'a', range(10))
  with pytest.raises(UserError, match="no rows 'joint' .*there: a"):
    loader.open_rows(tmp_path, 'joint')


def test_an_abandoned_row_set_leaves_nothing(tmp_path):
  writer = rows.RowWriter(tmp_path / 'rows' / 'a')
  writer.write(rows.pack(merge(random_sequences(0)), 128)[0])
  writer.abandon()
  assert list((tmp_path / 'rows').iterdir()) == []


def test_rows_that_do_not_fit_on_the_disk_are_named_and_removed(tmp_path):
  row = rows.pack(merge(random_sequences(0)), 4096)[0]
  row['tokens'] = np.random.default_rng(0).integers(0, 2**31, 4096)
  writer = rows.RowWriter(tmp_path / 'rows' / 'a')
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 17, limits[1]))
  try:
    with pytest.raises(UserError, match=r'cannot write .*a/rows-00000'):
      for _ in range(100):
        writer.write(row)
      writer.finish({})
    writer.abandon()
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert list((tmp_path / 'rows').iterdir()) == []
