"""What there is to know of every environment, whether or not it is here."""

import contextlib
import textwrap

from ml_collections import ConfigDict

from early_experience.config import default
from early_experience.envs import registry
from early_experience.runtime.errors import UserError
from early_experience.work import units, workers

_HEAD = ('environment', 'tasks', 'branches by', 'expert', 'licence')


def described(names: list[str], timeout_seconds: float = 120.0) -> list[dict]:
  """`describe` of each in a process of its own, whatever one of them does."""
  cluster = default().cluster
  cluster.update(unit_timeout_seconds=timeout_seconds, tries=1)
  found = []
  for name, result in workers.run(describe, names, cluster, len(names)):
    if isinstance(result, units.Failure):
      result = {'name': name, 'note': f'{result.reason}: {result.error}'}
    found.append(result)
  return found


def describe(name: str) -> dict:
  """What a user has to know of an environment.

  Returns:
    `name`; `tasks` by split, where it can be made as it is; `branching`,
    `expert`, `licence`; and `note`: its source, or what it needs.
  """
  kind = registry.kind_of(name)
  found = {
    'name': name,
    'branching': kind.branching,
    'expert': kind.expert_name or 'none',
    'licence': kind.licence,
  }
  if registry.missing(kind):
    return found | {'note': f'not installed; run: {kind.install}'}
  try:
    with contextlib.closing(
      registry.make(ConfigDict({'name': name, 'kwargs': {}}))
    ) as env:
      tasks = {split: len(env.tasks(split)) for split in env.splits}
      return found | {'tasks': tasks, 'note': f'installed: {env.source}'}
  except UserError as error:
    return found | {'note': f'installed, but {error}'}
  except Exception as error:
    return found | {'note': f'broken: {units.in_a_line(error)}'}


def table(found: list[dict], width: int) -> str:
  """The environments as aligned text, each with a note below.

  Args:
    found: of `describe`.
    width: of the terminal, in columns.
  """
  rows = [_HEAD, *map(_row, found)]
  widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD) - 1)]
  lines = []
  for row, one in zip(rows, [{}, *found], strict=True):
    cells = [c.ljust(w) for c, w in zip(row[:-1], widths, strict=True)]
    lines.append('  '.join([*cells, row[-1]]).rstrip())
    lines += textwrap.wrap(
      one.get('note', ''),
      max(width, 60),
      initial_indent='    ',
      subsequent_indent='    ',
      break_long_words=False,
      break_on_hyphens=False,
    )
  return '\n'.join(lines)


def _row(one):
  tasks = one.get('tasks', {})
  return (
    one['name'],
    ', '.join(f'{split} {count:,}' for split, count in tasks.items()) or '-',
    one.get('branching', '-'),
    one.get('expert', '-'),
    one.get('licence', '-'),
  )
