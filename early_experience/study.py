r"""Writes the page of a study: what a sweep says, and how sure that is.

  python launch/sweep.py --config=configs/studies/experts.py --workdir=DIR
  python -m early_experience.study --workdir=DIR --page=docs/results/experts

writes experts.md, with its table beside it as experts.csv and its figure as
experts.svg. Runs that differ in their seed alone are one row. Intervals are 95%
over seeds and tasks, both of which are samples; differences are paired on
both, against the recipe `imitation` in the same settings, with the budget that
was best for it where there are several.
"""

import ast
import csv
import datetime
import io
import pathlib
import platform
import subprocess
import sys

from early_experience.runtime import commands, cpus, files, paths, stage
from early_experience.sweeps import costs, figure, studies
from early_experience.sweeps.folder import SHARED, SWEEP
from early_experience.sweeps.runs import STAGES

_COLUMNS = {
  'seeds': '{:d}',
  'by_seed': '{}',
  'tasks': '{:d}',
  'updates': '{:.0f}',
  'tokens': '{:.2g}',
  'flops': '{:.2g}',
  'env_steps': '{:.0f}',
  'minutes': '{:.0f}',
  'nll': '{:.3f}',
  'flawless': '{:.1%}',
  'invalid': '{:.0%}',
  'repeated': '{:.0%}',
  'outcomes': '{:.0%}',
}
_GAPS = {
  'points ahead of imitation': 'ahead',
  'points gained by rl': 'gained',
  'points added to plain rl': 'added',
  'points ahead of round 1': 'since',
}
_RATES = {'success': ('success', 'low', 'high', '{:.1f}% [{:.1f}, {:.1f}]')} | {
  head: (key, f'{key}_low', f'{key}_high', '{:+.1f} [{:+.1f}, {:+.1f}]')
  for head, key in _GAPS.items()
}
_LEARNT = (
  " `nll` are the nats a token of the expert's actions at the end of training:"
  ' who is far above the others has not learnt them.'
)


def write(workdir: str, page: str) -> str:
  """Writes PAGE.md, PAGE.csv and PAGE.svg.

  Returns:
    What the page says.

  Raises:
    UserError: there is no sweep, no run of it was evaluated, or matplotlib (the
      extra `notebooks`) is missing.
  """
  runs = studies.read(workdir)
  rows = studies.rows(runs)
  page = pathlib.Path(page).with_suffix('.md')
  drawn = io.BytesIO()
  figure.of(rows, overrides(rows)).savefig(drawn, format='svg')
  table = io.StringIO()
  writer = csv.DictWriter(table, _keys(rows), lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  sweep = files.read_json(pathlib.Path(workdir) / SWEEP)
  text = _page(page.stem, rows, sweep, runs)
  files.write_atomic(page.with_suffix('.csv'), table.getvalue())
  files.write_atomic(page.with_suffix('.svg'), drawn.getvalue())
  files.write_atomic(page, text)
  return text


def overrides(rows: list[dict]) -> list[str]:
  """The columns of overrides, but for recipe and seed."""
  return _keys(map(_others, rows))


def conclusions(rows: list[dict]) -> list[str]:
  """Who is how far ahead of imitation: a sentence for each setting."""
  said = []
  for row in rows:
    if 'ahead' not in row:
      continue
    other = row['against_success']  # of the seeds that both have
    own = other + row['ahead']
    times = own / other if other else None
    where = ', '.join(f'{k} {v}' for k, v in _others(row).items())
    said.append(
      f'{row["split"]}{where and f" ({where})"}: **{row["policy"]}** solves'
      f' {own:.1%} of the tasks, {row["against"]}'
      f' {other:.1%}: '
      + (f'{times:.1f} times as many, ' if times else '')
      + '{:+.1f} points [{:+.1f}, {:+.1f}].'.format(
        *(_percent(row[f'ahead{end}']) for end in ('', '_low', '_high'))
      )
    )
  return said


def _page(name, rows, sweep, runs):
  several = max(row['seeds'] for row in rows) > 1
  over = 'seeds and tasks' if several else 'tasks, of one seed'
  config = pathlib.Path(sweep['config'].partition(':')[0])
  about = ''
  if config.is_file():
    about = ast.get_docstring(ast.parse(config.read_text('utf-8'))) or ''
  title, _, rest = about.partition('\n')
  return '\n'.join(
    [
      f'# {title or name}',
      '',
      *(f'* {line}' for line in conclusions(rows)),
      '',
      f'![Success, with 95% intervals]({name}.svg)',
      '',
      *_table(rows),
      '',
      f'Intervals are 95% over {over}, differences are paired on them;'
      ' the table with all digits is beside this page, as'
      f' [{name}.csv]({name}.csv).{_LEARNT if "nll" in _keys(rows) else ""}',
      '',
      rest.strip(),
      '',
      f'{len({run.home for run in runs})} runs,'
      f' {costs.hours(runs):.1f} hours of training on {_machine()};'
      f' page of {datetime.date.today()}, commit {_commit()}:',
      '',
      f'    python launch/sweep.py --config={sweep["config"]} --workdir=DIR'
      f'{_stages(runs)}',
      '    python -m early_experience.study --workdir=DIR'
      f' --page=docs/results/{name}',
      '',
    ]
  )


def _stages(runs):
  """What the command needs where its stages are not those of any sweep."""
  done = next(filter(None, (stage.finished(run.home) for run in runs)), None)
  if done is None:
    return ''
  shared = runs[0].home.parents[1] / SHARED  # what was done once for all
  before = (name for name in STAGES if (shared / name).is_dir())
  stages = *before, *done['stages']
  return '' if stages == STAGES else f' --stages={",".join(stages)}'


def _table(rows):
  others = overrides(rows)
  shown = [k for k in _COLUMNS if any(row.get(k) is not None for row in rows)]
  rates = {
    head: of for head, of in _RATES.items() if any(of[0] in row for row in rows)
  }
  heads = ['policy', *others, 'split', *rates, *shown]
  lines = [heads, ['---'] * len(heads)]
  for row in rows:
    cells = [row['policy'], *(row.get(k, '') for k in others), row['split']]
    for *keys, form in rates.values():
      known = keys[0] in row
      cells.append(
        form.format(*(_percent(row[k]) for k in keys)) if known else ''
      )
    for key in shown:
      value = row.get(key)
      cells.append('' if value is None else _COLUMNS[key].format(value))
    lines.append(cells)
  return ['| ' + ' | '.join(map(str, line)) + ' |' for line in lines]


def _percent(rate):
  return round(100 * rate, 1) + 0.0  # a difference of nothing has no sign


def _keys(rows):
  return list(dict.fromkeys(key for row in rows for key in row))


def _others(row):
  """The overrides beside recipe and seed."""
  known = {'policy', 'recipe', 'split', 'low', 'high', *_COLUMNS}
  known |= {'against', 'against_success'}
  known |= {key for *keys, _ in _RATES.values() for key in keys}
  return {key: value for key, value in row.items() if key not in known}


def _machine():
  kind = platform.processor() or platform.machine()
  return f'{cpus.count()} cores ({kind})'


def _commit():
  try:
    return subprocess.run(
      ['git', 'rev-parse', '--short', 'HEAD'],
      cwd=pathlib.Path(__file__).parent,
      capture_output=True,
      encoding='utf-8',
      check=True,
    ).stdout.strip()
  except (OSError, subprocess.CalledProcessError):
    return 'unknown'


@commands.one_line
def main() -> None:
  parser = commands.parser('study', __doc__)
  parser.add_argument('--workdir', type=paths.flag('--workdir'), required=True)
  parser.add_argument('--page', type=paths.flag('--page'), required=True)
  given = parser.parse_args(sys.argv[1:])
  print(write(given.workdir, given.page))


if __name__ == '__main__':
  main()
