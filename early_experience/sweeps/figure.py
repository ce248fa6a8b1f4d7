"""The figure of a study."""

import textwrap
from collections.abc import Sequence

from early_experience.runtime.errors import need_extra


def of(rows: list[dict], keys: Sequence[str]):
  """Success with its 95% intervals, a panel for each split.

  Over the override that varies and is a number, with bands, if others only
  vary with it; who does not have it is level. Else a point for each setting,
  which stands below it.

  Args:
    rows: as `studies.rows` makes them.
    keys: the columns that are overrides.

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
  axis = _axis(rows, keys)
  settings = list(dict.fromkeys(_setting(row, keys) for row in rows))
  width = 4.2 if axis else max(4.2, 0.8 * len(settings))
  drawn = figure.Figure((width * len(splits), 3.2), layout='constrained')
  panels = drawn.subplots(1, len(splits), squeeze=False, sharey=True)[0]
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
        at = [settings.index(_setting(row, keys)) for row in own]
        axes.vlines(at, low, high, color=color)
        axes.plot(at, rate, 'o', color=color, label=policy)
    axes.set_title(f'{split} tasks', fontsize='medium')
    axes.spines[['top', 'right']].set_visible(False)
    if axis:
      axes.set_xscale('log', base=2)
      axes.set_xticks(ticks, [f'{tick:g}' for tick in ticks])
      axes.set_xlabel(axis)
    else:
      names = ['\n'.join(textwrap.fill(t, 12) for t in s) for s in settings]
      axes.set_xticks(range(len(settings)), names, fontsize='small')
      axes.set_xlim(-0.5, len(settings) - 0.5)
  panels[0].set_ylim(0, None)  # of all, once all are drawn
  panels[0].set_ylabel('success, %')
  if axis:
    panels[-1].legend(frameon=False, fontsize='small')
  return drawn


def _setting(row, keys):
  """The policy, and what it was run with, as words."""
  given = (f'{key.split(".")[-1]} {row[key]}' for key in keys if key in row)
  return _words(row['policy']), *map(_words, given)


def _words(text):
  return text.translate(str.maketrans('_', ' ', "()[],'"))


def _axis(rows, keys):
  """The override that varies and is a number, if others only vary with it."""
  varying = []
  for key in keys:
    column = [row.get(key) for row in rows]
    try:
      numbers = {float(value) for value in column if value is not None}
    except (TypeError, ValueError):
      continue
    if len(numbers) > 1 and min(numbers) > 0:
      varying.append((key, column))
  if not varying:
    return None
  # A learning rate goes with what it is for.
  varying.sort(key=lambda one: one[0].startswith('budget.'))
  names, columns = zip(*varying, strict=True)
  together = len(set(zip(*columns, strict=True))) == len(set(columns[0]))
  return names[0] if together and _lines(rows, names[0]) else None


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
