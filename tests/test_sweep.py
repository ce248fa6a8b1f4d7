"""Sweeps: what they expand to, what their runs share, and their table."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from early_experience import sweeps
from early_experience.runtime import stage
from early_experience.runtime.errors import UserError
from early_experience.sweeps import folder as sweep_folder
from early_experience.sweeps import here
from early_experience.sweeps import table as sweep_table
from early_experience.sweeps.runs import (
  SHAREABLE,
  check_shared,
  expand,
  shareable,
)
from tests import waiting

ROOT = pathlib.Path(__file__).parent.parent
TINY = str(ROOT / 'configs' / 'tiny.py')


def config_file(folder, sweep):
  """A config file whose sweep() returns this expression."""
  path = folder / 'swept.py'
  path.write_text(
    'from configs.tiny import get_config\n'
    'from early_experience.sweeps import chain, product, zipped\n'
    f'def sweep():\n  return {sweep}\n'
  )
  return str(path)


def driver(*arguments):
  return [sys.executable, 'launch/sweep.py', *arguments]


def run(*arguments):
  return subprocess.run(
    driver(*arguments),
    cwd=ROOT,
    env={**os.environ, 'EMPTY': ''},
    capture_output=True,
    text=True,
  )


def test_products_zips_and_chains():
  a, b, c = {'a': [1, 2]}, {'b': [3, 4]}, {'c': [5, 6]}
  assert sweeps.product(a, sweeps.zipped(b, c)) == [
    {'a': 1, 'b': 3, 'c': 5},
    {'a': 1, 'b': 4, 'c': 6},
    {'a': 2, 'b': 3, 'c': 5},
    {'a': 2, 'b': 4, 'c': 6},
  ]
  assert sweeps.product({**a, **b}) == sweeps.product(a, b)
  assert sweeps.zipped({**a, **b}) == [{'a': 1, 'b': 3}, {'a': 2, 'b': 4}]
  assert sweeps.chain(a, [{'b': 3}]) == [{'a': 1}, {'a': 2}, {'b': 3}]


def test_names_depend_on_their_overrides_alone_and_suit_any_file_system():
  name = sweeps.name_of
  assert name({'budget.lr_peak': 3e-4, 'seed': 1}) == (
    'budget.lr_peak=0.0003,seed=1'
  )
  assert name({'train.stages[0].b1': 0.8}) == 'train.stages.0.b1=0.8'
  assert name({}) == 'base'
  odd = [name({'init.hf': path}) for path in ('/a b', '/a/b', 'x' * 300)]
  assert all(re.fullmatch(r'[\w.,=+-]{1,100}', one) for one in odd)
  assert len(set(odd)) == 3


@pytest.mark.parametrize(
  'sweep, message',
  [
    ("product({'budget.lr_pek': [1.0]})", "did you mean 'budget.lr_peak'"),
    ("product({'budget': [1]})", "names 'budget', which is no key"),
    ("product({'train.stages[3].b1': [0.5]})", "'train.stages[3].b1', which"),
    ("product({'recipe': ['magic']})", "'magic', not one of: random"),
    ("product({'seed': ['x']})", "seed = 'x'"),
    ("product({'seed': [0, -1]})", 'seed is -1, not a whole number in [0,'),
    ("product({'mesh': [{'dta': 1}]})", 'Key "dta" does not exist'),
    ("product({'mesh.dta': [1]})", "did you mean 'mesh.data'"),
    ("product({'prepare.rows.joint.kk': [1]})", 'kk is no setting; there are'),
    ("product({'seed': 3})", "'seed' the value 3: give a list"),
    ("product({'seed': 'abc'})", 'give a list'),
    ("product({'seed': [1]}, {'seed': [2]})", "sets 'seed' twice"),
    ("zipped({'seed': [1, 2], 'name': ['a']})", r'unequal lengths: [2, 1]'),
    ("product({'seed': [1, 1]})", 'overrides 0 and 1 are both named'),
    ("product({'name': ['a', 'A']})", "both named 'name=A'"),
    ("product({'model.layers': [None]})", 'None: only a config file can set'),
    ('[]', 'no list of overrides'),
    ('[{3: 4}]', 'no list of overrides'),
    ('3', 'no list of overrides'),
    ('[1]', 'no list of overrides'),
    ('[1 / 0]', 'swept.py line 4: ZeroDivisionError: division by zero'),
  ],
)
def test_a_sweep_that_makes_no_sense_is_refused(tmp_path, sweep, message):
  with pytest.raises(UserError, match=re.escape(message)):
    expand(config_file(tmp_path, sweep))


def test_overrides_may_come_one_by_one_and_repeat_a_none(tmp_path):
  sweep = "({'evaluate.think': think} for think in (None, True))"
  first, second = expand(config_file(tmp_path, sweep))
  assert first.config.evaluate.think is None and len(first.flags) == 1
  assert second.flags[1:] == ('--config.evaluate.think=True',)


def test_a_config_without_a_sweep_or_without_recipes_is_refused(tmp_path):
  with pytest.raises(UserError, match='gemma3_4b.py has no sweep()'):
    expand(str(ROOT / 'configs' / 'gemma3_4b.py'))
  path = config_file(tmp_path, "product({'recipe': ['joint']})")
  with open(path, 'a', encoding='utf-8') as file:
    file.write('def get_config():\n  return None\n')
  with pytest.raises(UserError, match='swept.py: get_config.. takes 0 pos'):
    expand(path)


def test_a_run_has_what_its_stages_read(tmp_path):
  sweep = "product({'recipe': ['imitation', 'joint'], 'budget.lr_peak': [1]})"
  first, second = expand(f'{config_file(tmp_path, sweep)}:untrained')
  assert first.flags == (
    f'--config={tmp_path}/swept.py:imitation',
    '--config.budget.lr_peak=1',
  )
  assert (first.config.name, second.config.name) == ('imitation', 'joint')
  assert second.config.train.stages[0].lr_peak == 1.0


def test_free_dictionaries_take_new_keys_and_merge(tmp_path):
  sweep = (
    "zipped({'env.kwargs': [{'seed': 3, 'rooms': ('kitchen',)}],"
    " 'env.kwargs.note': ['3'], 'mesh': [{'data': 2}],"
    " 'prepare.template_kwargs.enable_thinking': [False]})"
  )
  (run,) = expand(config_file(tmp_path, sweep))
  kwargs = run.config.env.kwargs.to_dict()
  assert kwargs['source'] == 'generated', 'which the file has'
  assert {k: kwargs[k] for k in ('seed', 'rooms', 'note')} == {
    'seed': 3,
    'rooms': ('kitchen',),
    'note': '3',
  }
  assert run.config.mesh.to_dict() == {'data': 2, 'fsdp': -1, 'tensor': 1}
  code = (
    'from early_experience.runtime import cli\n'
    'cli.run(lambda c, w: print(c.to_json_best_effort(sort_keys=True)),'
    ' needs_workdir=False)\n'
  )
  told = subprocess.run(
    [sys.executable, '-c', code, *run.flags],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert told.stdout.strip() == run.config.to_json_best_effort(sort_keys=True)


@pytest.mark.parametrize(
  'key, values, shared',
  [
    (
      'budget.lr_peak',
      [1e-3, 1e-2],
      ['collect', 'explore', 'summarise', 'reflect', 'prepare'],
    ),
    (
      'prepare.row_tokens',
      [256, 512],
      ['collect', 'explore', 'summarise', 'reflect'],
    ),
    ('explore.k', [1, 2], ['collect']),
    ('env.name', ['a', 'b'], []),
  ],
)
def test_stages_are_shared_up_to_the_first_that_differs(
  tmp_path, key, values, shared
):
  runs = expand(config_file(tmp_path, f'product({{{key!r}: {values}}})'))
  assert shareable(runs) == shared
  check_shared(runs, shared)
  if len(shared) < len(SHAREABLE):
    with pytest.raises(UserError, match='the runs differ in .*which'):
      check_shared(runs, SHAREABLE)


def test_runs_with_other_seeds_share_only_what_they_are_told_to(tmp_path):
  runs = expand(config_file(tmp_path, "product({'seed': [0, 1]})"))
  assert shareable(runs) == ['collect']
  check_shared(runs, SHAREABLE)
  with pytest.raises(
    UserError, match='only collect, explore, summarise, reflect, prepare'
  ):
    check_shared(runs, ['train'])


@pytest.mark.parametrize(
  'arguments, message',
  [
    ([f'--config={TINY}'], '--workdir is missing'),
    (['--config=none.py'], '--config=none.py: no such file'),
    (
      [f'--config={TINY}', '--index=4'],
      '--index=4: this sweep has the runs 0 to 3 and shared',
    ),
    (
      [f'--config={TINY}', '--index=NOWHERE'],
      '--index=NOWHERE: no number, and no variable',
    ),
    ([f'--config={TINY}', '--index=EMPTY'], '--index=EMPTY: no number'),
    ([f'--config={TINY}', '--stages=trian'], '--stages=trian: not one of'),
    ([f'--config={TINY}', '--shared=train'], 'can be shared'),
    ([f'--config={TINY}', '--to=moon'], '--to=moon'),
    ([f'--config={TINY}', '--dry_run'], 'see --to=commands'),
    ([f'--config={TINY}', 'more'], "unexpected argument 'more'"),
    (['--config=x', '--to=table'], 'holds no sweep: it has no sweep.json'),
  ],
)
def test_a_mistake_is_one_line(tmp_path, arguments, message):
  if message != '--workdir is missing':
    arguments = [*arguments, f'--workdir={tmp_path}']
  result = run(*arguments)
  assert result.returncode == 1
  (line,) = result.stderr.splitlines()
  assert line.startswith('error: ')
  assert message in line
  assert not list(tmp_path.iterdir())


def test_a_workdir_of_another_sweep_is_refused_and_a_grown_sweep_is_not(
  tmp_path,
):
  seeds = lambda *s: config_file(tmp_path, f"product({{'seed': {list(s)}}})")
  path = seeds(0, 1)
  workdir = tmp_path / 'w'
  begin = lambda: sweep_folder.begin(workdir, path, expand(path))
  begin()
  seeds(0, 1, 2)
  begin()
  assert [row['seed'] for row in sweep_table.rows(workdir)] == [0, 1, 2]
  seeds(1, 2, 3)
  with pytest.raises(UserError, match="holds another sweep.*the run 'seed=0'"):
    begin()
  with pytest.raises(UserError, match='holds another sweep, of .*swept.py'):
    sweep_folder.begin(workdir, 'other.py', [])
  stage.begin(tmp_path / 'single', 'collect', {})
  with pytest.raises(UserError, match='single is the workdir of a single run'):
    sweep_folder.begin(tmp_path / 'single', path, [])


def test_commands_are_one_line_for_each_run(tmp_path):
  result = run(
    f'--config={TINY}',
    f'--workdir={tmp_path}/a b',
    '--to=commands',
    '--stages=train',
    '--yes',
  )
  names, lines = (
    result.stdout.splitlines()[::2],
    result.stdout.splitlines()[1::2],
  )
  assert names == [f'# {run.name}' for run in expand(TINY)]
  own = [f'--config={TINY}', f'--workdir={tmp_path}/a b']
  own += ['--stages=train', '--yes']
  assert [shlex.split(line) for line in lines] == [
    driver(*own, f'--index={index}') for index in range(4)
  ]


def test_an_evaluation_behind_rl_is_of_what_that_made(tmp_path, monkeypatch):
  path = config_file(tmp_path, "product({'recipe': ['imitation']})")
  runs, done = expand(path), []
  stages = ('train', 'evaluate', 'rl', 'evaluate')
  jobs = sweep_folder.jobs(tmp_path, runs, stages)
  sweep_folder.begin(tmp_path, path, runs)
  monkeypatch.setattr(
    here.Children, 'run', lambda _, command, log: done.append(command) or 0
  )
  assert here.run(jobs, tmp_path, 1, [], logged=False) == 0
  policy = '--config.evaluate.policy=rl'
  assert [(c[2].rpartition('.')[2], policy in c) for c in done] == [
    *(('train', False), ('evaluate', False)),
    *(('rl', False), ('evaluate', True)),
  ]


def test_a_run_without_what_it_shares_says_why_it_failed(tmp_path):
  path = config_file(tmp_path, "product({'seed': [0, 1]})")
  runs = expand(path)
  sweep_folder.begin(tmp_path, path, runs)
  jobs = sweep_folder.jobs(tmp_path, runs, ('train',), ('prepare',))
  alone = [job for job in jobs if job.links]
  assert here.run(alone, tmp_path, 1, [], logged=True) == 1
  assert [row['state'] for row in sweep_table.rows(tmp_path)] == ['failed'] * 2


def test_a_signal_while_a_stage_is_being_started_stops_the_sweep(tmp_path):
  """And does not wait for a lock that its own thread holds."""
  code = (
    'import os, runpy, signal, subprocess, sys\n'
    'real = subprocess.Popen\n'
    'def start(*args, **more):\n'
    '  process = real(*args, **more)\n'
    '  os.kill(os.getpid(), signal.SIGTERM)\n'
    '  return process\n'
    'subprocess.Popen = start\n'
    'runpy.run_path("launch/sweep.py", run_name="__main__")\n'
  )
  flags = [f'--config={TINY}', f'--workdir={tmp_path}', '--yes']
  result = subprocess.run(
    [sys.executable, '-c', code, *flags],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=waiting.SECONDS,
  )
  assert result.returncode == 75, result.stderr
  assert result.stderr == 'stopped: the same command goes on\n'
  assert ' --yes\n' in (tmp_path / 'shared' / 'log.txt').read_text()
  assert [row['state'] for row in sweep_table.rows(tmp_path)] == ['waiting'] * 4
