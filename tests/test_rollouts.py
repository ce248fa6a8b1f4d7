"""Rollouts: who plays what, how an episode ends, and what is recorded."""

import pytest

from early_experience.evaluation import rollouts
from early_experience.evaluation.rollouts import Decision
from early_experience.experience import render
from early_experience.work import hosts
from early_experience.work.units import Failure
from tests.toy_env import ToyEnv


class Expert:
  """Opens box after box; needs to be asked twice where `slow`."""

  lists = True

  def __init__(self, slow=False):
    self.slow, self.asked = slow, set()

  def act(self, requests):
    return [request and self.decide(request) for request in requests]

  def decide(self, request):
    if self.slow and request.key not in self.asked:
      self.asked.add(request.key)
      return None
    takes = [a for a in request.admissible if a.startswith('take')]
    opened = sum(turn.role == 'action' for turn in request.script)
    return Decision(takes[0] if takes else f'open  box {opened + 1}', 'hm')


def play(policy, slots=3, tasks=8, max_steps=9, **env):
  make = lambda: ToyEnv(tasks=tasks, **env)
  played = rollouts.run(
    make().tasks('test'),
    hosts.Here(make),
    policy,
    slots=slots,
    max_steps=max_steps,
    tries=1,
  )
  return {task.id: result for task, result in played}


def test_every_task_is_played_once_and_recorded_as_it_went():
  found = play(Expert())
  assert set(found) == {f'test-{i}' for i in range(8)}
  assert found['test-1'] == {
    'task_id': 'test-1',
    'split': 'test',
    'task_type': 'far',
    'instruction': 'Take the coin.',
    'success': True,
    'score': 1.0,
    'end': 'done',
    'steps': [
      {
        'observation': 'You see box 1, box 2, box 3.',
        'thought': 'hm',
        'action': 'open box 1',
        'valid': True,
      },
      {
        'observation': 'You open box 1 and it is empty.',
        'thought': 'hm',
        'action': 'open box 2',
        'valid': True,
      },
      {
        'observation': 'You open box 2 and there is a coin.',
        'thought': 'hm',
        'action': 'take coin from box 2',
        'valid': True,
      },
    ],
    'final_observation': 'You have the coin.',
  }
  # The last of four has no coin, so its episode is cut, with a wrong action.
  assert [found[f'test-{i}']['success'] for i in range(4)] == [1, 1, 1, 0]
  assert found['test-3']['end'] == 'max_steps'
  assert len(found['test-3']['steps']) == 9
  assert [s['valid'] for s in found['test-3']['steps']] == [1] * 3 + [0] * 6


def test_a_policy_is_shown_the_turns_that_training_renders():
  scripts = []

  class Watched(Expert):
    def decide(self, request):
      scripts.append(request.script)
      return super().decide(request)

  play(Watched(), slots=1, tasks=2)
  observations = [
    'You see box 1, box 2, box 3.',
    'You open box 1 and it is empty.',
    'You open box 2 and there is a coin.',
  ]
  assert scripts[-1] == render.history(
    'Take the coin.', observations, ['open box 1', 'open box 2']
  )


def test_episodes_do_not_depend_on_those_beside_them():
  expected = play(Expert(), slots=1)
  assert play(Expert(), slots=5) == expected
  assert play(Expert(slow=True), slots=3) == expected
  expected = play(rollouts.RandomPolicy(seed=3), slots=1)
  assert play(rollouts.RandomPolicy(seed=3), slots=4) == expected
  assert play(rollouts.RandomPolicy(seed=4), slots=4) != expected


@pytest.mark.parametrize(
  'decision, why',
  [
    (Decision(None, 'hm', 'out_of_context'), 'out_of_context'),
    (Decision(None), 'no_action'),
  ],
)
def test_a_policy_without_an_action_ends_its_episode_without_success(
  decision, why
):
  class Short(Expert):
    def decide(self, request):
      if len(request.script) > 4:
        return decision
      return super().decide(request)

  found = play(Short())
  assert found['test-0']['success']
  assert found['test-2']['end'] == why
  assert not found['test-2']['success']
  assert len(found['test-2']['steps']) == 2


def test_what_is_admissible_is_not_found_for_a_policy_that_does_not_choose():
  class Writes(Expert):
    lists = False

    def decide(self, request):
      assert request.admissible is None
      return Decision('open box 1')

  class Unlisted(ToyEnv):
    def admissible(self):
      raise AssertionError('nobody reads it')

  records = dict(
    rollouts.run(
      Unlisted(tasks=3).tasks('test'),
      hosts.Here(lambda: Unlisted(tasks=3)),
      Writes(),
      slots=2,
      max_steps=2,
      tries=1,
    )
  )
  assert [len(record['steps']) for record in records.values()] == [2, 2, 2]


def test_random_picks_every_admissible_action_and_no_other():
  policy = rollouts.RandomPolicy(seed=0)
  actions = [
    step['action']
    for record in play(policy, tasks=30).values()
    for step in record['steps']
  ]
  counts = [actions.count(f'open box {i}') for i in (1, 2, 3)]
  assert all(0.15 < count / len(actions) < 0.4 for count in counts)
  assert all(s['valid'] for r in play(policy).values() for s in r['steps'])
  failures = play(policy, lists=False)
  assert len(failures) == 8
  assert failures['test-3'].reason == 'nothing admissible'
  assert "policy='random' needs an env" in failures['test-3'].error
  assert failures['test-3'].error.endswith('none at test-3/0')


def test_a_decision_that_cannot_be_taken_costs_its_own_episode():
  class Stumbles(Expert):
    def decide(self, request):
      if request.key == 'test-1/1':
        return Failure('dizzy', 'at step 1')
      return super().decide(request)

  whole, found = play(Expert()), play(Stumbles())
  assert found.pop('test-1') == Failure('dizzy', 'at step 1')
  del whole['test-1']
  assert found == whole
