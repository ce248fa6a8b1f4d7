"""What a sweep keeps in its workdir.

sweep.json           the config file, and the overrides of every run
shared/STAGE/        stages that are the same for all runs
runs/NAME/           the workdir of a run; summary.json once it is finished,
                     failure.json where its last try failed
table.csv            a row for each run, see table.py
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence

from early_experience.reporting import round_folders
from early_experience.runtime import files, stage
from early_experience.runtime.errors import UserError
from early_experience.sweeps.runs import SHAREABLE, Run, check_shared, shareable

SWEEP, FAILURE = 'sweep.json', 'failure.json'
ROUND = 'round'  # beside the overrides, of runs in rounds
_REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
SHARED, RUNS, CACHE = 'shared', 'runs', 'jax_cache'


@dataclasses.dataclass(frozen=True)
class Job:
  """What one process of a sweep does: a run, or the shared stages.

  Attributes:
    index: number of the run, or `shared`.
    run: whose config is read.
    stages: to do, in order.
    folder: their workdir.
    links: the shared stages that the folder gets.
  """

  index: str
  run: Run
  stages: tuple[str, ...]
  folder: pathlib.Path
  links: tuple[str, ...] = ()

  @property
  def name(self) -> str:
    return SHARED if self.index == SHARED else self.run.name


def jobs(
  workdir,
  runs: Sequence[Run],
  stages: Sequence[str],
  shared: Sequence[str] | None = None,
  index: str = '',
) -> list[Job]:
  """The shared stages, where there are any, and the runs.

  Args:
    workdir: of the sweep.
    runs: all of them.
    stages: to do; an `evaluate` behind `rl` is of what that made.
    shared: those to do once; None: those that come out the same in every run,
      of `stages` and of what is finished in the workdir.
    index: of the one job to return; '' for all.

  Raises:
    UserError: there is no such stage or job, or it cannot be shared.
  """
  for one in stages:
    known = (*SHAREABLE, 'train', 'rl', 'evaluate', 'rounds', 'report')
    if one not in known:
      raise UserError(f'--stages={one}: not one of {", ".join(known)}')
  folder = pathlib.Path(workdir) / SHARED
  if shared is None:
    shared = [
      one
      for one in shareable(runs)
      if one in stages or stage.finished(folder / one) is not None
    ]
  else:
    shared = [one for one in shared if one]
    check_shared(runs, shared)
  own = tuple(one for one in stages if one not in shared)
  once = tuple(one for one in stages if one in shared)
  found = [Job(SHARED, runs[0], once, folder)] if once else []
  found += [
    Job(str(i), run, own, folder.parent / RUNS / run.name, tuple(shared))
    for i, run in enumerate(runs)
  ]
  chosen = [job for job in found if index in ('', job.index)]
  if not chosen:
    raise UserError(
      f'--index={index}: this sweep has the runs 0 to {len(runs) - 1}'
      + (' and shared' if once else '')
    )
  return chosen


def begin(workdir, config: str, runs: Sequence[Run]) -> None:
  """Writes sweep.json; a sweep that has grown may go on in its workdir.

  Raises:
    UserError: the workdir is of another sweep, or of a single run.
  """
  workdir = pathlib.Path(workdir)
  path = workdir / SWEEP
  own = [
    {'name': r.name, 'policy': r.config.name, 'overrides': r.overrides}
    for r in runs
  ]
  new = {'config': _named(config), 'runs': own}
  new = json.loads(json.dumps(new))
  if path.exists():
    old = files.read_json(path)
    # As it was called from the folder that it was begun in.
    if old['config'] == os.path.normpath(config):
      new['config'] = old['config']
    if old == new:
      return
    names = {run.name for run in runs}
    others = [one['name'] for one in old['runs'] if one['name'] not in names]
    name = lambda one: os.path.basename(one['config'])  # it may be moved
    if name(old) != name(new) or others:
      lacks = f', with the run {others[0]!r}' if others else ''
      raise UserError(
        f'{workdir} holds another sweep, of {old["config"]}{lacks};'
        ' use another --workdir'
      )
  elif any((workdir / name).exists() for name in ('collect', 'train')):
    raise UserError(
      f'{workdir} is the workdir of a single run; use another --workdir'
    )
  files.write_json(path, new)


def runs_of(workdir) -> list[dict]:
  """`name`, `policy` and `overrides` of each run of a sweep, in its order.

  Raises:
    UserError: there is no sweep.
  """
  path = pathlib.Path(workdir) / SWEEP
  if not path.is_file():
    raise UserError(f'{workdir} holds no sweep: it has no {SWEEP}')
  return files.read_json(path)['runs']


def homes(workdir, run: dict) -> list[tuple[pathlib.Path, dict]]:
  """The workdirs of a run of `runs_of`: of each round, where it has some.

  Returns:
    Each with what it differs by: the overrides, and the number of its `round`.
  """
  home = pathlib.Path(workdir) / RUNS / run['name']
  rounds = round_folders.names(home)
  if not rounds:
    return [(home, run['overrides'])]
  return [
    (home / name, run['overrides'] | {ROUND: number})
    for number, name in enumerate(rounds, 1)
  ]


def _named(config):
  """A config file, from whichever folder it is called: as from the repository's
  where it lies there.
  """
  path = pathlib.Path(os.path.abspath(config))
  here = path.is_relative_to(_REPOSITORY)
  return str(path.relative_to(_REPOSITORY) if here else path)


def link(workdir, job: Job) -> None:
  """Gives a job its links, and the programs that others compiled.

  Raises:
    UserError: one of them is not finished, or the run has one of its own.
  """
  workdir = pathlib.Path(workdir)
  for one in job.links:
    if stage.finished(workdir / SHARED / one) is None:
      raise UserError(
        f'{workdir / SHARED / one} is not finished, and the runs share it:'
        ' run this sweep with --index=shared first'
      )
    _link(workdir / SHARED / one, job.folder / one)
  (workdir / CACHE).mkdir(parents=True, exist_ok=True)
  _link(workdir / CACHE, job.folder / CACHE)


def _link(source, place):
  place.parent.mkdir(parents=True, exist_ok=True)
  target = os.path.relpath(source, place.parent)  # the sweep may be moved
  try:
    os.symlink(target, place)
  except FileExistsError:
    if not place.is_symlink():
      raise UserError(
        f'{place} was made by this run alone, and is shared now: delete it,'
        ' or use --shared='
      ) from None


def is_finished(job: Job) -> bool:
  """Whether its stages were done with this very config."""
  summary = stage.finished(job.folder)
  return summary is not None and summary == _summary(job)


def finish(job: Job) -> None:
  (job.folder / FAILURE).unlink(missing_ok=True)
  stage.finish(job.folder, _summary(job))


def fail(job: Job, message: str) -> None:
  """Notes why the last try failed; the next one goes on all the same."""
  job.folder.mkdir(parents=True, exist_ok=True)
  files.write_json(job.folder / FAILURE, {'message': message})


def _summary(job):
  config = json.loads(job.run.config.to_json())
  return {'config': config, 'stages': list(job.stages)}
