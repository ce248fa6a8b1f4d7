"""Launchers: what they would run, to the letter, and what they refuse."""

import os
import pathlib
import shlex
import shutil
import subprocess

import pytest

from tests import waiting

ROOT = pathlib.Path(__file__).parent.parent
POD = ('--name=pod', '--zone=us-east5-b')
XPK = ('--cluster=c', '--workload=w', '--type=v6e-16')
TRAIN = ('python', '-m', 'early_experience.train', '--workdir=/mnt/run')
# What a shell would change, were it not quoted.
ODD = ("it's", 'a b', '$HOME', '(1,)', '"', '', '*', '\\', "--c='x'", '#')


def launch(script, *arguments, **env):
  shell = shutil.which('bash')
  return subprocess.run(
    [shell, f'launch/{script}', *arguments],
    cwd=ROOT,
    env={**os.environ, **env},
    capture_output=True,
    text=True,
  )


def dry_run(script, verb, *arguments):
  """The lines that a dry run prints, on a machine without any of the tools."""
  result = launch(script, verb, '--dry_run', *arguments, PATH='/usr/bin:/bin')
  assert result.returncode == 0, result.stderr
  assert result.stderr == ''
  return result.stdout.splitlines()


def test_a_pod_is_created_synced_and_installed():
  gcloud = 'gcloud compute tpus queued-resources'
  assert dry_run('tpu_pod.sh', 'create', *POD, '--type=v5litepod-256') == [
    f'{gcloud} create pod --zone=us-east5-b --accelerator-type=v5litepod-256'
    ' --runtime-version=v2-alpha-tpuv5-lite --node-id=pod --quiet',
    f"{gcloud} describe pod --zone=us-east5-b '--format=value(state.state)'",
  ]
  more = ('--slices=4', '--spot', '--project=p', '--more=--network=n --foo')
  assert dry_run('tpu_pod.sh', 'create', *POD, '--type=v6e-16', *more)[0] == (
    f'{gcloud} create pod --zone=us-east5-b --project=p'
    ' --accelerator-type=v6e-16 --runtime-version=v2-alpha-tpuv6e'
    ' --node-count=4 --node-prefix=pod --spot --network=n --foo --quiet'
  )
  everywhere = '--zone=us-east5-b --node=all --worker=all --quiet'
  tar, copy, unpack = dry_run('tpu_pod.sh', 'sync', *POD)
  assert tar == (
    'tar -czf /tmp/early_experience-pod.tgz --exclude=__pycache__ -C'
    f' {ROOT}/launch/.. setup.py README.md configs early_experience launch'
  )
  assert copy == (
    f'{gcloud} scp /tmp/early_experience-pod.tgz pod:early_experience.tgz'
    f' {everywhere}'
  )
  assert unpack == (
    f"{gcloud} ssh pod {everywhere} '--command=mkdir -p early_experience && cd"
    ' early_experience && rm -rf configs early_experience launch && tar -xzf'
    " ../early_experience.tgz'"
  )
  (install,) = dry_run('tpu_pod.sh', 'install', *POD)
  assert 'sh launch/setup.sh && .venv/bin/python -m pip install' in install
  (delete,) = dry_run('tpu_pod.sh', 'delete', *POD)
  assert delete == f'{gcloud} delete pod --zone=us-east5-b --force --quiet'


def test_a_pod_runs_logs_and_stops():
  gcloud = 'gcloud compute tpus queued-resources'
  ssh = f'{gcloud} ssh pod --zone=us-east5-b --node=all --worker=all --quiet'
  job = "'--command=cd early_experience && sh launch/job.sh"
  assert dry_run('tpu_pod.sh', 'run', *POD, '--', *TRAIN) == [
    f"{gcloud} describe pod --zone=us-east5-b '--format=value(state.state)'",
    f"{ssh} {job} start python -m early_experience.train --workdir=/mnt/run'",
    f"{ssh} {job} wait'",
  ]
  assert dry_run('tpu_pod.sh', 'stop', *POD) == [f"{ssh} {job} stop'"]
  assert dry_run('tpu_pod.sh', 'logs', *POD, '--lines=7') == [
    f'{gcloud} ssh pod --zone=us-east5-b --node=0 --worker=0 --quiet'
    f" {job} log 7'"
  ]


def test_kubernetes_runs_and_logs():
  place = '--cluster=c --zone=z --project=p'
  flags = (*XPK, '--zone=z', '--project=p')
  assert dry_run('gke_xpk.sh', 'create', *flags, '--slices=2', '--spot') == [
    f'xpk cluster create --tpu-type=v6e-16 --num-slices=2 --spot {place}'
  ]
  run = 'xpk workload create --workload=w --tpu-type=v6e-16 --num-slices=1'
  again = '--max-restarts=5 --restart-on-exit-codes=75'
  image = ('--image=gcr.io/x', '--max_restarts=5')
  assert dry_run('gke_xpk.sh', 'run', *flags, *image, '--', *TRAIN) == [
    f"{run} {again} --docker-image=gcr.io/x '--command={' '.join(TRAIN)}'"
    f' {place}'
  ]
  (line,) = dry_run('gke_xpk.sh', 'run', *flags, '--', *TRAIN)
  assert f'--base-docker-image=python:3.12 --script-dir={ROOT} ' in line
  assert shlex.split(line)[-4].endswith(f'&& exec {" ".join(TRAIN)}')
  assert dry_run('gke_xpk.sh', 'list', *XPK) == [
    'xpk workload list --cluster=c'
  ]
  assert dry_run('gke_xpk.sh', 'logs', *XPK) == [
    'xpk workload list --filter-by-job=w --cluster=c',
    'kubectl logs --selector=jobset.sigs.k8s.io/jobset-name=w,'
    'batch.kubernetes.io/job-completion-index=0 --all-containers --prefix'
    ' --tail=100',
  ]
  assert dry_run('gke_xpk.sh', 'delete', *XPK) == [
    'xpk workload delete --workload=w --force --cluster=c'
  ]


@pytest.mark.parametrize(
  'script',
  sorted({p.name for p in ROOT.glob('launch/*.sh')} - {'lib.sh', 'help.sh'}),
)
def test_help_is_the_head_of_a_script(script):
  said = launch(script, '--help')
  assert said.returncode == 0
  assert f'launch/{script} ' in said.stdout
  assert 'set -euo' not in said.stdout


def test_slurm_submits_and_cancels():
  flags = ('--processes=gpu', '--nodes=2', '--gpus-per-node=8')
  assert dry_run('slurm.sh', 'submit', *flags, '--', *TRAIN) == [
    'sbatch --parsable --output=slurm-%j.log --nodes=2 --gpus-per-node=8'
    f' --export=ALL,PROCESSES=gpu launch/slurm.sbatch {" ".join(TRAIN)}'
  ]
  (array,) = dry_run('slurm.sh', 'submit', '--array=0-3', '--', *TRAIN)
  assert '--output=slurm-%A_%a.log --array=0-3 ' in array
  (own,) = dry_run('slurm.sh', 'submit', '--export=ALL,A=/x', '--', *TRAIN)
  assert own.count('--export=') == 1
  assert ' --export=ALL,A=/x,PROCESSES=node launch/slurm.sbatch ' in own
  assert dry_run('slurm.sh', 'logs', '12_3') == [
    'tail -n 100 -F slurm-12_3.log'
  ]
  assert dry_run('slurm.sh', 'cancel', '12') == ['scancel 12']


@pytest.mark.parametrize(
  'env, tasks',
  [
    ({}, 1),
    ({'PROCESSES': 'gpu', 'SLURM_GPUS_ON_NODE': '8'}, 8),
    ({'PROCESSES': '4'}, 4),
  ],
)
@pytest.mark.parametrize(
  'nodes, cpus', [('16(x2),8,128', 8), ('64', 64), ('1(x4)', 1), ('', 0)]
)
def test_a_slurm_job_starts_one_process_a_node_or_a_gpu(
  env, tasks, nodes, cpus
):
  """With its share of the CPUs that the job has everywhere."""
  env = {'SLURM_JOB_CPUS_PER_NODE': nodes, **env}
  result = launch('slurm.sbatch', *TRAIN, DRY_RUN='1', **env)
  share = f' --cpus-per-task={max(1, cpus // tasks)}' if cpus else ''
  assert result.stdout == (
    f'srun --ntasks-per-node={tasks}{share} --kill-on-bad-exit=0 --wait=120'
    f' {" ".join(TRAIN)}\n'
  )


SLURM = {
  'srun': 'trap "sleep $SAVES; exit 75" TERM; echo $$ >$JOB.task\n'
  'for _ in $(seq 600); do sleep 0.05; done',
  'scancel': 'kill -TERM "$(cat $JOB.task)"; sleep "$CANCELS"',
  'squeue': 'echo RUNNING',
  'scontrol': 'echo "$@"; exit 1',
}


@pytest.mark.parametrize(
  'saves, cancels', [('1', '0'), ('0.1', '1'), ('0', '0.3')]
)
def test_a_slurm_job_that_is_preempted_is_queued_again(
  tmp_path, saves, cancels
):
  """Whichever ends first, its task or what tells that to save."""
  for name, text in SLURM.items():
    (tmp_path / name).write_text(f'#!/bin/bash\n{text}\n', encoding='utf-8')
    (tmp_path / name).chmod(0o755)
  job = tmp_path / 'job'
  process = subprocess.Popen(
    ['bash', 'launch/slurm.sbatch', 'true'],
    cwd=ROOT,
    env=os.environ
    | {
      'PATH': f'{tmp_path}:{os.environ["PATH"]}',
      'JOB': str(job),
      'SLURM_JOB_ID': '7',
      'SLURM_SUBMIT_DIR': str(ROOT),
      'SAVES': saves,
      'CANCELS': cancels,
    },
    stdout=subprocess.PIPE,
    text=True,
  )
  waiting.until(pathlib.Path(f'{job}.task').exists, 'task')
  process.terminate()
  said, _ = process.communicate(timeout=waiting.SECONDS)
  assert (said, process.returncode) == ('requeue 7\n', 75)


def test_what_is_printed_can_be_pasted():
  (sbatch,) = dry_run('slurm.sh', 'submit', '--', *ODD)
  assert tuple(shlex.split(sbatch)[-len(ODD) :]) == ODD
  pod = dry_run('tpu_pod.sh', 'run', *POD, '--', 'printf', r'%s\n', *ODD)[1]
  xpk = ('--image=i', '--', 'printf', r'%s\n', *ODD)
  (workload,) = dry_run('gke_xpk.sh', 'run', *XPK, *xpk)
  for line in (pod, workload):
    (command,) = (w for w in shlex.split(line) if w.startswith('--command='))
    command = command.removeprefix('--command=')
    command = command.removeprefix(
      'cd early_experience && sh launch/job.sh start '
    )
    # The far shell sees what was asked for, too.
    printed = subprocess.run(
      ['bash', '-c', command], capture_output=True, text=True
    )
    assert tuple(printed.stdout.split('\n')[:-1]) == ODD


@pytest.mark.parametrize(
  'script, arguments, message',
  [
    ('tpu_pod.sh', [], 'what to do? launch/tpu_pod.sh create, sync,'),
    ('tpu_pod.sh', ['fly', *POD], "unknown verb 'fly': create, sync,"),
    ('tpu_pod.sh', ['sync', '--name=a'], '--zone is missing'),
    ('tpu_pod.sh', ['create', *POD], '--type is missing'),
    (
      'tpu_pod.sh',
      ['create', *POD, '--type=v99-1'],
      '--type=v99-1 is not known',
    ),
    ('tpu_pod.sh', ['create', *POD, '--slices=0'], '--slices=0 is no positive'),
    ('tpu_pod.sh', ['create', *POD, '--tpye=x'], "unknown argument '--tpye=x'"),
    ('tpu_pod.sh', ['run', *POD], 'run what?'),
    ('tpu_pod.sh', ['stop', *POD, '--', 'x'], 'stop takes no command'),
    ('gke_xpk.sh', [], 'what to do? launch/gke_xpk.sh create, run,'),
    ('gke_xpk.sh', ['list'], '--cluster is missing'),
    ('gke_xpk.sh', ['run', '--cluster=c', '--', 'x'], '--workload is missing'),
    ('gke_xpk.sh', ['run', *XPK], 'run what?'),
    ('slurm.sh', [], 'what to do? launch/slurm.sh submit,'),
    ('slurm.sh', ['submit', '--nodes=2'], 'submit what?'),
    ('slurm.sh', ['submit', '--nodes', '2', '--', 'x'], "'2' is no flag"),
    (
      'slurm.sh',
      ['submit', '--processes=0', '--', 'x'],
      '--processes=0 is not',
    ),
    ('slurm.sh', ['cancel'], 'which job?'),
    ('slurm.sbatch', [], 'run what?'),
    ('job.sh', ['fly'], "unknown verb 'fly'"),
    ('job.sh', ['start'], 'start what?'),
  ],
)
def test_a_mistake_is_one_line(script, arguments, message):
  dry = (
    ['--dry_run']
    if arguments and script in ('tpu_pod.sh', 'gke_xpk.sh')
    else []
  )
  result = launch(script, *arguments[:1], *dry, *arguments[1:], DRY_RUN='1')
  assert result.returncode == 2
  (line,) = result.stderr.splitlines()
  assert line.startswith('error: ')
  assert message in line


@pytest.mark.parametrize(
  'script, arguments, tool',
  [
    ('tpu_pod.sh', ['stop', *POD], 'gcloud'),
    ('gke_xpk.sh', ['list', *XPK], 'xpk'),
    ('slurm.sh', ['submit', '--', 'x'], 'sbatch'),
  ],
)
def test_a_missing_tool_is_named(tmp_path, script, arguments, tool):
  for needed in ('bash', 'dirname'):
    (tmp_path / needed).symlink_to(shutil.which(needed))
  result = launch(script, *arguments, PATH=str(tmp_path))
  assert result.returncode == 2
  (line,) = result.stderr.splitlines()
  assert line.startswith(f'error: {tool} is not installed: ')


FAKE_PYTHON = """#!/bin/sh
case $2 in
  venv)
    [ ! -e .venv ] || [ -d .venv ] || exit 1
    mkdir -p .venv/bin && ln "$0" .venv/bin/python ;;
  pip) echo "$0 $*" ;;
  *) exit $OLD ;;
esac
"""


@pytest.mark.parametrize('state', ['absent', 'dangling', 'a file', 'nowhere'])
def test_a_virtual_environment_that_cannot_run_is_made_anew(tmp_path, state):
  (tmp_path / 'launch').mkdir()
  for name in ('setup.sh', 'help.sh'):
    shutil.copy(ROOT / 'launch' / name, tmp_path / 'launch')
  python = tmp_path / 'python'
  python.write_text(FAKE_PYTHON)
  python.chmod(0o755)
  venv = tmp_path / '.venv'
  if state == 'dangling':
    (venv / 'bin').mkdir(parents=True)
    (venv / 'bin' / 'python').symlink_to('/usr/bin/python3.0')
    (venv / 'bin' / 'kept').touch()
  if state == 'a file':
    venv.touch()
  if state == 'nowhere':
    venv.symlink_to(tmp_path / 'gone')
  done = subprocess.run(
    ['sh', 'launch/setup.sh', 'test'],
    cwd=tmp_path,
    env={**os.environ, 'PYTHON': str(python), 'OLD': '0'},
    capture_output=True,
    text=True,
  )
  assert (done.returncode, done.stderr) == (0, '')
  assert '.venv/bin/python -m pip install -q -e .[test]' in done.stdout
  assert not (venv / 'bin' / 'kept').exists()


def test_scripts_pass_shellcheck():
  if not shutil.which('shellcheck'):
    pytest.skip('shellcheck is not installed: apt-get install shellcheck')
  scripts = [*(ROOT / 'launch').glob('*.s*h'), *(ROOT / 'tests').glob('*.sh')]
  scripts += (ROOT / 'launch').glob('*.sbatch')
  names = {path.name for path in scripts}
  assert names >= {'lib.sh', 'slurm.sbatch', 'slurm_here.sh'}
  found = subprocess.run(
    ['shellcheck', '-x', '-P', 'launch', *map(str, scripts)],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert found.stdout == ''
