"""What a person types: every mistake is one line, and exit code 1."""

import ast
import os
import pathlib
import re
import subprocess
import sys

import pytest

from early_experience.__main__ import STAGES, TOOLS

ROOT = pathlib.Path(__file__).parent.parent
CONFIG = '--config=configs/tiny.py'


def run(stage, *arguments):
  return subprocess.run(
    [sys.executable, '-m', f'early_experience.{stage}', *arguments],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )


@pytest.mark.parametrize(
  'arguments, message',
  [
    ([CONFIG], '--workdir is missing'),
    (['--workdir=W'], '--config is missing'),
    ([CONFIG, '--workdir=gs://b/W'], '--workdir=gs://b/W is a URL: mount'),
    (
      [CONFIG, '--workdir=W', '--config.mesh.new.x=1'],
      "--config: no key 'new'",
    ),
    (
      [CONFIG, '--workdir=W', "--config.mesh={'dta': 2}"],
      'did you mean "data"',
    ),
    (
      [CONFIG, '--workdir=W', '--config.train.stages[3].steps=4'],
      '--config: no entry of a list has that number',
    ),
    (
      [CONFIG, '--workdir=W', "--config.prepare.rows={'a/b': {}}"],
      "a key of config.prepare.rows is 'a/b', not the name of a folder",
    ),
    ([CONFIG, '--workdir=W', '--config.seed=-1'], 'seed is -1, not a whole'),
    (
      [CONFIG, '--workdir=W', '--config.prepare.rows.joint.kk=1'],
      'config.prepare.rows.joint.kk is no setting; there are: datasets, k',
    ),
    (['--config=configs/none.py', '--workdir=W'], 'none.py: no such file'),
    ([f'{CONFIG}:magic', '--workdir=W'], "'magic', not one of: random"),
    ([CONFIG, '--workdir=W', '--config.sed=1'], 'did you mean "seed"'),
    ([CONFIG, '--workdir=W', '--config.seed=x'], '--config.seed=x'),
    (['--config=W/one.py:joint', '--workdir=W'], 'get_config() takes 0 pos'),
    ([CONFIG, '--workdir=W', 'more'], "unexpected argument 'more'"),
    ([CONFIG, '--workdir=W', '--config.env.name=chess'], 'alfworld'),
    (
      [CONFIG, '--workdir=W', '--config.collect.split=dev'],
      "no split 'dev'; there are: train, seen, unseen",
    ),
  ],
)
def test_a_mistake_is_one_line(tmp_path, arguments, message):
  arguments = [a.replace('=W', f'={tmp_path / "w"}') for a in arguments]
  (tmp_path / 'w').mkdir()
  (tmp_path / 'w' / 'one.py').write_text('def get_config():\n  pass\n')
  result = run('collect', *arguments)
  assert result.returncode == 1
  (line,) = result.stderr.strip().splitlines()
  assert line.startswith('error: ')
  assert message in line


@pytest.mark.parametrize(
  'line, message',
  [
    ('config.model.layrs = 2', 'line 4: AttributeError: Key "layrs" does not'),
    ('config.model.layers = "two"', 'line 4: TypeError: Could not override'),
    ('config.train.stages = [stage(step=1)]', 'line 4: KeyError: Key "step"'),
    ('config.seed = ', 'line 4: SyntaxError: invalid syntax'),
    ('return 7', 'returns no ConfigDict'),
    ('config.env.kwargs.rooms = 3', '--workdir is missing'),  # it may have any
  ],
)
def test_a_mistake_in_a_config_file_is_named_with_its_line(
  tmp_path, line, message
):
  (tmp_path / 'mine.py').write_text(
    'from early_experience.config import default, stage\n'
    'def get_config():\n  config = default()\n'
    f'  {line}\n  return config\n'
  )
  workdir = [] if 'workdir' in message else [f'--workdir={tmp_path}/w']
  result = run('report', f'--config={tmp_path}/mine.py', *workdir)
  assert result.returncode == 1
  (error,) = result.stderr.strip().splitlines()
  assert message in error


def test_help_tells_a_stage_s_own_flags():
  said = run('collect', '--help').stdout
  assert all(flag in said for flag in ('--config: ', '--workdir: ', ']yes: '))
  assert '--coordinator: ' not in said
  assert '--coordinator: ' in run('train', '--help').stdout


@pytest.mark.parametrize(
  'command', ['benchmark engine', 'benchmark', 'convert to_hf', 'language']
)
def test_commands_with_flags_of_their_own_name_a_wrong_one(command):
  result = run(*command.split(), '--hepl=1')
  assert result.returncode == 1
  (line,) = result.stderr.splitlines()
  assert line.startswith('error: ')
  assert f'usage: python -m early_experience.{command}' in line


def test_the_package_lists_its_stages_and_tools():
  result = subprocess.run(
    [sys.executable, '-m', 'early_experience'],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  lines = result.stdout.splitlines()
  for name in (*STAGES, *TOOLS):
    assert any(re.match(rf'  {name} +[A-Z].*\.$', line) for line in lines), name
  here = {path.stem for path in (ROOT / 'early_experience').glob('*.py')}
  commands = {
    name
    for name in here
    if '__main__' in (ROOT / f'early_experience/{name}.py').read_text('utf-8')
  }
  assert commands - {'__main__'} <= {*STAGES, *TOOLS}


def test_what_help_shows_has_all_its_backslashes():
  """A command that goes on in the next line is copied from there."""
  for folder in ('early_experience', 'launch'):
    for path in (ROOT / folder).rglob('*.py'):
      text = path.read_text('utf-8')
      doc = ast.get_docstring(ast.parse(text), clean=False) or ''
      written = re.match(r'r?"""(.*?)"""', text, re.DOTALL)
      if written:
        assert doc == written[1], path


def test_ctrl_c_is_no_fault(tmp_path):
  config = tmp_path / 'config.py'
  config.write_text('def get_config():\n  raise KeyboardInterrupt\n')
  result = run('collect', f'--config={config}', f'--workdir={tmp_path}')
  assert result.returncode == 130
  assert result.stderr == 'stopped; the same command goes on\n'


def test_an_override_reaches_the_stage(tmp_path):
  more = (f'--workdir={tmp_path}', '--config.collect.trajectories=3')
  result = run('collect', CONFIG, *more)
  assert result.returncode == 0, result.stderr
  assert result.stdout.startswith('collect: 3 expert trajectories')
  assert len(result.stdout.splitlines()) == 1


def test_free_dictionaries_take_new_keys_and_merge(tmp_path):
  code = (
    'from early_experience.runtime import cli\n'
    'def show(config, workdir):\n'
    '  print(config.env.kwargs.to_dict())\n'
    '  print(config.prepare.template_kwargs.to_dict())\n'
    '  print(config.mesh.to_dict(), workdir)\n'
    'cli.run(show, needs_workdir=False)\n'
  )
  config = tmp_path / 'mine.py'
  config.write_text(
    'from early_experience.config import default\n'
    'def get_config():\n'
    '  config = default()\n'
    "  config.env.kwargs.source = 'generated'\n"
    '  config.env.kwargs.rooms = 3\n'
    '  return config\n'
  )
  given = [
    f'--config={config}',
    '--workdir=~/x$NAME',
    "--config.env.kwargs={'rooms': 5, 'seed': 3, 'deep': {'a': 1}}",
    '--config.env.kwargs.more=x',
    '--config.prepare.template_kwargs.enable_thinking=False',
    "--config.prepare.template_kwargs.date='3'",
    "--config.mesh={'data': 2}",
  ]
  said = subprocess.run(
    [sys.executable, '-c', code, *given],
    cwd=ROOT,
    env=os.environ | {'HOME': '/home/me', 'NAME': 'y'},
    capture_output=True,
    text=True,
  )
  kwargs, template, mesh = said.stdout.splitlines()
  assert ast.literal_eval(kwargs) == {
    'deep': {'a': 1},
    'more': 'x',
    'rooms': 5,
    'seed': 3,
    'source': 'generated',
  }
  assert ast.literal_eval(template) == {'date': '3', 'enable_thinking': False}
  assert mesh == "{'data': 2, 'fsdp': -1, 'tensor': 1} /home/me/xy"


def test_a_stage_before_its_turn_names_what_to_run(tmp_path):
  result = run('explore', CONFIG, f'--workdir={tmp_path}')
  assert result.returncode == 1
  assert 'run first: python -m early_experience.collect' in result.stderr
