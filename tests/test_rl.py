"""Reinforcement learning end to end, on the toy environment."""

import copy
import dataclasses
import json
import math
import shutil

import jax
import numpy as np
import pytest

from early_experience import collect, evaluate, prepare, rl, train
from early_experience.model import sharding, table
from early_experience.reinforcement import (
  advantages,
  batches,
  learn,
  members,
  rows,
  sampling,
)
from early_experience.reinforcement.scoring import token_logp
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import saved
from early_experience.training import initial
from tests import test_evaluate
from tests.toy_env import Told

GROUP, TASKS = 4, 4


def make():
  return Told(tasks=32)


def config_of(**changes):
  config = test_evaluate.config_of(name='joint')
  config.train.stages[0].steps = 25
  config.rl.update(
    iterations=4,
    tasks=TASKS,
    group=GROUP,
    batch_rows=2,
    lr_peak=3e-3,
    panel_every=2,
    panel_tasks=4,
    checkpoint_every=1,
  )
  for key, value in changes.items():
    group, _, name = key.partition('__')
    config[group][name] = value
  return config


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """A policy that was trained a little, and what it came to."""
  workdir = tmp_path_factory.mktemp('run')
  config = config_of()
  collect.collect_from(make(), config, workdir)
  prepare.prepare(config, workdir)
  train.train(config, workdir)
  rl.rl_in(make, config, workdir)
  return workdir


def lines(workdir, name='joint'):
  text = (workdir / 'rl' / name / 'metrics.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


def episodes(workdir, iteration, name='joint'):
  folder = workdir / 'rl' / name / 'rollouts'
  text = (folder / f'iteration-{iteration:06d}.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


class Odd(Told):
  """Its tasks have names like those of a group."""

  def tasks(self, split):
    return [
      dataclasses.replace(task, id=f'{task.id}#2')
      for task in super().tasks(split)
    ]

  def reset(self, task):
    name, number = members.named(task.id)
    assert number == 2
    return super().reset(dataclasses.replace(task, id=name))


def test_a_task_may_have_any_name(workdir):
  config = config_of()
  tokenizer, mesh = (
    saved.load(workdir / 'prepare'),
    sharding.make_mesh(config.mesh),
  )
  trained = workdir / 'train' / 'joint'
  cfg, _ = initial.resolve(config, tokenizer, trained)
  seats, tasks = members.here(Odd), Odd().tasks('train')[:2]
  with jax.set_mesh(mesh):
    params = initial.policy(trained, cfg, mesh)
    sampler = sampling.Sampler(seats, config, cfg, tokenizer, mesh, 4)
    panel = sampler.panel_records(params, tasks)
    groups = sampler.group_records(params, tasks, GROUP, 0)
  for found, each in ((panel, 1), (groups, GROUP)):
    names = [record['task_id'] for record in found]
    assert sorted(names) == sorted(each * [task.id for task in tasks])


def test_every_iteration_is_a_file_of_whole_groups(workdir):
  panel = learn._tasks(members.here(make), config_of())[1]
  played = set()
  for iteration in range(4):
    found = episodes(workdir, iteration)
    groups = {record['task_id'] for record in found}
    named = {(record['task_id'], record['member']) for record in found}
    assert len(found) == len(named) == GROUP * TASKS
    assert len(groups) == TASKS and not groups & {task.id for task in panel}
    played |= groups
    for record in found:
      for step in record['steps']:
        (said,) = step['said']
        sizes = {len(said[key]) for key in ('ids', 'logps', 'allowed')}
        assert len(sizes) == 1 and max(said['logps']) <= 0
        pairs = zip(said['ids'], said['allowed'], strict=True)
        assert all(token in allowed for token, allowed in pairs)
  assert len(played) == 4 * TASKS  # none twice before all were played


def test_it_says_how_it_went(workdir, capsys):
  rl.rl_in(make, config_of(), workdir)  # nothing is left to do
  said = capsys.readouterr().out
  assert said.startswith('rl joint: ') and '64 episodes (0 failed)' in said
  found = lines(workdir)
  assert [line['iteration'] for line in found] == [0, 1, 2, 3, 4]
  assert [i for i, line in enumerate(found) if 'panel/rate' in line] == [
    0,
    2,
    4,
  ]
  solved = [record['success'] for record in episodes(workdir, 1)]
  line = found[1]
  assert line['success/rate'] == pytest.approx(np.mean(solved))
  assert line['success/low'] <= line['success/rate'] <= line['success/high']
  steps = [
    sum(len(record['steps']) for record in episodes(workdir, i))
    for i in range(2)
  ]
  assert line['environment_steps'] == sum(steps)
  assert line['environment_steps_before'] == steps[0]
  assert [l['step_before'] for l in found] == [
    0,
    *(l['step'] for l in found[:-1]),
  ]
  assert all('seconds_panel' in l for l in found if 'panel/rate' in l)
  learnt = [line for line in found if 'updates' in line]
  assert learnt and all(line['entropy'] > 0 for line in learnt)
  assert all(line['tokens_ratio'] > 1 for line in learnt)
  assert learnt[0]['kl'] < 1e-9 < learnt[-1]['kl']


def test_what_the_trainer_says_of_a_token_is_what_the_sampler_said(workdir):
  learnt = [line for line in lines(workdir) if 'updates' in line]
  assert max(line['gap_max'] for line in learnt) < 1e-4


@pytest.mark.parametrize('think, vocab', [(False, 0), (True, 0), (False, 400)])
def test_and_so_it_is_in_free_text(workdir, think, vocab):
  """Also where the embedding has rows beyond the tokenizer's ids."""
  config = config_of(evaluate__think=think, evaluate__constrained=False)
  tokenizer = saved.load(workdir / 'prepare')
  trained = workdir / 'train' / 'joint'
  cfg, _ = initial.resolve(config, tokenizer, trained)
  mesh = sharding.make_mesh(config.mesh)
  with jax.set_mesh(mesh):
    params = initial.policy(trained, cfg, mesh)
    if vocab:
      cfg = dataclasses.replace(cfg, vocab_size=vocab)
      params = table.init_params(jax.random.key(0), cfg)
    seats, tasks = members.here(make), make().tasks('train')[:3]
    sampler = sampling.Sampler(seats, config, cfg, tokenizer, mesh, 4)
    found = list(sampler.group_records(params, tasks, GROUP, 0))
    again = sampling.Sampler(seats, config, cfg, tokenizer, mesh, 3)
    other = list(again.group_records(params, tasks[::-1], GROUP, 0))
    each = [[(record, np.ones(len(record['steps'])))] for record in found]
    made = rows.make(each, tokenizer, cfg.max_tokens)
    scores = batches.Scores()
    for start in range(0, len(made.rows), 2):
      some = made.rows[start : start + 2]
      batch = sharding.put_batch(batches.stack(some, 2, scored=False), mesh)
      found_BT = token_logp(params, batch, cfg, tokenizer.vocab_size)
      batches.add_scores(some, found_BT, None, 2.0, scores)
  assert scores.most < 1e-4 and scores.count > 50
  told = lambda some: {
    (r['task_id'], r['member']): [s['action'] for s in r['steps']] for r in some
  }
  # An episode depends on no other one; a group's differ.
  assert told(found) == told(other)
  assert len(set(map(str, told(found).values()))) > len(tasks)
  roles = [said['role'] for said in found[0]['steps'][0]['said']]
  assert roles == (['thought', 'action'] if think else ['action'])


def test_nothing_need_be_trained_before_nor_solved(workdir, tmp_path):
  """It learns what its own actions lead to."""
  copied(workdir, tmp_path, 'prepare', 'collect')
  config = config_of(rl__start='init', rl__iterations=1)
  config.rl.observations, config.rl.weights.world_model = True, 0.05
  rl.rl_in(make, config, tmp_path)
  line = lines(tmp_path)[0]
  assert line['updates'] == 1 and line['world_model/tokens'] > 100


def test_a_policy_is_evaluated_beside_the_one_it_came_from(workdir):
  config = config_of(evaluate__policy='rl', evaluate__world_model_states=0)
  summary = evaluate.evaluate_in(make, config, workdir)
  assert (summary['name'], summary['policy']) == ('joint_rl', 'rl')
  assert (workdir / 'evaluate' / 'joint_rl' / 'summary.json').exists()


def copied(workdir, to, *names):
  for name in names:
    shutil.copytree(workdir / name, to / name)
  return to


def test_a_failed_episode_costs_its_group_and_is_counted(
  workdir, tmp_path, capsys
):
  class Fails(Told):
    asked = 0

    def reset(self, task):
      Fails.asked += task.id == chosen
      if task.id == chosen and Fails.asked == 2:
        raise OSError('no such game')
      return super().reset(task)

  chosen = episodes(workdir, 0)[0]['task_id']
  config = config_of(rl__iterations=1, cluster__tries=1)
  copied(workdir, tmp_path, 'prepare', 'train', 'collect')
  summary = rl.rl_in(lambda: Fails(tasks=32), config, tmp_path)
  assert (summary['episodes_failed'], summary['groups_failed']) == (1, 1)
  (line, _) = lines(tmp_path)
  found = episodes(tmp_path, 0)
  assert [r['reason'] for r in found if 'reason' in r] == ['error']
  solved = sum(record.get('success', False) for record in found)
  assert line['success/rate'] == pytest.approx(solved / 16)  # of all asked


def test_without_variance_there_is_no_update_and_a_line_that_says_so(
  workdir, tmp_path, capsys
):
  class Lost(Told):
    def step(self, action):
      turn = super().step(action)
      return type(turn)(turn.observation, done=turn.done)

  config = config_of(rl__iterations=2)
  copied(workdir, tmp_path, 'prepare', 'train', 'collect')
  summary = rl.rl_in(lambda: Lost(tasks=32), config, tmp_path)
  assert (summary['steps'], summary['groups_even']) == (0, 2 * TASKS)
  said = capsys.readouterr().err
  assert 'iteration 1 makes no update: of 4 groups 4 have no variance' in said


def test_episodes_that_fit_no_row_make_no_update(workdir, tmp_path, capsys):
  class Wordy(Told):
    def reset(self, task):
      turn = super().reset(task)
      self.instruction *= 50
      return turn

  config = config_of(rl__iterations=1, rl__observations=True)
  config.rl.weights.world_model = 0.05
  copied(workdir, tmp_path, 'prepare', 'train', 'collect')
  summary = rl.rl_in(lambda: Wordy(tasks=32), config, tmp_path)
  assert summary['steps'] == 0
  said = capsys.readouterr().err
  assert 'iteration 0 makes no update: of 4 groups 4 have no variance' in said
  assert 'no row holds what the others were told' in said
  (line,) = lines(tmp_path)[:1]
  assert line['success/rate'] == 0 < line['success/high'] < 1


def fails(match, config, workdir):
  """One line that says it, and no folder begun with a wrong setting."""
  with pytest.raises(UserError, match=match) as error:
    rl.rl_in(make, config, workdir)
  assert '\n' not in str(error.value)
  assert not (workdir / 'rl' / config.name).exists()


def test_what_is_wrong_is_one_line_and_leaves_nothing(workdir, tmp_path):
  copied(workdir, tmp_path, 'prepare', 'train', 'collect')
  fails('early_experience.train ', config_of(rl__start='never'), tmp_path)
  fails('rl.reward is .luck.', config_of(rl__reward='luck'), tmp_path)
  fails('rl.group is 1, not', config_of(rl__group=1), tmp_path)
  fails('rl.dual_clip is 0.5, not', config_of(rl__dual_clip=0.5), tmp_path)
  fails('rl.row_tokens = 20 ', config_of(rl__row_tokens=20), tmp_path)
  fails('fewer than config.rl.tasks', config_of(rl__tasks=30), tmp_path)
  fails('have 128 tokens, those of rl 160', with_rows(), tmp_path)
  fails('do not go together', config_of(rl__mixed_rows=2), tmp_path)
  config = config_of()
  config.rl.kl_weight, config.rl.keep_start = 0.1, False
  fails('kl_weight needs', config, tmp_path)
  config = config_of(rl__observations=False)
  config.rl.weights.world_model = 0.05
  fails('weights.world_model = 0.05 weighs nothing', config, tmp_path)


def with_rows():
  return config_of(rl__mixed_rows=1, rl__rows={'expert': 1.0})


def test_a_reward_that_is_no_number_is_named():
  record = {'task_id': 'a', 'member': 3, 'score': math.nan, 'steps': []}
  with pytest.raises(UserError, match='task a, episode 3 is nan'):
    advantages.reward(record, config_of(rl__reward='score').rl)


def test_observations_and_prepared_rows_are_learnt_in_the_same_updates(
  workdir, tmp_path
):
  copied(workdir, tmp_path, 'prepare', 'train', 'collect')
  config = with_rows()
  config.model.max_tokens = 128
  config.evaluate.constrained = False  # so that no group is without variance
  config.rl.iterations, config.rl.observations = 1, True
  config.rl.weights.world_model, config.rl.weights.imitation = 0.05, 0.1
  config.rl.invalid_penalty, config.rl.epochs = 0.1, 2
  config.rl.kl_weight, config.rl.minibatches = 0.01, 2
  config.rl.update(ratio='sequence', clip_low=3e-4, clip_high=4e-4)
  rl.rl_in(make, config, tmp_path)
  line = lines(tmp_path)[0]
  assert line['updates'] == 4 == line['step']
  assert 0 < line['clipped'] < 1  # ratios of episodes are clipped closely
  assert line['imitation/tokens'] > 0  # of the rows
  found = prepare_counts(tmp_path)
  assert line['world_model/tokens'] > 4 * found  # and of the episodes


def prepare_counts(workdir):
  manifest = workdir / 'prepare' / 'rows' / 'expert' / 'manifest.json'
  manifest = json.loads(manifest.read_text())
  return manifest['scored']['world_model'] / manifest['rows']


def test_settings_are_held_to(workdir):
  config = copy.deepcopy(config_of())
  config.rl.lr_peak = 1e-4
  with pytest.raises(UserError, match='begun with other settings: rl.lr_peak'):
    rl.rl_in(make, config, workdir)
