"""What early experience of each environment amounts to, and how fast it comes.

python -m early_experience.benchmark envs [--env=NAME ...]

Writes the table in docs/ENVIRONMENTS.md, of every environment that can be made
here. Rows of environments that are not measured now stay as they are.
"""

import argparse
import contextlib
import functools
import io
import pathlib
import re
import sys
import tempfile
import time

from ml_collections import ConfigDict

from early_experience.benchmark import sample as sample_lib
from early_experience.benchmark.branching import ours
from early_experience.benchmark.sample import Sample
from early_experience.config import default
from early_experience.envs import apart, registry
from early_experience.prepare import prepare
from early_experience.runtime import commands, files, paths
from early_experience.runtime.errors import UserError
from early_experience.work import local
from early_experience.work.units import in_a_line

BEGIN = '<!-- python -m early_experience.benchmark envs -->'
END = '<!-- end -->'
_HEAD = (
  '| environment | tasks from | trajectories | states | branches | invalid |'
  ' tokens flat | tree | flat / tree | steps/s | branches/s |\n'
  '|---|---|---|---|---|---|---|---|---|---|---|'
)


@commands.one_line
def main() -> None:
  parser = sample_lib.parser('envs', __doc__, trajectories=12)
  file = paths.flag('--file')
  parser.add_argument('--file', type=file, default='docs/ENVIRONMENTS.md')
  arguments = parser.parse_args(sys.argv[1:])
  for name in arguments.env or sorted(registry.ENVIRONMENTS):
    try:
      row = _markdown(name, measure(name, arguments))
    except Exception as error:
      print(f'{name}: {in_a_line(error)}', flush=True)
      continue
    print(row, flush=True)
    insert(pathlib.Path(arguments.file), {name: row}, _note(arguments))


def _note(how):
  return (
    f'k={how.k}, seed {how.seed}, tokens of a vocabulary of 512 learnt from'
    ' each; steps/s of one process, branches/s of'
    f' {local.count(default().cluster)}'
  )


def measure(name: str, how: argparse.Namespace) -> dict:
  """The figures of one environment.

  Args:
    name: of the environment.
    how: the command's arguments.

  Raises:
    UserError: it cannot be made here, or a trajectory failed.
  """
  config = sample_lib.settings(name, how.trajectories)
  sample = sample_lib.take(config, how.k, how.seed)
  with tempfile.TemporaryDirectory() as folder:
    counts = _counts(sample, how.k, pathlib.Path(folder))
  return counts | {
    'source': sample.source,
    'trajectories': len(sample.units),
    'steps_per_s': steps_per_s(sample, how.seconds),
    'branches_per_s': ours(sample, how.seconds)[1],
  }


def steps_per_s(sample: Sample, seconds: float) -> float:
  """Steps of the expert in one process, actions listed, resets included."""
  units = [(task, t) for task, t, _ in sample.units]
  play = functools.partial(_play, units=units, seconds=seconds)
  with contextlib.closing(apart.Apart(sample.config)) as env:
    return env.call(play)


def _play(env, units, seconds):
  count = 0
  env.reset(units[0][0])
  start = time.perf_counter()
  while time.perf_counter() - start < seconds:
    task, trajectory = units[count % len(units)]
    env.reset(task)
    for step in trajectory.steps:
      env.admissible()
      env.step(step.action)
      count += 1
  return count / (time.perf_counter() - start)


def _counts(sample, k, workdir):
  """Explores once and prepares rows; counts what came of it."""
  counts = sample_lib.explore(sample, k, workdir)
  config = sample.config
  config.prepare.update(row_tokens=1 << 17, overlong='drop', held_out=0.0)
  datasets = ('imitation', 'world_model')
  config.prepare.rows = ConfigDict({'world': {'datasets': datasets, 'k': k}})
  with contextlib.redirect_stdout(io.StringIO()):
    rows = prepare(config, str(workdir))['rows']['world']
  return counts | {
    'flat_tokens': rows['flat_tokens'],
    'tree_tokens': rows['tree_tokens'],
  }


def _markdown(name, found):
  share = found['invalid'] / max(1, found['branches'])
  ratio = found['flat_tokens'] / found['tree_tokens']
  cells = (
    name,
    found['source'].replace('|', '/'),
    *(f'{found[key]:,}' for key in ('trajectories', 'states', 'branches')),
    f'{share:.0%}',
    *(f'{found[key]:,}' for key in ('flat_tokens', 'tree_tokens')),
    f'{ratio:.1f}',
    *(_rate(found[key]) for key in ('steps_per_s', 'branches_per_s')),
  )
  return f'| {" | ".join(cells)} |'


def _rate(value):
  return f'{value:,.0f}' if value >= 100 else f'{value:.1f}'


def insert(path: pathlib.Path, rows: dict[str, str], note: str) -> None:
  """Puts rows into the generated block of a file, beside its other ones.

  Args:
    path: of the file; one that is not there is made.
    rows: a line of Markdown for each environment.
    note: below the table, on how it was measured.

  Raises:
    UserError: the file has no such block.
  """
  text = (
    path.read_text(encoding='utf-8') if path.exists() else f'{BEGIN}\n{END}\n'
  )
  try:
    before, rest = text.split(BEGIN)
    block, after = rest.split(END)
  except ValueError:
    raise UserError(f'{path} needs one {BEGIN} with one {END} below') from None
  old = dict(re.findall(r'^(?=\| (\S+) \| )(.*)$', block, re.MULTILINE))
  old.pop('environment', None)
  body = '\n'.join(row for _, row in sorted((old | rows).items()))
  block = f'\n\n{_HEAD}\n{body}\n\n{note}.\n\n'
  files.write_atomic(path, f'{before}{BEGIN}{block}{END}{after}')


if __name__ == '__main__':
  main()
