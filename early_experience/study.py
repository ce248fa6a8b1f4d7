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
from early_experience.runtime.errors import need_extra
from early_experience.sweeps import studies
from early_experience.sweeps.folder import SHARED, SWEEP
from early_experience.sweeps.runs import STAGES

_COLUMNS = {
  'seeds': '{:d}',
  'tasks': '{:d}',
  'updates': '{:.0f}',
  'tokens': '{:.2g}',
  'flops': '{:.2g}',
  'env_steps': '{:.0f}',
  'minutes': '{:.0f}',
  'invalid': '{:.0%}',
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
  figure = io.BytesIO()
  figure_of(rows).savefig(figure, format='svg')
  table = io.StringIO()
  writer = csv.DictWriter(table, _keys(rows), lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  sweep = files.read_json(pathlib.Path(workdir) / SWEEP)
  folders = {run.home for run in runs}
  text = _page(page.stem, rows, sweep, len(folders), _stages(runs))
  files.write_atomic(page.with_suffix('.csv'), table.getvalue())
  files.write_atomic(page.with_suffix('.svg'), figure.getvalue())
  files.write_atomic(page, text)
  return text


def figure_of(rows: list[dict]):
  """Success with its 95% intervals, a panel for each split.

  Over the override that varies and is a number, with bands, if others only
  vary with it; who does not have it is level. Else a point for each setting.

  Returns:
    A matplotlib figure.

  Raises:
    UserError: matplotlib is missing.
  """
  try:
    from matplotlib import figure
  except ImportError:
    raise need_extra('matplotlib', 'notebooks') from None
  splits = list(dict.fromkeys(row['split'] for row in rows))
  policies = list(dict.fromkeys(row['policy'] for row in rows))
  drawn = figure.Figure((4.2 * len(splits), 3.2), layout='constrained')
  panels = drawn.subplots(1, len(splits), squeeze=False, sharey=True)[0]
  axis = _axis(rows)
  ticks = sorted({float(row[axis]) for row in rows if axis in row})
  ends = ticks[:1] + ticks[-1:]
  for axes, split in zip(panels, splits, strict=True):
    for number, policy in enumerate(policies):
      own = [r for r in rows if (r['split'], r['policy']) == (split, policy)]
      own.sort(key=lambda r: float(r[axis]) if axis in r else 0)
      color = f'C{number % 10}'
      low, rate, high = (
        [100 * row[key] for row in own] for key in ('low', 'success', 'high')
      )
      if axis:
        at = [float(row[axis]) for row in own if axis in row]
        if not at:
          at, low, rate, high = ends, 2 * low, 2 * rate, 2 * high
        marks = 'o-' if axis in own[0] else '--'
        axes.plot(at, rate, marks, color=color, label=policy)
        axes.fill_between(at, low, high, color=color, alpha=0.15, lw=0)
      else:
        at = [number + 0.1 * i for i in range(len(own))]
        axes.vlines(at, low, high, color=color)
        axes.plot(at, rate, 'o', color=color, label=policy)
    axes.set_title(f'{split} tasks', fontsize='medium')
    axes.spines[['top', 'right']].set_visible(False)
    axes.set_ylim(0, None)
    if axis:
      axes.set_xscale('log', base=2)
      axes.set_xticks(ticks, [f'{tick:g}' for tick in ticks])
      axes.set_xlabel(axis)
    else:
      axes.set_xticks(range(len(policies)), policies)
      axes.set_xlim(-0.5, len(policies) - 0.5)
  panels[0].set_ylabel('success, %')
  if axis:
    panels[-1].legend(frameon=False, fontsize='small')
  return drawn


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
      + f'{100 * row["ahead"]:+.1f} points [{100 * row["ahead_low"]:+.1f},'
      f' {100 * row["ahead_high"]:+.1f}].'
    )
  return said


def _page(name, rows, sweep, runs, stages):
  config = pathlib.Path(sweep['config'].partition(':')[0])
  about = ''
  if config.is_file():
    about = ast.get_docstring(ast.parse(config.read_text('utf-8'))) or ''
  title, _, rest = about.partition('\n')
  hours = sum((row.get('minutes') or 0) * row['seeds'] for row in _first(rows))
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
      'Intervals are 95% over seeds and tasks, differences are paired on both;'
      ' the table with all digits is beside this page, as'
      f' [{name}.csv]({name}.csv).',
      '',
      rest.strip(),
      '',
      f'{runs} runs, {hours / 60:.1f} hours of training on {_machine()};'
      f' page of {datetime.date.today()}, commit {_commit()}:',
      '',
      f'    python launch/sweep.py --config={sweep["config"]} --workdir=DIR'
      f'{stages}',
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
  others = _keys(map(_others, rows))
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
      cells.append(form.format(*(100 * row[k] for k in keys)) if known else '')
    for key in shown:
      value = row.get(key)
      cells.append('' if value is None else _COLUMNS[key].format(value))
    lines.append(cells)
  return ['| ' + ' | '.join(map(str, line)) + ' |' for line in lines]


def _keys(rows):
  return list(dict.fromkeys(key for row in rows for key in row))


def _first(rows):
  """A row for each setting, whatever its splits."""
  return {(r['policy'], _setting(r)[1:]): r for r in rows}.values()


def _setting(row):
  return (row['split'], *_others(row).items())


def _others(row):
  """The overrides beside recipe and seed."""
  known = {'policy', 'recipe', 'split', 'low', 'high', *_COLUMNS}
  known |= {'against', 'against_success'}
  known |= {key for *keys, _ in _RATES.values() for key in keys}
  return {key: value for key, value in row.items() if key not in known}


def _axis(rows):
  """The override that varies and is a number, if others only vary with it."""
  varying = []
  for key in _keys(map(_others, rows)):
    column = [row.get(key) for row in rows]
    try:
      numbers = {float(value) for value in column if value is not None}
    except (TypeError, ValueError):
      continue
    if len(numbers) > 1 and min(numbers) > 0:
      varying.append((key, column))
  if not varying:
    return None
  keys, columns = zip(*varying, strict=True)
  together = len(set(zip(*columns, strict=True))) == len(set(columns[0]))
  return keys[0] if together and _lines(rows, keys[0]) else None


def _lines(rows, axis):
  """Whether each policy is a line over it, or one level."""
  groups = {}
  for row in rows:
    whose = row['policy'], row['split']
    groups.setdefault(whose, []).append(row.get(axis))
  return all(
    at == [None] or (None not in at and len(set(at)) == len(at))
    for at in groups.values()
  )


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
