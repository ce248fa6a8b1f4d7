"""Runs the jobs of a sweep on this machine, some of them side by side."""

import concurrent.futures
import pathlib
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from early_experience.runtime import process
from early_experience.runtime.cluster import AGAIN
from early_experience.runtime.errors import UserError
from early_experience.sweeps import folder, table
from early_experience.sweeps.folder import Job

_TRIES = 20  # of one stage that says so


class Children:
  """The processes under way; once stopped, no more are started."""

  def __init__(self):
    self._lock = threading.RLock()  # signals come while others are handled
    self._running = set()
    self.stopped = self.by_hand = False

  def run(self, command: list[str], log) -> int:
    """Runs a command to its end; returns its exit code, AGAIN if stopped."""
    with self._lock:
      if self.stopped:
        return AGAIN
      child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT if log else None,
        start_new_session=True,  # a Ctrl-C is for us, who ask them to save
      )
      self._running.add(child)
    code = child.wait()
    with self._lock:
      self._running.discard(child)
    return code

  def stop(self, number: int) -> None:
    """Asks all to save and leave.

    Of a signal: the main thread runs no commands, whose lock it would wait for
    here.
    """
    with self._lock:
      self.stopped = True
      self.by_hand |= number == signal.SIGINT
      for child in self._running:
        child.send_signal(signal.SIGTERM)


def run(
  jobs: Sequence[Job],
  workdir: pathlib.Path,
  side_by_side: int,
  arguments: Sequence[str],
  logged: bool,
) -> int:
  """Does what is left of the jobs, the shared stages first.

  Args:
    jobs: of `folder.jobs`.
    workdir: of the sweep.
    side_by_side: jobs at a time.
    arguments: for every stage, beside its config and workdir.
    logged: each job prints into a file of its own, and its stages are started
      again where they ask for it; else the scheduler does both.

  Returns:
    1 where a job failed; where it was told to stop 130 after a Ctrl-C, else
    AGAIN; else 0.

  Raises:
    UserError: the shared stages failed.
  """
  children = Children()
  with process.noted(children.stop, *process.ASKING):
    return _run(list(jobs), workdir, side_by_side, children, arguments, logged)


def _run(jobs, workdir, side_by_side, children, arguments, logged):
  def do(job):
    return _do(job, workdir, children, arguments, logged)

  with concurrent.futures.ThreadPoolExecutor(side_by_side) as pool:
    shared = len(jobs) > 1 and jobs[0].index == folder.SHARED
    if shared and (message := pool.submit(do, jobs.pop(0)).result()):
      raise UserError(f'shared stages: {message}')
    messages = list(pool.map(do, jobs))
  failures = {
    job.name: message
    for job, message in zip(jobs, messages, strict=True)
    if message
  }
  print(table.write(workdir))
  print(f'table: {workdir / table.TABLE}')
  for name, message in failures.items():
    print(f'failed: {name}: {message}', file=sys.stderr)
  if children.stopped:
    print('stopped: the same command goes on', file=sys.stderr)
    return 130 if children.by_hand else AGAIN
  return 1 if failures else 0


def _do(job, workdir, children, arguments, logged):
  """Does what is left of a job; returns why it failed, None if it did not."""
  if children.stopped:
    return None
  if folder.is_finished(job):
    print(f'{job.name}: finished before', flush=True)
    return None
  start = time.monotonic()
  print(f'{job.name}: {", ".join(job.stages)}', flush=True)
  try:
    folder.link(workdir, job)
    for number, stage in enumerate(job.stages):
      command = [sys.executable, '-m', f'early_experience.{stage}']
      command += [*job.run.flags, f'--workdir={job.folder}', *arguments]
      if stage == 'evaluate' and 'rl' in job.stages[:number]:
        command.append('--config.evaluate.policy=rl')
      message = (_logged if logged else _once)(command, job, children)
      if children.stopped:
        return None
      if message:
        folder.fail(job, f'{stage}: {message}')
        return f'{stage}: {message}'
    folder.finish(job)
  except UserError as error:
    folder.fail(job, str(error))
    return str(error)
  seconds = time.monotonic() - start
  print(f'{job.name}: finished in {seconds:.0f} s', flush=True)
  return None


def _once(command, _, children):
  """Runs a stage; a scheduler keeps what it prints, and tries again."""
  code = children.run(command, None)
  children.stopped |= code == AGAIN
  return _how(code)


def _logged(command, job, children):
  """Runs a stage to its end, again where it asks for it."""
  path = job.folder / 'log.txt'
  with open(path, 'a', encoding='utf-8') as log:
    for _ in range(_TRIES):
      log.write(f'+ {shlex.join(command)}\n')
      log.flush()
      code = children.run(command, log)
      if code != AGAIN or children.stopped:
        break
      time.sleep(1)
  return f'{_how(code)}: {_last_line(path)} ({path})' if code else ''


def _how(code):
  """What an exit code says; '' where all is well."""
  if not code:
    return ''
  return f'exit code {code}' if code > 0 else f'signal {-code}'


def _last_line(path):
  text = path.read_text(encoding='utf-8', errors='replace').strip()
  return text.splitlines()[-1] if text else ''
