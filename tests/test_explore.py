"""Exploring: which alternatives are tried, and that each branch is true."""

import dataclasses
import re

import pytest

from early_experience import collect, explore
from early_experience.config import default
from early_experience.experience import records
from early_experience.exploration import branching, proposers
from early_experience.runtime import files
from early_experience.runtime.errors import UserError
from tests.toy_env import ToyEnv


def settings(k=2, **shares):
  config = default()
  config.env.name = 'toy'
  config.collect.trajectories = 4
  config.explore.k = k
  config.explore.proposers = shares or {'uniform': 1.0}
  return config


def explored(workdir, config=None, env=None, lists=True):
  config = config or settings()
  collect.collect_from(ToyEnv(lists=lists), config, workdir)
  summary = explore.explore_in(env or ToyEnv(), config, workdir)
  return summary, list(records.read(workdir / 'explore'))


class Says:
  """A proposer that has always the same ideas."""

  def __init__(self, *actions):
    self.actions = list(actions)

  def propose(self, contexts, k):
    return [self.actions for _ in contexts]


def choose(k, step=0, **named):
  context = proposers.Context(
    't', step, 'do', ('here',), (), ('look', 'go', 'wait', 'sit')
  )
  (chosen,) = proposers.alternatives(
    [context], [{'go'}], named, k, lambda action: ' '.join(action.split())
  )
  return chosen


def test_alternatives_are_distinct_and_never_the_experts(tmp_path):
  summary, trajectories = explored(tmp_path)
  for trajectory in trajectories:
    for step in trajectory.steps:
      actions = [a.action for a in step.alternatives]
      assert len(actions) == len(set(actions)) == 2
      assert step.action not in actions
      assert set(actions) <= set(step.admissible)
  assert summary['branches'] == 2 * summary['states'] == 24 - 2
  assert summary['by_proposer'] == {'uniform': summary['branches']}


def test_recalled_actions_are_listed_elsewhere_in_the_episode_and_not_here(
  tmp_path,
):
  explored(tmp_path, settings(k=9, recalled=1.0))
  found = 0
  for trajectory in records.read(tmp_path / 'explore'):
    listed = {a for step in trajectory.steps for a in step.admissible}
    for step in trajectory.steps:
      tried = {other.action for other in step.alternatives}
      assert tried == listed - set(step.admissible)
      assert all(not other.valid for other in step.alternatives)
      found += len(tried)
  assert found


def test_what_is_recalled_leaves_the_rest_to_the_others(tmp_path):
  summary, *_ = explored(tmp_path, settings(k=2, recalled=0.5, uniform=0.5))
  found = summary['by_proposer']
  assert found['recalled'] + found['uniform'] == summary['branches']
  assert summary['branches'] == 2 * summary['states']


class Jams(ToyEnv):
  """Whoever opens box 3 before box 1 will find no coin."""

  def step(self, action):
    if action == 'open box 3' and 1 not in self._open:
      self._coin = 0
    return super().step(action)


def test_rejoining_is_counted_where_it_is_asked_for(tmp_path):
  config = settings(k=3)
  config.explore.rejoin = True
  collect.collect_from(Jams(), config, tmp_path)
  summary = explore.explore_in(Jams(), config, tmp_path)
  found = [
    other.rejoins
    for trajectory in records.read(tmp_path / 'explore')
    for step in trajectory.steps
    for other in step.alternatives
  ]
  assert 0 < summary['rejoin'] == sum(found) < len(found)


def test_what_an_older_version_explored_is_counted(tmp_path):
  explored(tmp_path)
  (path,) = (tmp_path / 'explore').glob('trajectories-*.jsonl')
  text = path.read_text('utf-8')
  path.write_text(re.sub(', ?"rejoins": ?null', '', text), 'utf-8')
  assert 'rejoins' not in path.read_text('utf-8')
  (tmp_path / 'explore' / 'summary.json').unlink()
  summary = explore.explore_in(ToyEnv(), settings(), tmp_path)
  assert (summary['branches'] > 0, summary['rejoin']) == (True, 0)


class Tells(ToyEnv):
  def fingerprint(self):
    return self._coin, self._open


def test_an_outcome_is_what_the_environment_answers_in_that_state(tmp_path):
  _, trajectories = explored(tmp_path, settings(exhaustive=1.0))
  last = trajectories[1].steps[2]
  assert {a.action: a.observation for a in last.alternatives} == {
    'look': 'You see box 1, box 2, box 3.',
    'open box 1': 'You open box 1 and it is empty.',
    'open box 2': 'You open box 2 and there is a coin.',
    'open box 3': 'You open box 3 and it is empty.',
  }


def test_an_alternative_leaves_the_trunk_as_it_was(tmp_path):
  _, trajectories = explored(tmp_path)
  trunk = [
    dataclasses.replace(
      t, steps=tuple(dataclasses.replace(s, alternatives=()) for s in t.steps)
    )
    for t in trajectories
  ]
  assert trunk == list(records.read(tmp_path / 'collect'))


def test_replay_gives_the_branches_that_clones_give(tmp_path):
  _, cloned = explored(tmp_path / 'clone')
  _, replayed = explored(tmp_path / 'replay', env=ToyEnv(clones=False))
  assert cloned == replayed


def test_the_choice_depends_on_the_seed_and_the_state_alone(tmp_path):
  _, first = explored(tmp_path / 'a')
  config = settings()
  config.collect.trajectories = 2
  _, fewer = explored(tmp_path / 'b', config)
  assert fewer == first[:2]
  config = settings()
  config.seed = 1
  _, other = explored(tmp_path / 'c', config)
  assert other != first


def test_ideas_are_made_canonical_before_they_are_compared():
  said = Says(' look ', 'look', 'go', '  go', '', 'fly  home', 'nap')
  assert choose(2, policy=(said, 1.0)) == [
    ('look', 'policy'),
    ('fly home', 'policy'),
  ]


def test_a_mix_fills_from_the_list_what_the_policy_leaves_open():
  named = {
    'uniform': (proposers.Uniform(0), 1.0),
    'policy': (Says('nap', 'sit'), 1.0),
  }
  chosen = dict(choose(4, **named))
  assert chosen == {
    'nap': 'policy',
    'sit': 'policy+uniform',
    'look': 'uniform',
    'wait': 'uniform',
  }
  many = Says('nap', 'jump', 'run', 'hop')
  chosen = choose(4, **named | {'policy': (many, 1.0)})
  assert sorted(name for _, name in chosen) == ['policy'] * 2 + ['uniform'] * 2


def test_the_first_few_of_a_mix_are_as_all_are_and_each_in_its_own_order():
  said = Says('nap', 'jump')
  named = {
    'policy': (said, 1.0),
    'uniform': (proposers.Uniform(0), 1.0),
  }
  firsts = 0
  for step in range(200):
    chosen = choose(4, step=step, **named)
    firsts += chosen[0][1] == 'policy'
    alone = {
      name: choose(2, step=step, **{name: named[name]}) for name in named
    }
    assert alone == {
      name: [one for one in chosen if one[1] == name] for name in named
    }
  assert 80 < firsts < 120


def test_a_policy_is_asked_for_what_it_would_see_when_it_acts(tmp_path):
  collect.collect_from(ToyEnv(), settings(), tmp_path)
  trajectory = list(records.read(tmp_path / 'collect'))[1]

  class Agent:
    def propose(self, histories, k, temperature, seed):
      self.asked = histories, k, temperature
      return [[f'say {i}' for i in range(k)] for _ in histories]

  agent = Agent()
  named = {'policy': (proposers.Policy(agent, 0.7, seed=0), 1.0)}
  contexts = proposers.contexts_of(trajectory)
  known = [{step.action} for step in trajectory.steps]
  chosen = proposers.alternatives(contexts, known, named, 2, str.strip)
  assert chosen == [[('say 0', 'policy'), ('say 1', 'policy')]] * 3
  histories, k, temperature = agent.asked
  assert (k, temperature) == (2, 0.7)
  assert histories[1] == (
    'Take the coin.',
    ['You see box 1, box 2, box 3.', 'You open box 1 and it is empty.'],
    ['open box 1'],
  )


def test_exhaustive_knows_no_limit():
  chosen = choose(1, exhaustive=(proposers.Exhaustive(), 1.0))
  assert [action for action, _ in chosen] == ['look', 'wait', 'sit']


def test_an_action_that_is_rejected_is_kept_and_marked(tmp_path):
  config = settings()
  collect.collect_from(ToyEnv(), config, tmp_path)
  trajectory = next(records.read(tmp_path / 'collect'))
  proposals = [[('fly', 'policy')] for _ in trajectory.steps]
  env = ToyEnv()
  task = env.tasks('train')[0]
  found = branching.branch(env, task, trajectory, proposals).steps[0]
  assert found.alternatives == (
    records.Alternative('fly', 'Nothing happens.', False, False, 'policy'),
  )


def test_a_killed_run_continues_and_ends_the_same(tmp_path):
  whole = explored(tmp_path / 'whole')
  config = settings()
  collect.collect_from(ToyEnv(), config, tmp_path / 'killed')

  class Dies(ToyEnv):
    def reset(self, task):
      if task.id == 'train-2':
        raise KeyboardInterrupt
      return super().reset(task)

  with pytest.raises(KeyboardInterrupt):
    explore.explore_in(Dies(), config, tmp_path / 'killed')
  assert explored(tmp_path / 'killed', config) == whole


@pytest.mark.parametrize('clones', [True, False])
def test_no_branch_is_taken_from_a_state_that_is_not_the_recorded(
  tmp_path, clones
):
  class Drifts(ToyEnv):
    def step(self, action):
      turn = super().step(action)
      if action == 'open box 2':
        turn = dataclasses.replace(turn, observation='The lid is stuck.')
      return turn

  summary, trajectories = explored(
    tmp_path, settings(k=1), Drifts(clones=clones)
  )
  assert [t.task_id for t in trajectories] == ['train-0', 'train-4']
  assert summary['set_aside'] == {'no longer replays': 2}
  _, line = next(files.read_jsonl(tmp_path / 'explore', 'set_aside'))
  assert line['task_id'] == 'train-1'
  assert re.search(
    'task train-1 step 2: the observation .* recorded', line['error']
  )


def test_a_state_with_another_admissible_list_is_not_the_recorded(tmp_path):
  class Lists(ToyEnv):
    def admissible(self):
      return super().admissible()[::-1]

  with pytest.raises(UserError, match='step 0: the admissible list'):
    explored(tmp_path, env=Lists())


def test_what_an_environment_cannot_put_in_words_costs_its_own_trajectory(
  tmp_path,
):
  """One state lists nothing, an action has no form, a tool no description."""

  class Odd(ToyEnv):
    def canonical(self, action):
      if action == 'hop':
        raise ValueError('no such form')
      return super().canonical(action)

    def without(self, instruction, action):
      return 1 / 0 if action.endswith('coin from box 1') else instruction

    def reset(self, task):
      self.silent = task.id == 'train-2'
      return super().reset(task)

    def admissible(self):
      hop = ('hop',) if self._coin == 2 else ()
      first = not self._open and self.silent
      return None if first else (*super().admissible(), *hop)

  config = settings(exhaustive=1.0)
  config.collect.trajectories = 3
  collect.collect_from(Odd(), config, tmp_path)
  summary = explore.explore_in(Odd(), config, tmp_path)
  (kept,) = records.read(tmp_path / 'explore')
  assert kept.task_id == 'train-2' and not kept.steps[0].alternatives
  assert all(step.alternatives for step in kept.steps[1:])
  aside = files.read_jsonl(tmp_path / 'explore', 'set_aside')
  errors = {line['task_id']: line['error'] for _, line in aside}
  assert summary['set_aside'] == {'error': 2}
  assert 'ZeroDivisionError' in errors['train-0']
  assert 'ValueError: no such form' in errors['train-1']
  with pytest.raises(UserError, match='does not list its actions in any st'):
    explored(tmp_path / 'none', env=ToyEnv(lists=False), lists=False)


def test_bad_input_ends_in_one_line(tmp_path):
  with pytest.raises(UserError, match='run first: .*collect'):
    explore.explore_in(ToyEnv(), settings(), tmp_path)
  with pytest.raises(UserError, match='oracle is no setting; there'):
    explored(tmp_path, settings(oracle=1.0))
  with pytest.raises(UserError, match='config.explore.policy is empty'):
    explored(tmp_path, settings(policy=1.0))
  with pytest.raises(UserError, match='no task train-4'):
    explored(tmp_path, env=ToyEnv(tasks=3))
