"""Rounds: what a policy did is what the next one learns from."""

import json
import shutil

import pytest

from early_experience import rounds, visit
from early_experience.envs.interface import Task
from early_experience.experience import records
from early_experience.reporting import report_data, round_folders
from early_experience.runtime import files, stage
from early_experience.runtime.errors import UserError
from tests import test_evaluate, toy_env

EPISODES = 3


def config_of(**changes):
  config = test_evaluate.config_of(name='joint')
  config.env.name = 'tests.toy_env:Asked'
  config.cluster.workers = 1
  config.collect.trajectories, config.prepare.held_out = 3, 0.5
  config.prepare.rows = {
    'expert': {'datasets': ('imitation', 'world_model')},
    'joint': {'datasets': ('imitation', 'world_model'), 'k': 2},
    'unused': {'datasets': ('reflection',)},
  }
  (one,) = config.train.stages
  one.rows, one.steps = {'joint': 0.5, 'expert': 0.5}, 4
  config.evaluate.update(tasks=4, max_steps=3, world_model_states=0)
  config.evaluate.constrained = False  # so that it goes wrong
  config.rounds, config.visit.episodes = 2, EPISODES
  config.env.kwargs.update(changes)
  return config


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('run')
  return workdir, rounds.rounds(config_of(), str(workdir))


def explored(workdir, number):
  folder = workdir / f'round-{number}' / 'explore'
  return {t.task_id: t for t in records.read(folder)}


def test_every_round_plays_the_same_tasks(finished):
  workdir, found = finished
  assert list(found) == ['round-1/joint', 'round-2/joint']
  panels = {of['splits']['test']['panel'] for of in found.values()}
  assert len(panels) == 1


def test_what_was_explored_stays_and_the_policy_adds_to_it(finished):
  first, second = (explored(finished[0], n) for n in (1, 2))
  assert len(first) == 3 and first.keys() < second.keys()
  policy = 0
  for task, before in first.items():
    after = second[task]
    assert after.by_expert and after.outcome(0) == before.outcome(0)
    for old, new in zip(before.steps, after.steps, strict=True):
      kept = len(old.alternatives)
      assert new.alternatives[:kept] == old.alternatives
      assert len(new.tried) == 1 + len(new.alternatives)
      assert all(a.proposer == 'policy' for a in new.alternatives[kept:])
      policy += len(new.alternatives[kept:])
  assert policy > 0


def test_the_expert_is_asked_where_the_policy_went_by_itself(finished):
  first, second = (explored(finished[0], n) for n in (1, 2))
  own = [t for task, t in second.items() if task not in first]
  assert len(own) == EPISODES - 1, 'one cannot be solved: the expert gives up'
  env, differ = toy_env.Asked(), 0
  for trajectory in own:
    opening = env.reset(Task(trajectory.task_id, 'train', ''))
    past = []
    for step in trajectory.steps:
      assert step.advice == env.advise(opening, past)
      if step.advice != step.action:
        differ += 1
        told = step.alternatives[0]
        assert (told.action, told.proposer) == (step.advice, 'expert')
        assert told.observation == env.clone().step(told.action).observation
      past.append((step.action, env.step(step.action)))
  assert differ > 0
  summary = stage.finished(finished[0] / 'round-2' / 'collect')
  assert (summary['trajectories'], summary['episodes']) == (5, EPISODES)
  played = files.read_jsonl(finished[0] / 'round-2' / 'collect', visit.ROLLOUTS)
  assert summary['solved'] == sum(record['success'] for _, record in played)
  assert summary['visited'] - summary['agreed'] == differ


def test_rows_hold_what_all_rounds_tried(finished):
  one, two = (
    stage.finished(finished[0] / f'round-{n}' / 'prepare') for n in (1, 2)
  )
  assert set(two['rows']) == {'expert', 'joint'}, 'those that are trained on'
  assert (one['rows']['joint']['k'], two['rows']['joint']['k']) == (2, 5)
  splits = [
    files.read_json(finished[0] / f'round-{n}' / 'prepare' / 'split.json')
    for n in (1, 2)
  ]
  assert splits[0] == splits[1], 'the same is held out'


def test_one_page_has_them_all(finished):
  workdir, found = finished
  data = report_data.gather(workdir, seed=0)
  assert data['policies'] == list(found) == list(data['curves'])
  assert [line['round'] for line in data['rounds']] == [1, 2]
  assert [line['asked'] > 0 for line in data['rounds']] == [False, True]
  assert data['conclusions'][0].startswith('round-2/joint is ')
  assert data['stages']['round-2/train/joint']['state'] == 'done'
  assert data['trees']['total'] == 5


def plain(value):
  return json.loads(json.dumps(value))


def content(folder):
  """All records; episodes are written as they end."""
  found = {}
  for path in sorted(folder.rglob('*.jsonl')):
    lines = path.read_bytes().splitlines()
    lines = sorted(lines) if path.name.startswith('rollouts') else lines
    found[str(path.relative_to(folder))] = lines
  return {name: some for name, some in found.items() if 'metrics' not in name}


def test_stopped_anywhere_the_same_command_goes_on(finished, tmp_path):
  workdir = tmp_path / 'run'
  shutil.copytree(finished[0], workdir)
  second = workdir / 'round-2'
  for name in ('explore', 'prepare', 'train', 'evaluate'):
    shutil.rmtree(second / name)
  (second / 'collect' / stage.SUMMARY).unlink()
  for stem, kept in (('rollouts', 1), ('trajectories', 4)):
    path = second / 'collect' / f'{stem}-00000.jsonl'
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b''.join(lines[:kept]) + lines[kept][:30])
  again = rounds.rounds(config_of(), str(workdir))
  assert plain(again) == plain(finished[1])
  assert content(workdir) == content(finished[0])


def test_where_the_expert_cannot_be_asked_there_is_the_trunk_alone(
  finished, tmp_path, capsys
):
  before = finished[0] / 'round-1'
  visit.visit(config_of(advises=False), str(tmp_path), str(before))
  said = capsys.readouterr().out
  assert 'the expert of this environment only acts; 3 trajectories' in said
  first = records.read(before / 'explore')
  assert list(records.read(tmp_path / 'collect')) == list(first)


def test_what_cannot_be_is_said_before_anything_begins(tmp_path):
  config = config_of()
  config.evaluate.policy = 'random'
  with pytest.raises(UserError, match="policy that is trained, not 'random'"):
    rounds.rounds(config, str(tmp_path))
  config = config_of()
  config.explore.proposers.update(uniform=0.0, policy=1.0)
  with pytest.raises(UserError, match='round 1 has none yet'):
    rounds.rounds(config, str(tmp_path))
  config = config_of()
  config.explore.k = 3
  with pytest.raises(
    UserError, match=r'joint\.k=2 is below config.explore.k=3'
  ):
    rounds.rounds(config, str(tmp_path))
  assert not list(tmp_path.iterdir())


def test_states_that_a_policy_was_set_aside_in_are_not_the_experts(tmp_path):
  for number, (collected, explored) in enumerate(
    [({}, {'states': 9}), ({'asked': 5}, {'states': 12, 'asked': 3})], 1
  ):
    for name, summary in (('collect', collected), ('explore', explored)):
      folder = round_folders.folder(tmp_path, number) / name
      folder.mkdir(parents=True)
      files.write_json(folder / stage.SUMMARY, summary)
  rates = {'splits': {'seen': {'success': {}}}}
  found = round_folders.over_rounds(tmp_path, {'round-2/joint': rates})
  assert [(line['states'], line['asked']) for line in found] == [(9, 5)]
