"""Policies are compared on what both were asked, and it is said in words."""

import json
import shutil

import pytest

from early_experience.evaluation import panel
from early_experience.reporting import report_data, results
from tests import tiny_workdir


def rollouts(**solved):
  return [
    {'split': 'seen', 'task_id': task, 'success': success}
    for task, success in solved.items()
  ]


def asked(*ids):
  return {'seen': dict.fromkeys(ids, 'kind')}


def test_what_one_policy_was_not_played_on_is_not_solved_by_it():
  (pair,) = results.comparisons(
    {'old': asked('a', 'b', 'c', 'd'), 'new': asked('d', 'c', 'b', 'a')},
    {
      'old': rollouts(a=False, b=False, c=True),  # d was set aside
      'new': rollouts(d=True, c=True, b=True),
    },
  )
  assert (pair['a'], pair['b'], pair['n']) == ('new', 'old', 4)
  assert (pair['only_a'], pair['only_b'], pair['same']) == (2, 0, True)
  assert pair['difference'] == pytest.approx(2 / 4)


def test_policies_that_were_asked_other_tasks_are_not_compared():
  solved = rollouts(a=True, b=True)
  pairs = results.comparisons(
    {'old': asked('a', 'b'), 'new': asked('a', 'c')},
    {'old': solved, 'new': solved},
  )
  assert pairs == [{'split': 'seen', 'a': 'new', 'b': 'old', 'same': False}]


def summary(count, n, aside=0, policy='trained', which='all'):
  ids = [str(i) for i in range(n)]
  found = [
    {
      'task_id': i,
      'task_type': 'kind',
      'success': int(i) < count,
      'end': 'done',
      'steps': [],
    }
    for i in ids[: n - aside]
  ]
  one = panel.summarise(found, dict.fromkeys(ids, 'kind'))
  return {'policy': policy, 'panel': which, 'splits': {'un_seen': one}}


def told(**found):
  panels = {
    name: {'un_seen': dict.fromkeys(map(str, range(one['tasks'])), 'kind')}
    for name, of in found.items()
    for one in of['splits'].values()
  }
  rolled = {
    name: [
      {'split': 'un_seen', 'task_id': str(i), 'success': True}
      for i in range(of['splits']['un_seen']['success']['count'])
    ]
    for name, of in found.items()
  }
  pairs = results.comparisons(panels, rolled)
  starts = {'anew_rl': 'joint', 'imitation_rl': 'imitation'}
  return results.conclusions(found, pairs, starts)


def test_who_is_ahead_of_imitation_is_said_first():
  assert told(
    random=summary(1, 100, policy='random'),
    imitation=summary(50, 100, aside=3),
    joint=summary(62, 100),
    other=summary(40, 100),
    same=summary(50, 100),
  ) == [
    'joint is ahead of imitation by 12.0 points on 100 un seen tasks (95%'
    ' interval +5.3 to +18.4; set aside and counted as not solved: 3 of'
    ' imitation).',
    'same is level with imitation on 100 un seen tasks (95% interval −1.9 to'
    ' +1.9, which may be chance; set aside and counted as not solved: 3 of'
    ' imitation).',
    'other is behind imitation by 10.0 points on 100 un seen tasks (95%'
    ' interval −16.0 to −3.8; set aside and counted as not solved: 3 of'
    ' imitation).',
  ]


def test_what_rl_made_is_compared_with_what_it_went_on_from():
  of_rl = lambda name, count: summary(count, 100, policy='rl') | {'name': name}
  said = told(
    imitation=summary(30, 100),
    joint=summary(50, 100),
    imitation_rl=of_rl('imitation_rl', 60),
    anew_rl=of_rl('anew_rl', 90),
  )
  assert [line.split(' by ')[0] for line in said] == [
    'joint is ahead of imitation',
    'imitation_rl is ahead of imitation',
    'anew_rl is ahead of joint',
  ]


def test_a_long_log_of_rl_keeps_its_ends():
  lines = [{'success/rate': i, 'step': i} for i in range(400)]
  found = report_data._sparse(lines, 300)
  assert len(found) <= 300 and found[-1] == lines[-1]
  found = report_data._sparse([*lines, {'panel/rate': 0.5}], 300)
  assert found[-2:] == [lines[-1], {'panel/rate': 0.5}]


def test_where_there_is_nothing_to_compare_the_rate_is_said():
  assert told(imitation=summary(50, 100)) == [
    'imitation solves 50.0% of 100 un seen tasks (95% interval 40.4% to 59.6%;'
    ' none was set aside); there is no other trained policy to compare it with.'
  ]
  (line,) = told(joint=summary(5, 10, 1))
  assert line.endswith('1 of joint); there is no imitation to compare it with.')
  assert told(random=summary(1, 10, policy='random')) == []


def test_each_panel_is_told_by_itself():
  lines = told(
    **{
      'imitation': summary(5, 10),
      'imitation-dev': summary(5, 10, which='dev'),
      'joint-dev': summary(5, 10, which='dev'),
    }
  )
  assert len(lines) == 2
  says = 'joint-dev is level with imitation-dev on 10 un seen tasks of the dev'
  assert lines[1].startswith(f'{says} panel (')


def test_success_stands_beside_the_number_of_samples():
  def sampled(count, samples, ahead=False, **settings):
    how = {'samples': samples, 'look_ahead': ahead, **settings}
    return summary(count, 10) | {'name': 'joint', 'settings': how}

  served = {'openai': {'temperatures': [], 'temperature': 0.3}}
  found = {
    'old': summary(1, 10),
    'joint': sampled(5, 1, temperature=0.0),
    'joint-vote9': sampled(7, 9, temperature=0.5),
    'joint-vote3': sampled(6, 3, temperature=0.5),
    'joint-look3': sampled(8, 3, ahead=True, temperature=0.5),
    'api-vote3': sampled(4, 3, **served) | {'name': 'api', 'policy': 'served'},
  }
  told = [
    [(p['evaluation'], p['samples'], p['temperature'], p['count']) for p in ps]
    for ps in (line['points'] for line in results.over_samples(found))
  ]
  one = ('joint', 1, 0.0, 5)
  assert told == [
    [one, ('joint-vote3', 3, 0.5, 6), ('joint-vote9', 9, 0.5, 7)],
    [one, ('joint-look3', 3, 0.5, 8)],
    [('api-vote3', 3, 0.3, 4)],
  ]
  (line, *_) = results.over_samples(found)
  assert line['tasks'] == 'un seen tasks'


def test_an_evaluation_of_an_older_version_is_counted_anew(tmp_path):
  workdir = tiny_workdir.build(tmp_path / 'run', trajectories=2, tasks=9)
  new = results.evaluations(workdir)
  folder = workdir / 'evaluate' / 'random'
  old = json.loads((folder / 'summary.json').read_text())
  del old['panel']
  for of in old['splits'].values():
    for key in ('panel', 'no_action', 'flawless', 'repeat_rate'):
      del of[key]
    for rate in (of['success'], *of['by_type'].values()):
      rate['n'] -= rate.pop('set_aside')
  (folder / 'summary.json').write_text(json.dumps(old))
  (folder / panel.FILE).unlink()
  again = results.evaluations(workdir)['random']['splits']['seen']
  assert again['success'] == new['random']['splits']['seen']['success']
  assert again['success']['n'] == 9 and again['success']['set_aside'] == 2
  asked = results.panels(workdir, ['random', 'joint'])
  assert asked['random'].keys() == asked['joint'].keys()
  shutil.rmtree(folder)
  assert 'random' not in results.evaluations(workdir)
