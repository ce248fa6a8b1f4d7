"""Sweeps that others run: pasted lines, and arrays of Slurm."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest

from early_experience.runtime import stage
from early_experience.runtime.errors import UserError
from early_experience.sweeps import folder as sweep_folder
from early_experience.sweeps.runs import expand
from tests.test_sweep import ROOT, TINY, config_file, run


@pytest.mark.parametrize('to', ['commands', 'slurm'])
def test_commands_serve_wherever_they_are_pasted(tmp_path, to):
  """And where Slurm runs them, which is in the repository."""
  config_file(tmp_path, "product({'seed': [0, 1]})")
  result = subprocess.run(
    [
      *(sys.executable, ROOT / 'launch' / 'sweep.py', '--config=swept.py'),
      *('--workdir=w', '--stages=collect', '--shared=', f'--to={to}'),
      *['--dry_run'] * (to == 'slurm'),
    ],
    cwd=tmp_path,
    env={**os.environ, 'PYTHONPATH': str(ROOT), 'PATH': '/usr/bin:/bin'},
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0, result.stderr
  line = result.stdout.splitlines()[-1]
  words = shlex.split(line)
  start = words.index(sys.executable)
  assert words[start + 1 : start + 4] == [
    str(ROOT / 'launch' / 'sweep.py'),
    f'--config={tmp_path}/swept.py',
    f'--workdir={tmp_path}/w',
  ]
  env = {**os.environ, 'PYTHONPATH': str(ROOT), 'SLURM_ARRAY_TASK_ID': '1'}
  done = subprocess.run(
    words[start:], cwd=ROOT, env=env, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  summaries = tmp_path.glob('w/*/**/collect/summary.json')
  assert len(list(summaries)) == 1


def test_a_sweep_is_the_same_from_whichever_folder(tmp_path, monkeypatch):
  path, workdir = config_file(tmp_path, "[{'seed': 0}]"), tmp_path / 'w'
  runs = expand(path)
  sweep_folder.begin(workdir, path, runs)
  monkeypatch.chdir(tmp_path)
  sweep_folder.begin(workdir, './swept.py', runs)
  written = json.loads((workdir / 'sweep.json').read_text())
  assert written['config'] == path
  # One that was begun when only the path itself was kept.
  old = {**written, 'config': 'swept.py'}
  (workdir / 'sweep.json').write_text(json.dumps(old))
  sweep_folder.begin(workdir, 'swept.py', runs)
  with pytest.raises(UserError, match='another sweep'):
    sweep_folder.begin(workdir, TINY, runs)


@pytest.mark.parametrize(
  'given, value, job',
  [('TASK', '1', 1), ('TASK+2', '1', 3), ('TASK+1', '0', 1)],
)
def test_an_index_may_be_counted_from_a_number(
  tmp_path, monkeypatch, given, value, job
):
  monkeypatch.setenv('TASK', value)
  result = run(
    f'--config={TINY}',
    f'--workdir={tmp_path}',
    '--to=commands',
    '--stages=train',
    f'--index={given}',
  )
  assert f'--index={job}\n' in result.stdout, result.stderr


def test_arrays_are_no_larger_than_slurm_takes_them(tmp_path, monkeypatch):
  folder = tmp_path / 'bin'
  folder.mkdir()
  (folder / 'scontrol').write_text(
    '#!/bin/sh\necho "MaxArraySize            = 3"\n'
  )
  (folder / 'sbatch').write_text(
    '#!/bin/sh\nprintf "%s\\n" "$*" >>"$SUBMITTED"\necho 7\n'
  )
  for script in folder.iterdir():
    script.chmod(0o755)
  monkeypatch.setenv('PATH', f'{folder}:{os.environ["PATH"]}')
  monkeypatch.setenv('SUBMITTED', str(tmp_path / 'submitted'))
  seeds = config_file(tmp_path, f"product({{'seed': {list(range(8))}}})")
  workdir = tmp_path / 'w'
  runs = expand(seeds)
  (done,) = sweep_folder.jobs(workdir, runs, ['train'], [], '4')
  stage.finish(done.folder, sweep_folder._summary(done))
  result = run(
    f'--config={seeds}',
    f'--workdir={workdir}',
    '--stages=train',
    '--shared=',
    '--to=slurm',
  )
  assert result.returncode == 0, result.stderr
  said = (tmp_path / 'submitted').read_text().splitlines()
  name = 'SLURM_ARRAY_TASK_ID'
  assert [
    (re.search('--array=(\\S+)', line)[1], line.rpartition('--index=')[2])
    for line in said
  ] == [('0,1,2', name), ('0,2', f'{name}+3'), ('0,1', f'{name}+6')]
