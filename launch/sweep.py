r"""Runs the sweep of a config file: here, on Slurm or Kubernetes, or prints it.

  python launch/sweep.py --config=configs/tiny.py --workdir=runs/sweep
  python launch/sweep.py --config=... --workdir=... --to=slurm -- \
      --gpus-per-node=1 --time=4:00:00

The same command again skips finished runs and continues the others. Stages
that come out the same in every run are done once, in WORKDIR/shared. What
stands behind `--` goes to slurm.sh or gke_xpk.sh as it is.
"""

import os
import pathlib
import shlex
import sys

from absl import app, flags

from early_experience.runtime import paths, process
from early_experience.runtime.errors import UserError
from early_experience.sweeps import folder, here, submit, table
from early_experience.sweeps.runs import STAGES as ALL_STAGES
from early_experience.sweeps.runs import expand

CONFIG = flags.DEFINE_string('config', None, 'configs/NAME.py[:recipe]')
WORKDIR = flags.DEFINE_string('workdir', None, 'folder of the sweep')
TO = flags.DEFINE_enum(
  'to',
  'local',
  ['local', 'slurm', 'xpk', 'commands', 'table'],
  'who runs it; commands: print a line for each run; table: print the table',
)
STAGES = flags.DEFINE_list('stages', list(ALL_STAGES), 'of each run, in order')
SHARED = flags.DEFINE_list(
  'shared',
  None,
  'stages to do once for all runs, which may then differ in their seed, but in'
  ' nothing else that these stages read. Default: those that no run changes, of'
  ' --stages and of what is in WORKDIR/shared',
)
INDEX = flags.DEFINE_string(
  'index',
  '',
  'only this run: its number, `shared`, or the name of an environment variable'
  ' with the number, as SLURM_ARRAY_TASK_ID or SLURM_ARRAY_TASK_ID+1001',
)
JOBS = flags.DEFINE_integer('jobs', 1, 'local runs side by side', lower_bound=1)
YES = flags.DEFINE_bool('yes', False, 'to give the stages')
DRY_RUN = flags.DEFINE_bool('dry_run', False, 'print what would be submitted')

HERE = pathlib.Path(__file__).resolve().parent


def main(argv: list[str]) -> int:
  """Does what the flags say; returns the exit code."""
  for flag in (CONFIG, WORKDIR):
    if not flag.value:
      raise UserError(f'--{flag.name} is missing; see --help')
  config = paths.given(CONFIG.value, '--config')
  workdir = pathlib.Path(paths.given(WORKDIR.value, '--workdir'))
  if TO.value not in ('slurm', 'xpk'):
    if argv[1:]:
      raise UserError(f'unexpected argument {argv[1]!r}')
    if DRY_RUN.value:
      raise UserError('--dry_run is for --to=slurm and xpk; see --to=commands')
  if TO.value == 'table':
    print(table.write(workdir))
    return 0
  runs = expand(config)
  jobs = folder.jobs(workdir, runs, STAGES.value, SHARED.value, _index())
  if TO.value == 'commands':
    for job in jobs:
      print(f'# {job.name}\n{shlex.join(_command(job.index))}')
    return 0
  scheduler = submit.Scheduler(HERE, _command, argv[1:], DRY_RUN.value)
  if TO.value == 'xpk':  # its disks are not here
    return scheduler.xpk(jobs, config, WORKDIR.value)
  if not DRY_RUN.value:
    folder.begin(workdir, config, runs)
  if TO.value == 'slurm':
    return scheduler.slurm(jobs)
  arguments = ['--yes'] * YES.value
  return here.run(jobs, workdir, JOBS.value, arguments, not INDEX.value)


def _index():
  """What --index chooses: a number, or `shared`; '' for all."""
  given = INDEX.value
  if not given or given == 'shared' or given.isdigit():
    return given
  name, _, more = given.partition('+')
  number = os.environ.get(name, '')
  if not number:
    raise UserError(f'--index={given}: no number, and no variable of this name')
  if not number.isdecimal() or (more and not more.isdecimal()):
    raise UserError(f'--index={given}: {name} = {number!r} gives no number')
  return str(int(number) + int(more or 0))


def _command(index, python=sys.executable):
  """That does a job, in this repository where `python` is that of another.

  A job of Slurm runs in it too, and a line may be pasted anywhere.
  """
  given = [
    f'--{flag.name}={",".join(flag.value)}'
    for flag in (STAGES, SHARED)
    if flag.present
  ]
  given += ['--yes'] * YES.value
  script, config, workdir = 'launch/sweep.py', CONFIG.value, WORKDIR.value
  if python == sys.executable and pathlib.Path.cwd() != HERE.parent:
    script = str(HERE / 'sweep.py')
    config, workdir = map(os.path.abspath, (config, workdir))
  own = [f'--config={config}', f'--workdir={workdir}']
  return [python, script, *own, *given, f'--index={index}']


if __name__ == '__main__':
  process.start()
  sys.path.insert(0, os.getcwd())  # as `python -m` does, for config files
  app.define_help_flags()
  try:
    sys.exit(main(flags.FLAGS(sys.argv)))
  except (UserError, flags.Error) as error:
    print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
    sys.exit(1)
