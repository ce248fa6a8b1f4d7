"""Reinforcement learning on questions that are made from records."""

import json
import shutil

import jax
import numpy as np
import pytest

from early_experience import collect, explore, prepare, rl, train
from early_experience.experience import records, render, tree
from early_experience.reinforcement import questions
from early_experience.runtime import files
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import saved
from tests import test_rl, tiny_tokenizers
from tests.test_rl import lines
from tests.test_rl_kill import assert_same, end, kill, params, start

CONFIG = """
from tests.test_rl_questions import config_of

def get_config():
  return config_of(rl__ratio='sequence', rl__clip_high=4e-4)
"""
GROUP, ASKED = 4, 6


def no_environment():
  raise AssertionError('an environment was made')


def config_of(source='outcomes', **changes):
  config = test_rl.config_of()
  config.rl.update(source=source, tasks=ASKED, panel_tasks=8)
  config.rl.reward = 'score'  # which has variance before anything is right
  config.evaluate.constrained = False
  config.evaluate.max_outcome_tokens = 24
  for key, value in changes.items():
    group, _, name = key.partition('__')
    config[group][name] = value
  return config


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """Experts, branches, rows, and a policy that was trained a little."""
  workdir, config = tmp_path_factory.mktemp('run'), config_of()
  collect.collect_from(test_rl.make(), config, workdir)
  explore.explore_in(test_rl.make(), config, workdir)
  config.prepare.rows.expert.k = 2
  prepare.prepare(config, workdir)
  train.train(config, workdir)
  return workdir


@pytest.fixture(scope='module')
def asked(workdir, tmp_path_factory):
  """What became of it, by the source of questions."""
  found = {}
  for source in ('outcomes', 'choices'):
    found[source] = tmp_path_factory.mktemp(source)
    copied(workdir, found[source])
    rl.rl_in(no_environment, config_of(source), found[source])
  return found


def copied(workdir, to):
  for name in ('collect', 'explore', 'prepare', 'train'):
    shutil.copytree(workdir / name, to / name)


def answers(workdir, iteration):
  folder = workdir / 'rl' / 'joint' / 'rollouts'
  text = (folder / f'iteration-{iteration:06d}.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize('style', ['inline', 'instructed'])
def test_an_outcome_is_asked_for_by_the_tokens_of_world_model_rows(
  workdir, style
):
  coder, count = saved.load(workdir / 'prepare'), 0
  for trajectory in records.read(workdir / 'explore'):
    made = asked_and_answered(trajectory, coder, style)
    assert made == trained(trajectory, coder, style)
    count += len(made)
  assert count > 100


@pytest.mark.parametrize('family', ['llama3', 'qwen3', 'gemma3'])
def test_and_so_it_is_by_chat_templates(workdir, tmp_path, family):
  coder = saved.load(tiny_tokenizers.write(tmp_path, family))
  (trajectory, *_) = records.read(workdir / 'explore')
  made = asked_and_answered(trajectory, coder, 'inline')
  assert made == trained(trajectory, coder, 'inline')


def test_what_a_model_cannot_end_is_refused(workdir, tmp_path):
  coder = saved.load(tiny_tokenizers.write(tmp_path, 'llama2'))
  with pytest.raises(UserError, match='cannot stop'):
    questions.of_workdir(config_of(), workdir, coder)
  questions.of_workdir(config_of('choices'), workdir, coder)


def asked_and_answered(trajectory, coder, style):
  return {
    (
      *coder.encode_prompt(script, 'observation'),
      -1,
      *coder.encode_answer(script, 'observation', right),
    )
    for _, script, right in questions.outcomes(trajectory, style)
  }


def trained(trajectory, coder, style):
  """What is read before each target, and the target."""
  found = set()
  for script in render.world_model(trajectory, 2, style):
    for sequence in coder.encode_script(script):
      ids = sequence.ids_T.tolist()
      spans = tree.targets(sequence)
      found |= {(*ids[:a], -1, *ids[a:b]) for a, b in spans}
  return found


def test_a_choice_is_what_the_policy_reads_and_what_there_is_to_choose(workdir):
  coder, seen = saved.load(workdir / 'prepare'), set()
  for trajectory in records.read(workdir / 'explore'):
    for place, script, right, options in questions.choices(trajectory, 1):
      number = int(place.split('/')[0])
      step = trajectory.steps[number]
      others = {other.action for other in step.alternatives}
      assert right == step.action and len(options) == 2
      assert set(options) <= {right, *others} and right in options
      assert list(options) == sorted(options)
      seen.add(options.index(right))
      read = coder.encode_prompt(script, 'action')
      acts = coder.encode_prompt(script[:-1], 'action')
      assert read[: len(acts) - 1] == acts[:-1]
      assert script[:-1] == render.before(trajectory, number)
  assert seen == {0, 1}  # its place does not tell it
  (step, *_) = trajectory.steps
  (one, *_) = questions.choices(trajectory, 8)
  assert set(one[-1]) == {step.action, *(a.action for a in step.alternatives)}


def test_it_asks_of_training_records_and_measures_on_those_held_out(
  workdir, asked
):
  held_out = set(files.read_json(workdir / 'prepare/split.json')['held_out'])
  for source in ('outcomes', 'choices'):
    coder = saved.load(workdir / 'prepare')
    training, panel = questions.of_workdir(config_of(source), workdir, coder)
    tasks = lambda some: {question.id.split('/')[0] for question in some}
    assert not tasks(training) & held_out and tasks(panel) <= held_out
    assert len(panel) == 8
    found = [record for i in range(4) for record in answers(asked[source], i)]
    assert len(found) == 4 * ASKED * GROUP
    assert tasks(training) >= {r['task_id'].split('/')[0] for r in found}
    assert {len(r['steps']) for r in found} == {1}


def test_an_answer_is_right_where_it_is_what_was_recorded(asked):
  for record in answers(asked['outcomes'], 1):
    text = record['steps'][0]['action']
    assert record['success'] == (text.split() == record['right'].split())
    assert record['success'] == (record['score'] == 1)
  for record in answers(asked['choices'], 1):
    (step,) = record['steps']
    (said,) = step['said']
    assert record['success'] == (step['action'] == record['right'])
    assert all(len(some) in (1, 2) for some in said['allowed'])
  (line, *_) = lines(asked['choices'])
  solved = [record['success'] for record in answers(asked['choices'], 0)]
  assert line['success/rate'] == pytest.approx(np.mean(solved))


def test_the_loop_is_that_of_episodes(asked):
  for workdir in asked.values():
    found = lines(workdir)
    learnt = [line for line in found if 'updates' in line]
    assert learnt and max(line['gap_max'] for line in learnt) < 1e-4
    assert all(line['tokens_ratio'] > 1.5 for line in learnt)
    assert [i for i, line in enumerate(found) if 'panel/rate' in line] == [
      0,
      2,
      4,
    ]
    assert {line['environment_steps'] for line in found} == {0}


def test_a_close_answer_is_one_where_less_than_all_words_must_match():
  question = questions.Question('a', 'train', '', (), 'it is open and empty')
  assert question.score('it is  open and empty') == 1
  assert question.score('it is open and full') == pytest.approx(0.8)
  assert question.score('empty and open is it') < 0.5  # their order counts
  assert question.score('') == 0


class Killed(BaseException):
  """As nothing handles it."""


def test_a_run_that_dies_anywhere_makes_the_same_updates(
  workdir, asked, tmp_path, monkeypatch
):
  copied(workdir, tmp_path)
  write, writes = files.write_atomic, 0

  def dies(path, *args):
    nonlocal writes
    writes -= 1
    if not writes:
      raise Killed
    return write(path, *args)

  monkeypatch.setattr(files, 'write_atomic', dies)
  for count in (3, 2, 2, 1):  # of settings, answers, the summary
    writes = count
    with pytest.raises(Killed):
      rl.rl_in(no_environment, config_of(), tmp_path)
  writes = 0
  rl.rl_in(no_environment, config_of(), tmp_path)
  straight = asked['outcomes']
  for i in range(4):
    assert answers(tmp_path, i) == answers(straight, i)
  untimed = lambda line: {k: v for k, v in line.items() if 'seconds' not in k}
  assert [*map(untimed, lines(tmp_path))] == [*map(untimed, lines(straight))]
  jax.tree.map(
    np.testing.assert_array_equal, params(tmp_path), params(straight)
  )


@pytest.mark.slow
def test_kills_leave_no_trace(workdir, tmp_path):
  straight, killed = tmp_path / 'straight', tmp_path / 'killed'
  for each in (straight, killed):
    copied(workdir, each)
  end(start(straight, CONFIG))
  for done, after in ((0, 2), (1, 3), (3, 2)):
    kill(start(killed, CONFIG), killed, done, after)
  end(start(killed, CONFIG))
  assert_same(killed, straight)


def test_what_is_wrong_is_one_line_and_leaves_nothing(workdir, tmp_path):
  copied(workdir, tmp_path)

  def fails(match, config):
    with pytest.raises(UserError, match=match) as error:
      rl.rl_in(no_environment, config, tmp_path)
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'rl').exists()

  fails('rl.step_weight = 1.0 is about', config_of(rl__step_weight=1.0))
  fails('observations = True is about', config_of(rl__observations=True))
  fails('fewer than config.rl.tasks', config_of(rl__tasks=10_000))
  fails('rl.match is 0.0, not a number in', config_of(rl__match=0))
  shutil.rmtree(tmp_path / 'explore')
  fails('choices need the alternatives', config_of('choices'))
  files.write_json(tmp_path / 'prepare' / 'split.json', {'held_out': []})
  fails('prepare.held_out kept from training', config_of())
