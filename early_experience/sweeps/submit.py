"""Hands the jobs of a sweep to a scheduler, by the scripts in `launch/`."""

import dataclasses
import hashlib
import pathlib
import re
import subprocess
import sys
from collections.abc import Callable, Sequence

from early_experience.sweeps.folder import SHARED, Job, is_finished

_MAX_ARRAY_SIZE = 1001  # of Slurm, where its settings say nothing


@dataclasses.dataclass(frozen=True)
class Scheduler:
  """How jobs are submitted.

  Attributes:
    scripts: folder of `slurm.sh` and `gke_xpk.sh`.
    command: that does the job of an index, which may be the name of an
      environment variable; by a given interpreter.
    arguments: of the script, as the user gave them.
    dry_run: print what would be submitted.
  """

  scripts: pathlib.Path
  command: Callable[[str, str], list[str]]
  arguments: Sequence[str]
  dry_run: bool

  def _submit(self, script, verb, own, index, python=sys.executable):
    return [
      *('bash', f'{self.scripts}/{script}', verb),
      *['--dry_run'] * self.dry_run,
      *(*own, *self.arguments, '--', *self.command(index, python)),
    ]

  def slurm(self, jobs: Sequence[Job]) -> int:
    """Submits the runs that are not finished as one array, or as few as can be.

    Returns:
      The exit code of the last submission.
    """
    jobs = [job for job in jobs if not is_finished(job)]
    after = []
    if jobs and jobs[0].index == SHARED:
      jobs.pop(0)
      command = self._submit('slurm.sh', 'submit', [], SHARED)
      done = subprocess.run(command, stdout=subprocess.PIPE, encoding='utf-8')
      print(done.stdout, end='', flush=True)  # before what sbatch prints next
      if done.returncode:
        return done.returncode
      # `sbatch --parsable` prints the job, or the job;cluster
      number = 'SHARED' if self.dry_run else done.stdout.strip().split(';')[0]
      after = [f'--dependency=afterok:{number}', '--kill-on-invalid-dep=yes']
    if not jobs:
      return 0
    most, arrays = _most_tasks(), {}
    for job in jobs:
      block, place = divmod(int(job.index), most)
      arrays.setdefault(block, []).append(str(place))
    for block, places in arrays.items():
      index = 'SLURM_ARRAY_TASK_ID' + f'+{block * most}' * (block > 0)
      array = f'--array={",".join(places)}'
      command = self._submit('slurm.sh', 'submit', [array, *after], index)
      if code := subprocess.run(command).returncode:
        return code
    return 0

  def xpk(self, jobs: Sequence[Job], config: str, workdir: str) -> int:
    """Submits each run as a workload; nothing orders workloads.

    Args:
      jobs: all of the sweep, or those that are wanted.
      config: of the sweep; it and the workdir name its workloads.
      workdir: of the sweep.

    Returns:
      The exit code of the last submission.
    """
    if len(jobs) > 1 and jobs[0].index == SHARED:
      jobs = jobs[1:]
      print(
        f'the runs share {", ".join(jobs[0].links)}: submit --index=shared'
        ' first, and these when it is done',
        file=sys.stderr,
      )
    digest = hashlib.sha256(f'{config} {workdir}'.encode()).hexdigest()[:6]
    stem = pathlib.Path(config.partition(':')[0]).stem
    stem = re.sub('[^a-z0-9]+', '-', stem.lower()).strip('-')[:16]
    for job in jobs:
      name = f'--workload=sweep-{stem}-{digest}-{job.index}'
      command = self._submit('gke_xpk.sh', 'run', [name], job.index, 'python')
      if code := subprocess.run(command).returncode:
        return code
    return 0


def _most_tasks() -> int:
  """One more than the last number that a task of an array may have."""
  try:
    done = subprocess.run(
      ['scontrol', 'show', 'config'], capture_output=True, encoding='utf-8'
    )
  except OSError:  # a dry run, elsewhere
    return _MAX_ARRAY_SIZE
  found = re.search(r'^MaxArraySize\s*=\s*([1-9]\d*)', done.stdout, re.M)
  return int(found[1]) if found else _MAX_ARRAY_SIZE
