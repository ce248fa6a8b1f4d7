"""Intervals and paired comparisons.

A success rate over 128 tasks has a standard error of about 4 points, so no
rate leaves this package without its count and its 95% interval.
"""

import dataclasses
import math
from collections.abc import Sequence

from scipy import special

_Z = 1.959963984540054  # 97.5% point of the normal distribution


@dataclasses.dataclass(frozen=True)
class Interval:
  """A rate or a mean, with its 95% interval."""

  rate: float
  low: float
  high: float


@dataclasses.dataclass(frozen=True)
class Paired:
  """Two policies on the same tasks.

  Attributes:
    difference: success rate of a minus that of b.
    low: of the 95% interval of the difference.
    high: likewise.
    p: two-sided exact McNemar p-value.
    only_a: tasks that a alone solved.
    only_b: tasks that b alone solved.
    n: tasks.
  """

  difference: float
  low: float
  high: float
  p: float
  only_a: int
  only_b: int
  n: int


def wilson(count: float, n: int) -> Interval:
  """Wilson's score interval of a binomial rate (Wilson 1927).

  Unlike the textbook `rate +- 2 s.e.` it stays inside [0, 1] and keeps its
  coverage at rates near 0 and 1.

  Args:
    count: successes; a fraction where each trial has a rate.
    n: trials. With none, the rate is unknown: 0 with the interval [0, 1].
  """
  if n == 0:
    return Interval(0.0, 0.0, 1.0)
  rate = count / n
  centre = (rate + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
  half = math.sqrt(rate * (1 - rate) / n + (_Z / (2 * n)) ** 2)
  half *= _Z / (1 + _Z**2 / n)
  # Rounding must not leave the rate itself outside at 0 and 1.
  low = 0.0 if count == 0 else centre - half
  high = 1.0 if count == n else centre + half
  return Interval(rate, low, high)


def mean_interval(values: Sequence[float]) -> Interval:
  """The mean with its Student-t interval.

  Args:
    values: independent measurements. One alone has no interval: both ends are
      the value itself; none at all gives zeros.
  """
  n = len(values)
  mean = math.fsum(values) / n if n else 0.0
  if n < 2:
    return Interval(mean, mean, mean)
  variance = math.fsum((v - mean) ** 2 for v in values) / (n - 1)
  half = t_quantile(n - 1) * math.sqrt(variance / n)
  return Interval(mean, mean - half, mean + half)


def crossed(values_ST: Sequence[Sequence[float]]) -> Interval:
  """The mean over runs and tasks, both of which are samples.

  Every run is asked every task, so a value is the sum of a run's effect, a
  task's and a rest; the variance of the mean is that of the two-way model with
  random effects, and its degrees of freedom are Satterthwaite's (Searle,
  Casella and McCulloch 1992, chapter 4).

  Args:
    values_ST: a row for each run, of one length. Of one run there is the
      spread over tasks alone.

  Raises:
    ValueError: the rows differ in length.
  """
  runs, tasks = len(values_ST), len(values_ST[0])
  if any(len(row_T) != tasks for row_T in values_ST):
    raise ValueError('the runs were not asked equally many tasks')
  if runs == 1:
    return mean_interval(values_ST[0])
  of_run_S = [math.fsum(row_T) / tasks for row_T in values_ST]
  of_task_T = [
    math.fsum(column) / runs for column in zip(*values_ST, strict=True)
  ]
  mean = math.fsum(of_run_S) / runs
  squares = lambda means: math.fsum((m - mean) ** 2 for m in means)
  rest = math.fsum(
    (value - run - task + mean) ** 2
    for row_T, run in zip(values_ST, of_run_S, strict=True)
    for value, task in zip(row_T, of_task_T, strict=True)
  )
  parts = [  # mean squares, and their degrees of freedom
    (tasks * squares(of_run_S) / (runs - 1), runs - 1),
    (runs * squares(of_task_T) / max(1, tasks - 1), tasks - 1),
    (-rest / max(1, (runs - 1) * (tasks - 1)), (runs - 1) * (tasks - 1)),
  ]
  # Never below either effect alone, which the rest can make it by chance.
  total = max(math.fsum(p for p, _ in parts), parts[0][0], parts[1][0])
  if not total:
    return Interval(mean, mean, mean)
  degrees = total**2 / math.fsum(p**2 / max(1, d) for p, d in parts)
  half = t_quantile(max(1, degrees)) * math.sqrt(total / (runs * tasks))
  return Interval(mean, mean - half, mean + half)


def rate_of(values_ST: Sequence[Sequence[float]]) -> Interval:
  """The share of successes over runs and tasks, as `crossed`.

  Where all are alike that knows no spread, and Wilson's interval over the tasks
  is taken.

  Raises:
    ValueError: the rows differ in length.
  """
  found, tasks = crossed(values_ST), len(values_ST[0])
  if _is_point(found):
    found = wilson(found.rate * tasks, tasks)
  return Interval(found.rate, max(0.0, found.low), min(1.0, found.high))


def difference_of(
  a_ST: Sequence[Sequence[bool]], b_ST: Sequence[Sequence[bool]]
) -> Interval:
  """How much more often a succeeds than b, paired on runs and tasks.

  As `crossed` of the differences. Where all are alike that knows no spread, and
  the interval of `paired` over the tasks is taken.

  Raises:
    ValueError: the rows differ in length.
  """
  found = crossed(
    [
      [float(a) - float(b) for a, b in zip(*rows, strict=True)]
      for rows in zip(a_ST, b_ST, strict=True)
    ]
  )
  if _is_point(found):
    found = paired(a_ST[0], b_ST[0])
    return Interval(found.difference, found.low, found.high)
  return Interval(found.rate, max(-1.0, found.low), min(1.0, found.high))


def clustered(counts: Sequence[int], sizes: Sequence[int]) -> Interval:
  """A rate whose trials come in clusters, within which they are alike.

  The ratio estimator, and Student's t with a degree of freedom less than there
  are clusters (Cochran 1977, chapter 6). Where no spread is seen, Wilson's
  interval over the clusters is taken.

  Args:
    counts: successes in each cluster.
    sizes: its trials.
  """
  clusters = [(c, n) for c, n in zip(counts, sizes, strict=True) if n]
  trials = sum(n for _, n in clusters)
  if not trials:
    return wilson(0, 0)
  rate = sum(c for c, _ in clusters) / trials
  squares = math.fsum((c - rate * n) ** 2 for c, n in clusters)
  free = len(clusters) - 1
  if not squares or not free:
    return wilson(rate * len(clusters), len(clusters))
  half = t_quantile(free) * math.sqrt((free + 1) / free * squares) / trials
  return Interval(rate, max(0.0, rate - half), min(1.0, rate + half))


def paired(a_success: Sequence[bool], b_success: Sequence[bool]) -> Paired:
  """Compares two policies on the same tasks, in the same order.

  The interval is Newcombe's (1998, method 10): Wilson's intervals of the two
  rates, put together with the correlation that the pairs show. The p-value is
  McNemar's, exact: given the tasks that one alone solved, each is a fair coin.

  Raises:
    ValueError: the two are not of one length.
  """
  n = len(a_success)
  if n != len(b_success):
    raise ValueError(f'{n} and {len(b_success)} outcomes are not pairs')
  pairs = list(zip(map(bool, a_success), map(bool, b_success), strict=True))
  both = sum(a and b for a, b in pairs)
  only_a = sum(a and not b for a, b in pairs)
  only_b = sum(b and not a for a, b in pairs)
  neither = n - both - only_a - only_b
  a, b = wilson(both + only_a, n), wilson(both + only_b, n)
  phi = _correlation(both, only_a, only_b, neither)
  difference = a.rate - b.rate
  return Paired(
    difference=difference,
    low=difference - _join(a.rate - a.low, b.high - b.rate, phi),
    high=difference + _join(a.high - a.rate, b.rate - b.low, phi),
    p=mcnemar(only_a, only_b),
    only_a=only_a,
    only_b=only_b,
    n=n,
  )


def mcnemar(only_a: int, only_b: int) -> float:
  """Two-sided exact p-value of a split as uneven as this one."""
  n = only_a + only_b
  tail = sum(math.comb(n, i) for i in range(min(only_a, only_b) + 1))
  return min(1.0, 2 * tail / 2**n)


def t_quantile(degrees: float) -> float:
  """The 97.5% point of Student's t with so many degrees of freedom."""
  return float(special.stdtrit(degrees, 0.975))


def _is_point(found):
  """Whether an interval has no width, but for rounding."""
  return found.high - found.low < 1e-9


def _correlation(both, only_a, only_b, neither):
  """Phi of the 2x2 table, pulled to 0 by half a task where it is positive."""
  n = both + only_a + only_b + neither
  margins = (
    (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
  )
  if margins == 0:
    return 0.0
  product = both * neither - only_a * only_b
  if product > 0:
    product = max(product - n / 2, 0.0)
  return product / math.sqrt(margins)


def _join(first, second, phi):
  """Half-width of a difference of two correlated estimates."""
  return math.sqrt(max(first**2 - 2 * phi * first * second + second**2, 0.0))
