"""The table of a sweep: a row for each run or round, whatever is done of it."""

import csv
import io
import pathlib

from early_experience.evaluation import panel
from early_experience.experience.render import OBJECTIVES
from early_experience.reporting import report_data, results
from early_experience.runtime import files, stage
from early_experience.sweeps.folder import FAILURE, ROUND, RUNS, homes, runs_of
from early_experience.training import log_lines

TABLE = 'table.csv'


def rows(workdir) -> list[dict]:
  """A row for each run of a sweep, or for each of its rounds, in its order.

  Keys: `run`, `state` (finished | failed | begun | waiting), the overrides,
  the number of the `round`; of training `updates`, `seconds`, and
  `OBJECTIVE/nll` (nats a token at the end, as `log_lines.end` has it); of
  evaluation `SPLIT/success`, `SPLIT/low`, `SPLIT/high` (95% interval),
  `SPLIT/n` tasks that were asked, of which `SPLIT/set_aside` count as not
  solved, `SPLIT/panel` (runs with another one there do not compare), and alike
  `outcome/exact` of held-out outcomes, with `outcome/nll`. Of the dev panel
  SPLIT is `seen:dev`, of three samples that vote `seen:vote3`, and of others
  alike.

  Raises:
    UserError: there is no sweep, or a file is damaged.
  """
  found = []
  for run in runs_of(workdir):
    name, policy = run['name'], run['policy']
    state = _state(pathlib.Path(workdir) / RUNS / name)
    for home, overrides in homes(workdir, run):
      found.append(
        {'run': name, 'state': state}
        | overrides
        | _trained(home, policy)
        | _evaluated(home, policy)
      )
  return found


def write(workdir) -> str:
  """Writes table.csv; returns the same, shorter, as aligned text."""
  found = rows(workdir)
  text = io.StringIO()
  writer = csv.DictWriter(text, _columns(found), lineterminator='\n')
  writer.writeheader()
  writer.writerows(found)
  files.write_atomic(pathlib.Path(workdir) / TABLE, text.getvalue())
  lines = [_short(row) for row in found]
  columns = _columns(lines)
  table = [columns, *([line.get(c, '') for c in columns] for line in lines)]
  widths = [max(map(len, column)) for column in zip(*table, strict=True)]
  lines = [
    '  '.join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip()
    for line in table
  ]
  return '\n'.join([*lines, *_incomparable(found)])


def _incomparable(found):
  """A line for each split of which runs were asked other tasks."""
  for column in _columns(found):
    if not column.endswith('/panel'):
      continue
    runs = {row[column]: row['run'] for row in found if column in row}
    if len(runs) > 1:
      yield (
        f'{column.removesuffix("/panel")}: the runs were not all asked the same'
        f' tasks, so their rates do not compare: see {column} in {TABLE}'
      )


def _state(folder):
  if (folder / FAILURE).exists():
    return 'failed'
  if stage.finished(folder) is not None:
    return 'finished'
  return 'begun' if folder.is_dir() else 'waiting'


def _trained(folder, policy):
  last = log_lines.end(report_data.metrics(folder, policy))
  if last is None:
    return {}
  nll = {f'{o}/nll': last.get(f'{o}/nll') for o in OBJECTIVES}
  return {
    'updates': last['step'],
    'seconds': last.get('seconds'),
    **{key: value for key, value in nll.items() if value is not None},
  }


def _evaluated(folder, policy):
  found = {}
  for name, summary in results.evaluations(folder).items():
    whose = summary.get('name', name)
    if whose not in (policy, panel.after_rl(policy)):
      continue
    way = name.removeprefix(whose).removeprefix('-')  # a panel, or samples
    if whose != policy:
      way = '-'.join(filter(None, ('rl', way)))
    for split, counts in summary['splits'].items():
      group = f'{split}:{way}' if way else split
      success = counts['success']
      found |= _interval(f'{group}/success', group, success)
      found[f'{group}/set_aside'] = success['set_aside']
      found[f'{group}/panel'] = counts['panel']
    if world := summary.get('world_model'):
      group = 'outcome' if whose == policy else 'outcome:rl'
      found |= _interval(f'{group}/exact', group, world['exact_match'])
      found[f'{group}/nll'] = world['nll']
  return found


def _interval(key, group, rate):
  return {
    key: rate['rate'],
    **{f'{group}/{part}': rate[part] for part in ('low', 'high', 'n')},
  }


def _columns(found):
  return list(dict.fromkeys(key for row in found for key in row))


def _short(row):
  """A row's cells for the eye; what the run's name says is left out."""
  cells = {'run': row['run'], 'state': row['state']}
  for key, value in row.items():
    if key in (ROUND, 'updates'):
      cells[key] = str(value)
    elif key.endswith('/nll'):
      cells[key] = f'{value:.3f}'
    elif key.endswith(('/success', '/exact')):
      group = key.split('/')[0]
      low, high, n = (row[f'{group}/{end}'] for end in ('low', 'high', 'n'))
      cells[key] = f'{value:.1%} [{low:.1%}, {high:.1%}] of {n}'
      if aside := row.get(f'{group}/set_aside'):
        cells[key] += f', {aside} set aside'
  return cells
