"""Workdirs in a workdir: of what came first, and of rounds."""

import itertools
import pathlib

from early_experience.runtime import stage

FIRST = 'first'  # the workdir of what a quickstart goes on from


def folder(workdir, number: int) -> pathlib.Path:
  """The workdir of a round, from 1."""
  return pathlib.Path(workdir) / f'round-{number}'


def names(workdir) -> list[str]:
  """Of the rounds that have begun, in order."""
  there = (folder(workdir, number) for number in itertools.count(1))
  return [path.name for path in itertools.takewhile(pathlib.Path.is_dir, there)]


def homes(workdir) -> list[str]:
  """All workdirs in a workdir by their way, '' for itself."""
  first = pathlib.Path(workdir, FIRST)
  before = homes(first) if first.is_dir() else ()
  within = [str(pathlib.Path(FIRST, home)) for home in before]
  return ['', *within, *names(workdir)]


def stage_of(kind: str, name: str) -> str:
  """Where a policy's stage is in the workdir, as `round-2/train/joint`.

  Args:
    kind: `train`, `rl` or `evaluate`.
    name: of the policy, with its round, as `round-2/joint`.
  """
  return str(pathlib.PurePath(name).parent / kind / name.split('/')[-1])


def over_rounds(workdir, results: dict[str, dict]) -> list[dict]:
  """What each round came to, on each split.

  Args:
    workdir: of all rounds.
    results: as `results.evaluations` returns them.

  Returns:
    For each evaluation of a round: `evaluation`, `round`, `split`, its rate,
    and what it learnt from: `trajectories`, `states` of the expert's own
    episodes, `asked`: states of policies' for which it was asked, and
    `branches`.
  """
  found = []
  for number, home in enumerate(names(workdir), 1):
    gathered = stage.finished(folder(workdir, number) / 'collect') or {}
    explored = stage.finished(folder(workdir, number) / 'explore') or {}
    asked = gathered.get('asked', 0)
    learnt = {
      'trajectories': explored.get('trajectories'),
      # Less those of policies: older explorations have not counted them.
      'states': explored.get('states', asked) - explored.get('asked', asked),
      'asked': asked,
      'branches': explored.get('branches'),
    }
    for name, of in results.items():
      if name.startswith(f'{home}/'):
        for split, counts in of['splits'].items():
          at = {'evaluation': name, 'round': number, 'split': split}
          found.append(at | learnt | counts['success'])
  return found
