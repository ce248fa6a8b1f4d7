"""The whole loop on ALFWorld, tiny: it runs, it tells, it can be run again."""

import json
import re

import pytest

from configs import tiny
from early_experience import quickstart, recipes
from early_experience.evaluate import evaluate
from early_experience.experience import records
from early_experience.report import report
from early_experience.reporting.text import table
from early_experience.runtime import files
from early_experience.train import train

STAGES = ('collect', 'explore', 'reflect', 'prepare')


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('run')
  return workdir, quickstart.quickstart(tiny.get_config(), str(workdir))


def test_every_recipe_is_evaluated_on_the_same_tasks(finished):
  workdir, results = finished
  assert list(results) == ['random', 'untrained', 'imitation', 'joint']
  played = [
    {
      v['task_id']
      for _, v in files.read_jsonl(workdir / 'evaluate' / n, 'rollouts')
    }
    for n in results
  ]
  assert len(played[0]) == 12
  assert all(tasks == played[0] for tasks in played)


def test_the_table_has_a_line_for_each_policy(finished):
  *lines, last = table(finished[1]).splitlines()
  assert last == 'set aside, and counted as not solved: none'
  assert lines[0].split() == ['policy', 'seen', 'unseen']
  assert re.fullmatch(
    r'joint +\d/6 = [\d.]+% \[[\d.]+%, [\d.]+%\] +\d/6 = .*', lines[-1]
  )


def test_branches_and_rationales_hang_off_every_expert_state(finished):
  workdir, _ = finished
  for trajectory in records.read(workdir / 'reflect'):
    for step in trajectory.steps:
      assert len(step.alternatives) == 2
      assert step.action not in [a.action for a in step.alternatives]


def test_the_page_is_written(finished):
  page = (finished[0] / 'report' / 'index.html').read_text()
  assert 'ALFWorld rules, generated placements' in page


def test_running_it_again_redoes_nothing(finished, capsys):
  workdir, results = finished

  def stamps():
    return {
      p: p.stat().st_mtime_ns
      for p in workdir.rglob('*')
      if p.is_file() and 'report' not in p.parts
    }

  before = stamps()
  again = quickstart.quickstart(tiny.get_config(), str(workdir))
  assert again == json.loads(json.dumps(results))
  assert stamps() == before


@pytest.mark.parametrize(
  'recipe', ['self_reflection', pytest.param('trunk', marks=pytest.mark.slow)]
)
def test_other_recipes_run_in_the_same_workdir(finished, recipe):
  workdir = str(finished[0])
  config = recipes.select(tiny.get_config(), recipe)
  summary = train(config, workdir)
  assert summary['steps'] == config.budget.steps
  result = evaluate(config, workdir)
  assert result['splits']['seen']['success']['n'] == 6
  stems = files.read_jsonl(finished[0] / 'evaluate' / recipe, 'rollouts')
  thoughts = [s['thought'] for _, v in stems for s in v['steps']]
  assert all(t is not None for t in thoughts) == (recipe == 'self_reflection')
  report(config, workdir)
  assert recipe in (finished[0] / 'report' / 'index.html').read_text()
