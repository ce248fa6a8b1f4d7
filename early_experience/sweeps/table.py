"""The table of a sweep: a row for each run, whatever has been done of it."""

import csv
import io
import pathlib

from early_experience.experience.render import OBJECTIVES
from early_experience.reporting import report_data
from early_experience.runtime import files, stage
from early_experience.runtime.errors import UserError
from early_experience.sweeps.folder import FAILURE, RUNS, SWEEP

TABLE = 'table.csv'


def rows(workdir) -> list[dict]:
  """A row for each run of a sweep, in its order, whatever has been done.

  Keys: `run`, `state` (finished | failed | begun | waiting), the overrides;
  of training `updates`, `seconds`, and `OBJECTIVE/nll` (nats a token, where it
  stands); of evaluation `SPLIT/success`, `SPLIT/low`, `SPLIT/high` (95%
  interval), `SPLIT/n`, and alike `outcome/exact` of held-out outcomes, with
  `outcome/nll`.

  Raises:
    UserError: there is no sweep, or a file is damaged.
  """
  workdir = pathlib.Path(workdir)
  if not (workdir / SWEEP).is_file():
    raise UserError(f'{workdir} holds no sweep: it has no {SWEEP}')
  sweep = files.read_json(workdir / SWEEP)
  found = []
  for run in sweep['runs']:
    folder = workdir / RUNS / run['name']
    found.append(
      {
        'run': run['name'],
        'state': _state(folder),
        **run['overrides'],
        **_trained(folder, run['policy']),
        **_evaluated(folder, run['policy']),
      }
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
  return '\n'.join(
    '  '.join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip()
    for line in table
  )


def _state(folder):
  if (folder / FAILURE).exists():
    return 'failed'
  if stage.finished(folder) is not None:
    return 'finished'
  return 'begun' if folder.is_dir() else 'waiting'


def _trained(folder, policy):
  log = report_data.metrics(folder, policy)
  if not log:
    return {}
  last = log[-1]
  nll = {f'{o}/nll': last.get(f'{o}/nll') for o in OBJECTIVES}
  return {
    'updates': last['step'],
    'seconds': last.get('seconds'),
    **{key: value for key, value in nll.items() if value is not None},
  }


def _evaluated(folder, policy):
  summary = report_data.evaluations(folder).get(policy)
  if summary is None:
    return {}
  found = {}
  for split, counts in summary['splits'].items():
    found |= _interval(f'{split}/success', split, counts['success'])
  if world := summary.get('world_model'):
    found |= _interval('outcome/exact', 'outcome', world['exact_match'])
    found['outcome/nll'] = world['nll']
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
    if key == 'updates':
      cells[key] = str(value)
    elif key.endswith('/nll'):
      cells[key] = f'{value:.3f}'
    elif key.endswith(('/success', '/exact')):
      low, high = (row[f'{key.split("/")[0]}/{end}'] for end in ('low', 'high'))
      cells[key] = f'{value:.1%} [{low:.1%}, {high:.1%}]'
  return cells
