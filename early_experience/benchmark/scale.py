"""What many workers and branches need: bytes, tokens a second, hours.

python -m early_experience.benchmark scale [--env=NAME ...] [--address=local]

Measures one worker's seconds a trajectory, the bytes that it becomes, the
characters that a model would read to propose its alternatives, and what a unit
costs the driver; then plays so many workers against one driver, with these
figures, in a simulation. Writes docs/SCALE.md.
"""

import argparse
import contextlib
import dataclasses
import functools
import heapq
import json
import pickle
import random
import statistics
import sys
import tempfile
import time

from early_experience.benchmark import sample as sample_lib
from early_experience.benchmark.sample import Sample
from early_experience.config import default
from early_experience.experience import conversation, render
from early_experience.experience.answer_format import find_format
from early_experience.exploration import branching
from early_experience.exploration.proposers import contexts_of
from early_experience.runtime import commands, files, paths
from early_experience.runtime.errors import UserError
from early_experience.work import workers
from early_experience.work.units import Failure

ENVIRONMENTS = ('alfworld', 'bfcl', 'textworld_express', 'miniwob')
_CHARS = 4  # of a token, about, in English text
_ANSWER_TOKENS = 16  # that a proposal is long, about
_NOTHINGS = 400  # units that do nothing, to time the driver with


@dataclasses.dataclass(frozen=True)
class Figures:
  """Measured of one environment.

  Attributes:
    seconds: of a worker, for each trajectory of the sample.
    branches: of each.
    states: of each.
    record_bytes: of each, as written.
    prompt_tokens: of a state's request, in the mean.
    driver_seconds: of the driver for a unit: sending, receiving, writing.
  """

  seconds: list[float]
  branches: list[int]
  states: list[int]
  record_bytes: list[int]
  prompt_tokens: float
  driver_seconds: float


@commands.one_line
def main() -> None:
  parser = commands.parser('benchmark scale', __doc__)
  parser.add_argument('--env', action='append', help=f'default: {ENVIRONMENTS}')
  parser.add_argument('--workers', type=int, default=1000)
  parser.add_argument('--branches', type=int, default=10_000_000)
  parser.add_argument('--trajectories', type=int, default=16, help='measured')
  parser.add_argument('--k', type=int, default=8, help='alternatives a state')
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument(
    '--failures', type=float, default=0.001, help='share of tries that fail'
  )
  parser.add_argument(
    '--address', default='', help="as config.cluster.address: '' or local"
  )
  file = paths.flag('--file')
  parser.add_argument('--file', type=file, default='docs/SCALE.md')
  arguments = parser.parse_args(sys.argv[1:])
  run(arguments)


def run(how: argparse.Namespace) -> None:
  """Measures, simulates, and writes the page."""
  overhead = seconds_a_unit(how.address)
  rows = []
  for name in how.env or ENVIRONMENTS:
    try:
      config = sample_lib.settings(name, how.trajectories)
      sample = sample_lib.take(config, how.k, how.seed)
    except UserError as error:
      print(f'{name}: {error}', flush=True)
      continue
    rows.append(_row(name, measure(sample, overhead), how))
    print(rows[-1], flush=True)
  text = _PAGE.format(
    **vars(how) | {'engine': 'Ray' if how.address else 'local processes'},
    overhead=overhead * 1000,
    head=_HEAD,
    rows='\n'.join(rows),
    chars=_CHARS,
    answer=_ANSWER_TOKENS,
  )
  files.write_atomic(how.file, text)
  print(f'-> {how.file}')


def seconds_a_unit(address: str) -> float:
  """Processor time of the driver for a unit in which nothing is done."""
  config = default()
  config.cluster.address = address
  with contextlib.closing(
    workers.run(abs, range(2 * _NOTHINGS), config.cluster, _NOTHINGS)
  ) as results:
    for _ in range(_NOTHINGS):
      next(results)  # until all are warm
    start = time.process_time()
    for _ in range(_NOTHINGS):
      next(results)
    return (time.process_time() - start) / _NOTHINGS


def measure(sample: Sample, overhead: float) -> Figures:
  """Explores the sample with one worker.

  Args:
    sample: trajectories and alternatives.
    overhead: of the engine, in seconds a unit.

  Raises:
    UserError: a trajectory failed.
  """
  timed = functools.partial(_timed, sample.config.env.to_json())
  cluster = sample.config.cluster
  cluster.workers = 1
  units = [sample.units[0], *sample.units]  # the first one pays for the start
  with contextlib.closing(
    workers.run(timed, units, cluster, len(units))
  ) as results:
    explored = [result for _, result in results][1:]
  for result in explored:
    if isinstance(result, Failure):
      raise UserError(f'{result.reason}: {result.error}')
  trajectories = [trajectory for _, trajectory, _ in sample.units]
  prompts = [
    _prompt_chars(context) for t in trajectories for context in contexts_of(t)
  ]
  start = time.process_time()
  with (
    tempfile.TemporaryDirectory() as folder,
    files.JsonlWriter(folder, 'timed') as writer,
  ):
    for unit, (record, _) in zip(sample.units, explored, strict=True):
      pickle.dumps(unit)
      writer.write(pickle.loads(pickle.dumps(record)))
    handled = (time.process_time() - start) / len(explored)
  return Figures(
    seconds=[seconds for _, seconds in explored],
    branches=[sum(map(len, proposals)) for *_, proposals in sample.units],
    states=[len(t.steps) for t in trajectories],
    record_bytes=[
      len(json.dumps(record, ensure_ascii=False).encode()) + 1
      for record, _ in explored
    ],
    prompt_tokens=sum(prompts) / len(prompts) / _CHARS,
    driver_seconds=overhead + handled,
  )


def _timed(settings, unit):
  start = time.perf_counter()
  record = branching.branch_in_own(settings, unit)
  return record, time.perf_counter() - start


def _prompt_chars(context):
  turns = render.history(
    context.instruction, context.observations, context.actions
  )
  messages = conversation.chat(turns, find_format('plain'))
  return sum(len(message['content']) for message in messages)


def simulate(
  figures: Figures, units: int, count: int, failures: float, seed: int
) -> float:
  """Plays `count` workers that one driver feeds.

  A worker that is done waits for the driver, who serves one after the other;
  a try that fails is repeated.

  Args:
    figures: a unit's seconds are drawn from them.
    units: to be done.
    count: of workers.
    failures: share of tries.
    seed: of the draws.

  Returns:
    Seconds until all is done.
  """
  rng = random.Random(seed)
  free = 0.0  # when the driver is, next
  busy = [(0.0, worker) for worker in range(min(count, units))]
  left, last = units, 0.0
  while busy:
    now, worker = heapq.heappop(busy)
    free = max(free, now) + figures.driver_seconds
    last = free
    if left > 0:
      if rng.random() >= failures:
        left -= 1
      heapq.heappush(busy, (free + rng.choice(figures.seconds), worker))
  return last


def _row(name, figures, how):
  branches = sum(figures.branches)
  units = round(how.branches * len(figures.branches) / branches)
  seconds = simulate(figures, units, how.workers, how.failures, how.seed)
  fed = statistics.mean(figures.seconds) / figures.driver_seconds
  states = how.branches * sum(figures.states) / branches
  prompt = states * figures.prompt_tokens
  answers = how.branches * _ANSWER_TOKENS
  cells = (
    name,
    f'{units:,}',
    f'{sum(figures.seconds) / branches * 1000:,.2f}',
    f'{sum(figures.record_bytes) / branches:,.0f}',
    f'{sum(figures.record_bytes) / branches * how.branches / 1e9:,.1f}',
    f'{seconds / 3600:,.2f}',
    f'{fed:,.0f}',
    f'{figures.prompt_tokens:,.0f}',
    f'{prompt / 1e9:,.2f} + {answers / 1e9:,.2f}',
    f'{(prompt + answers) / seconds:,.0f}',
  )
  return f'| {" | ".join(cells)} |'


_PAGE = """\
# What {workers:,} workers and {branches:,} branches need

By `python -m early_experience.benchmark scale`. The figures of a row are
measured in one run, on one worker of one machine, or follow from these in a
simulation of {workers:,} workers and one driver.

{head}
|---|---|---|---|---|---|---|---|---|---|
{rows}

K = {k} alternatives a state, {trajectories} trajectories measured, seed {seed}.

* **units**: trajectories, with all branches of their states.
* **ms/branch**: of one worker, with resets, replays and proofs.
* **GB**: JSON lines as `explore` writes them, uncompressed.
* **hours**: simulated. A worker that is done waits until the one driver has
  taken its record and sent the next unit: {overhead:.2f} ms of processor time
  with {engine}, as measured with units that do nothing, and what it takes to
  pickle both and to write the record. Of all tries {failures:.1%} fail and are
  repeated.
* **fed**: how many workers one driver keeps at work. More of them do not help:
  split the tasks over several workdirs, each with a driver of its own.
* **prompt**: tokens of a state's request, at {chars} characters a token.
* **G tokens**: of all prompts and all answers, {answer} tokens each. A state's
  prompt is read once for its K samples; without a prefix cache, K times.
* **tokens/s**: what an endpoint has to read and write to propose all
  alternatives in the same hours. A slower one makes them longer in proportion.
"""
_HEAD = (
  '| environment | units | ms/branch | bytes/branch | GB | hours | fed | prompt'
  ' | G tokens | tokens/s |'
)


if __name__ == '__main__':
  main()
