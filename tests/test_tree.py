"""The tree holds exactly what its sequences hold, however it is cut."""

import collections

import numpy as np
import pytest

from early_experience.experience import tree as tree_lib
from early_experience.experience.rows import pack
from early_experience.experience.tree import (
  Sequence,
  absorb,
  flat,
  merge,
  windows,
)
from early_experience.runtime.errors import UserError
from tests.sequences import random_sequences

SEEDS = range(20)


def sequence(*ids, weight=1.0):
  weights = np.zeros((len(ids), 3), np.float32)
  weights[-1, 0] = weight
  return Sequence(np.array(ids, np.int32), weights)


def supervision(trees):
  """{path of token ids: summed weights} over all scored tokens."""
  found = collections.Counter()
  for tree in trees:
    for i in range(len(tree)):
      path, node = [], i
      while True:
        path.append(int(tree.tokens_T[node]))
        if not tree.back_T[node]:
          break
        node -= tree.back_T[node]
      assert len(path) == tree.depth_T[i] + 1
      for o, weight in enumerate(tree.weights_TO[i]):
        if weight:
          found[tuple(path[::-1]), o] += float(weight)
  return found


def same(a, b):
  return a == b  # weights of random sequences add up exactly


def test_two_branches_share_their_prefix():
  (tree,) = merge([sequence(1, 2, 3, 4), sequence(1, 2, 5)])
  assert tree.tokens_T.tolist() == [1, 2, 3, 4, 5]
  assert tree.depth_T.tolist() == [0, 1, 2, 3, 2]
  assert tree.back_T.tolist() == [0, 1, 1, 1, 3]
  assert tree.span_T.tolist() == [5, 4, 2, 1, 1]


def test_duplicates_add_their_weights():
  (tree,) = merge([sequence(1, 2, weight=1.0), sequence(1, 2, weight=0.5)])
  assert tree.weights_TO[:, 0].tolist() == [0, 1.5]


def test_a_sequence_that_begins_another_is_absorbed():
  kept = absorb([sequence(1, 2), sequence(1, 2, 3), sequence(1, 4)])
  assert [s.ids_T.tolist() for s in kept] == [[1, 2, 3], [1, 4]]
  assert kept[0].weights_TO[:, 0].tolist() == [0, 1, 1]


@pytest.mark.parametrize('seed', SEEDS)
def test_absorbing_keeps_every_target_and_its_path(seed):
  sequences = random_sequences(seed)
  kept = absorb(sequences)
  assert same(supervision(map(flat, kept)), supervision(map(flat, sequences)))


@pytest.mark.parametrize('length', [2, 3, 4, 9])
def test_a_text_is_cut_where_rows_end_and_learnt_once(length):
  whole = sequence(*range(10, 17))
  whole.weights_TO[1:, 0] = 1
  parts = tree_lib.pieces(whole, length)
  assert max(len(part.ids_T) for part in parts) <= length
  scored = [part.ids_T[part.weights_TO.any(1)] for part in parts]
  assert np.concatenate(scored).tolist() == [11, 12, 13, 14, 15, 16]
  assert not any(part.weights_TO[0].any() for part in parts)


def test_the_longest_path_of_a_subtree_comes_first():
  branches = [sequence(1, 2, 3), sequence(1, 2, 9, 4), sequence(1, 5, 6, 7, 8)]
  (tree,) = merge(branches)
  assert tree.tokens_T.tolist() == [1, 5, 6, 7, 8, 2, 9, 4, 3]


def test_deeper_branches_follow_the_trunk_sooner():
  (tree,) = merge(
    [sequence(1, 2, 3, 4, 5), sequence(1, 9), sequence(1, 2, 3, 8)]
  )
  assert tree.tokens_T.tolist() == [1, 2, 3, 4, 5, 8, 9]


def test_another_first_token_is_another_tree():
  assert len(merge([sequence(1, 2), sequence(3, 2)])) == 2


def test_order_of_sequences_does_not_matter():
  sequences = random_sequences(0)
  (a,), (b,) = merge(sequences), merge(sequences[::-1])
  np.testing.assert_array_equal(a.tokens_T, b.tokens_T)
  np.testing.assert_array_equal(a.weights_TO, b.weights_TO)


@pytest.mark.parametrize('seed', SEEDS)
def test_merging_keeps_every_target_and_its_path(seed):
  sequences = random_sequences(seed)
  assert same(supervision(merge(sequences)), supervision(map(flat, sequences)))


@pytest.mark.parametrize('seed', SEEDS)
def test_no_prefix_stands_twice(seed):
  (tree,) = merge(random_sequences(seed))
  paths = {
    tuple(s.ids_T[: n + 1].tolist())
    for s in random_sequences(seed)
    for n in range(len(s.ids_T))
  }
  assert len(tree) == len(paths)


@pytest.mark.parametrize('seed', SEEDS)
def test_windows_keep_every_target_and_its_path(seed):
  (tree,) = merge(random_sequences(seed, count=20))
  parts = windows(tree, 30)
  assert all(len(part) <= 30 for part in parts)
  assert same(supervision(parts), supervision([tree]))


@pytest.mark.parametrize('seed', SEEDS)
def test_span_is_the_subtree(seed):
  (tree,) = merge(random_sequences(seed, count=20))
  for part in [tree, *windows(tree, 30)]:
    ancestors = [
      {i, *tree_lib.ancestors(part, i).tolist()} for i in range(len(part))
    ]
    for k in range(len(part)):
      seen_by = {q for q in range(len(part)) if k in ancestors[q]}
      assert seen_by == set(range(k, k + part.span_T[k]))


def test_a_path_longer_than_a_row_is_an_error():
  sequences = [sequence(*range(1, 12)), sequence(1, 2, 40)]
  with pytest.raises(UserError, match='path of 11 tokens .* row of 10'):
    windows(merge(sequences)[0], 10)


def test_rows_hold_all_trees_with_little_padding():
  trees = [merge(random_sequences(s, count=3))[0] for s in range(20)]
  rows = pack(trees, 64)
  assert sum(row['weights'].sum() for row in rows) == sum(
    t.weights_TO.sum() for t in trees
  )
  full = sum(map(len, trees)) / (64 * len(rows))
  assert full > 0.8, full


def test_padding_sees_itself_and_is_no_target():
  (tree,) = merge(random_sequences(0))
  (row,) = pack([tree], len(tree) + 9)
  assert row['span'][len(tree) :].tolist() == [1] * 9
  for field in ('tokens', 'depth', 'back', 'weights'):
    assert not row[field][len(tree) :].any()
