"""Runs the sweep of a config file: here, on Slurm, on Kubernetes, or prints it.

  python launch/sweep.py --config=configs/tiny.py --workdir=runs/sweep
  python launch/sweep.py --config=... --workdir=... --to=slurm -- \
      --gpus-per-node=1 --time=4:00:00

The same command again skips finished runs and continues the others. Stages
that come out the same in every run are done once, in WORKDIR/shared. What
stands behind `--` goes to slurm.sh or gke_xpk.sh as it is.
"""

import concurrent.futures
import hashlib
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import threading
import time

from absl import app, flags

from early_experience import sweep_folder, sweeps
from early_experience.errors import UserError

CONFIG = flags.DEFINE_string('config', None, 'configs/NAME.py[:recipe]')
WORKDIR = flags.DEFINE_string('workdir', None, 'folder of the sweep')
TO = flags.DEFINE_enum(
  'to',
  'local',
  ['local', 'slurm', 'xpk', 'commands', 'table'],
  'who runs it; commands: print a line for each run; table: print the table',
)
STAGES = flags.DEFINE_list(
  'stages', list(sweeps.STAGES), 'of each run, in order'
)
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
  ' with the number, as SLURM_ARRAY_TASK_ID',
)
JOBS = flags.DEFINE_integer('jobs', 1, 'local runs side by side', lower_bound=1)
YES = flags.DEFINE_bool('yes', False, 'to give the stages')
DRY_RUN = flags.DEFINE_bool('dry_run', False, 'print what would be submitted')

AGAIN = 75  # exit code of a stage: the same command will go on
TRIES = 20  # of one stage that says so, on this machine
HERE = pathlib.Path(__file__).parent


class Children:
  """The processes under way; once stopped, no more are started."""

  def __init__(self):
    self._lock = threading.RLock()  # signals come while others are handled
    self._running = set()
    self.stopped = False

  def run(self, command: list[str], log) -> int:
    """Runs a command to its end; returns its exit code, AGAIN if stopped."""
    with self._lock:
      if self.stopped:
        return AGAIN
      process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT if log else None,
        start_new_session=True,  # a Ctrl-C is for us, who ask them to save
      )
      self._running.add(process)
    code = process.wait()
    with self._lock:
      self._running.discard(process)
    return code

  def stop(self, *_) -> None:
    """Asks all to save and leave.

    A signal handler: the main thread runs no commands, whose lock it would wait
    for here.
    """
    with self._lock:
      self.stopped = True
      for process in self._running:
        process.send_signal(signal.SIGTERM)


def main(argv: list[str]) -> int:
  """Does what the flags say; returns the exit code."""
  for flag in (CONFIG, WORKDIR):
    if not flag.value:
      raise UserError(f'--{flag.name} is missing; see --help')
  workdir = pathlib.Path(WORKDIR.value)
  if TO.value not in ('slurm', 'xpk'):
    if argv[1:]:
      raise UserError(f'unexpected argument {argv[1]!r}')
    if DRY_RUN.value:
      raise UserError('--dry_run is for --to=slurm and xpk; see --to=commands')
  if TO.value == 'table':
    print(sweep_folder.write_table(workdir))
    return 0
  runs = sweeps.expand(CONFIG.value)
  jobs = sweep_folder.jobs(workdir, runs, STAGES.value, SHARED.value, _index())
  if TO.value == 'commands':
    for job in jobs:
      print(f'# {job.name}\n{shlex.join(_command(job.index))}')
    return 0
  if TO.value == 'xpk':  # its disks are not here
    return _xpk(jobs, argv[1:])
  if not DRY_RUN.value:
    sweep_folder.begin(workdir, CONFIG.value, runs)
  if TO.value == 'slurm':
    return _slurm(jobs, argv[1:])
  return _local(jobs, workdir)


def _index():
  """What --index chooses: a number, or `shared`; '' for all."""
  given = INDEX.value
  if not given or given == 'shared' or given.isdigit():
    return given
  if not os.environ.get(given):
    raise UserError(f'--index={given}: no number, and no variable of this name')
  return os.environ[given]


def _command(index, python=sys.executable):
  given = [
    f'--{flag.name}={",".join(flag.value)}'
    for flag in (STAGES, SHARED)
    if flag.present
  ]
  given += ['--yes'] * YES.value
  own = [f'--config={CONFIG.value}', f'--workdir={WORKDIR.value}']
  return [python, 'launch/sweep.py', *own, *given, f'--index={index}']


def _local(jobs, workdir):
  """Runs the jobs here; returns 1 where one failed, AGAIN if stopped."""
  children = Children()
  for name in (signal.SIGTERM, signal.SIGINT):
    signal.signal(name, children.stop)
  with concurrent.futures.ThreadPoolExecutor(JOBS.value) as pool:
    if len(jobs) > 1 and jobs[0].index == 'shared':
      message = pool.submit(_do, jobs.pop(0), children).result()
      if message:
        raise UserError(f'shared stages: {message}')
    results = pool.map(lambda job: _do(job, children), jobs)
    failures = {
      job.name: message
      for job, message in zip(jobs, results, strict=True)
      if message
    }
  print(sweep_folder.write_table(workdir))
  print(f'table: {workdir / sweep_folder.TABLE}')
  for name, message in failures.items():
    print(f'failed: {name}: {message}', file=sys.stderr)
  if children.stopped:
    print('stopped: the same command goes on', file=sys.stderr)
    return AGAIN
  return 1 if failures else 0


def _do(job, children):
  """Does what is left of a job; returns why it failed, None if it did not."""
  if children.stopped:
    return None
  if sweep_folder.is_finished(job):
    print(f'{job.name}: finished before', flush=True)
    return None
  start = time.monotonic()
  print(f'{job.name}: {", ".join(job.stages)}', flush=True)
  try:
    sweep_folder.link(WORKDIR.value, job)
    for stage in job.stages:
      message = _stage(job, stage, children)
      if message:
        sweep_folder.fail(job, message)
        return message
      if children.stopped:
        return None
    sweep_folder.finish(job)
  except UserError as error:
    return str(error)
  seconds = time.monotonic() - start
  print(f'{job.name}: finished in {seconds:.0f} s', flush=True)
  return None


def _stage(job, stage, children):
  """Runs a stage to its end; returns why it failed."""
  command = [sys.executable, '-m', f'early_experience.{stage}']
  command += [*job.run.flags, f'--workdir={job.folder}']
  command += ['--yes'] * YES.value
  if INDEX.value:  # the scheduler keeps what is printed, and tries again
    code = children.run(command, None)
    children.stopped |= code == AGAIN
    ends = ''
  else:
    with open(job.folder / 'log.txt', 'a') as log:
      for _ in range(TRIES):
        log.write(f'+ {shlex.join(command)}\n')
        log.flush()
        code = children.run(command, log)
        if code != AGAIN or children.stopped:
          break
        time.sleep(1)
    ends = f': {_last_line(job.folder)} ({job.folder}/log.txt)'
  if code == 0 or children.stopped:
    return None
  how = f'exit code {code}' if code > 0 else f'signal {-code}'
  return f'{stage}: {how}{ends}'


def _last_line(folder):
  lines = (folder / 'log.txt').read_text(errors='replace').strip().splitlines()
  return lines[-1] if lines else ''


def _slurm(jobs, extra):
  """Submits the runs that are not finished as one array."""
  jobs = [job for job in jobs if not sweep_folder.is_finished(job)]
  after = []
  if jobs and jobs[0].index == 'shared':
    jobs.pop(0)
    command = _submit('slurm.sh', 'submit', extra, _command('shared'))
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    print(done.stdout, end='', flush=True)  # before what sbatch prints next
    if done.returncode:
      return done.returncode
    # `sbatch --parsable` prints the job, or the job;cluster
    number = 'SHARED' if DRY_RUN.value else done.stdout.strip().split(';')[0]
    after = [f'--dependency=afterok:{number}', '--kill-on-invalid-dep=yes']
  if not jobs:
    return 0
  array = ','.join(job.index for job in jobs)
  extra = [f'--array={array}', *after, *extra]
  command = _command('SLURM_ARRAY_TASK_ID')
  command = _submit('slurm.sh', 'submit', extra, command)
  return subprocess.run(command).returncode


def _xpk(jobs, extra):
  """Submits each run as a workload; nothing orders workloads."""
  if len(jobs) > 1 and jobs[0].index == 'shared':
    jobs = jobs[1:]
    print(
      f'the runs share {", ".join(jobs[0].links)}: submit --index=shared'
      ' first, and these when it is done',
      file=sys.stderr,
    )
  whole = f'{CONFIG.value} {WORKDIR.value}'
  digest = hashlib.sha256(whole.encode()).hexdigest()[:6]
  stem = pathlib.Path(CONFIG.value.partition(':')[0]).stem
  stem = re.sub('[^a-z0-9]+', '-', stem.lower()).strip('-')[:16]
  for job in jobs:
    name = f'--workload=sweep-{stem}-{digest}-{job.index}'
    command = _command(job.index, 'python')
    command = _submit('gke_xpk.sh', 'run', [name, *extra], command)
    if code := subprocess.run(command).returncode:
      return code
  return 0


def _submit(script, verb, extra, command):
  dry = ['--dry_run'] if DRY_RUN.value else []
  return ['bash', f'{HERE}/{script}', verb, *dry, *extra, '--', *command]


if __name__ == '__main__':
  sys.path.insert(0, os.getcwd())  # as `python -m` does, for config files
  app.define_help_flags()
  try:
    sys.exit(main(flags.FLAGS(sys.argv)))
  except (UserError, flags.Error) as error:
    print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
    sys.exit(1)
