"""Random sets of sequences that share prefixes, for tests."""

import numpy as np

from early_experience.experience.render import OBJECTIVES
from early_experience.experience.tree import Sequence


def random_sequences(seed, count=12, vocab=50, longest=24):
  """Grows each sequence from a prefix of an earlier one, or repeats it.

  So branches nest, prefixes end inside others, and some are duplicates.
  """
  rng = np.random.default_rng(seed)
  made = [np.array([1], np.int32)]
  for _ in range(count):
    stem = made[rng.integers(len(made))]
    keep = int(rng.integers(1, len(stem) + 1))
    room = longest - keep
    new = rng.integers(2, vocab, int(rng.integers(0, max(1, room) + 1)))
    made.append(np.concatenate([stem[:keep], new]).astype(np.int32)[:longest])
  return [_weighted(ids, rng) for ids in made[1:] if len(ids) > 1]


def _weighted(ids, rng):
  # Parts of a power of 2: their sums in float32 are exact in any order.
  weights = rng.integers(0, 129, (len(ids), len(OBJECTIVES))) / np.float32(64)
  weights *= rng.random(weights.shape) < 0.3
  weights[0] = 0  # nothing precedes the first token
  weights[-1, 0] = 1
  return Sequence(ids, weights)
