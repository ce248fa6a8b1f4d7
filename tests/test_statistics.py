"""Intervals and comparisons against published values and exact coverage."""

import itertools
import math

import pytest

from early_experience.evaluation import statistics


@pytest.mark.parametrize(
  'count,n,low,high',
  [  # Newcombe (1998), Statistics in Medicine 17, table I, score method
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0, 0.1611),
    (1, 29, 0.0061, 0.1718),
  ],
)
def test_wilson_gives_the_published_intervals(count, n, low, high):
  interval = statistics.wilson(count, n)
  assert interval.rate == count / n
  assert interval.low == pytest.approx(low, abs=6e-5)
  assert interval.high == pytest.approx(high, abs=6e-5)


def test_wilson_holds_its_rate_at_the_ends_and_knows_nothing_of_no_trials():
  for n in (1, 7, 128):
    assert statistics.wilson(0, n).low == 0.0
    assert statistics.wilson(n, n).high == 1.0
  assert statistics.wilson(0, 0) == statistics.Interval(0.0, 0.0, 1.0)


@pytest.mark.parametrize(
  'degrees,expected',
  [(1, 12.706), (2, 4.303), (5, 2.571), (10, 2.228), (30, 2.042), (120, 1.980)],
)
def test_t_quantiles_are_those_of_the_tables(degrees, expected):
  assert statistics.t_quantile(degrees) == pytest.approx(expected, abs=6e-4)


def test_mean_interval_is_students():
  interval = statistics.mean_interval([4.0, 6.0, 8.0])
  half = 4.3027 * 2 / math.sqrt(3)  # t of 2 degrees, standard deviation 2
  assert interval.rate == 6.0
  assert interval.low == pytest.approx(6 - half, abs=1e-3)
  assert interval.high == pytest.approx(6 + half, abs=1e-3)
  assert statistics.mean_interval([3.0]) == statistics.Interval(3.0, 3.0, 3.0)


def test_mcnemar_is_the_exact_two_sided_coin():
  assert statistics.mcnemar(1, 5) == pytest.approx(2 * (1 + 6) / 64)
  assert statistics.mcnemar(0, 10) == pytest.approx(2 / 1024)
  assert statistics.mcnemar(4, 4) == 1.0
  assert statistics.mcnemar(0, 0) == 1.0


def test_paired_interval_covers_the_true_difference():
  """Exact coverage: every possible table of 20 tasks, weighed by its chance."""
  n = 20
  truth = {'both': 0.4, 'only_a': 0.25, 'only_b': 0.1, 'neither': 0.25}
  covered = 0.0
  for both, only_a, only_b in itertools.product(range(n + 1), repeat=3):
    neither = n - both - only_a - only_b
    if neither < 0:
      continue
    counts = (both, only_a, only_b, neither)
    chance = math.factorial(n)
    for count, probability in zip(counts, truth.values(), strict=True):
      chance *= probability**count / math.factorial(count)
    result = statistics.paired(*_outcomes(counts))
    covered += chance * (result.low <= 0.15 <= result.high)
  assert 0.94 < covered < 0.99


def test_paired_uses_the_pairing():
  tight = statistics.paired(*_outcomes((60, 6, 0, 34)))
  loose = statistics.paired(*_outcomes((20, 40, 34, 6)))
  assert tight.difference == pytest.approx(0.06)
  assert loose.difference == pytest.approx(0.06)
  assert tight.low > 0 > loose.low
  assert (tight.only_a, tight.only_b, tight.n) == (6, 0, 100)
  mirrored = statistics.paired(*reversed(_outcomes((60, 6, 0, 34))))
  assert mirrored.low == pytest.approx(-tight.high)
  assert mirrored.p == tight.p == pytest.approx(2 / 64)


def _outcomes(counts):
  both, only_a, only_b, neither = counts
  a = [True] * (both + only_a) + [False] * (only_b + neither)
  b = [True] * both + [False] * only_a + [True] * only_b + [False] * neither
  return a, b
