"""Three datasets from one record, and one prompt for all of them."""

import dataclasses

from early_experience.experience import render
from early_experience.experience.records import (
  Alternative,
  Rationale,
  Step,
  Trajectory,
)
from early_experience.experience.render import Turn


def trajectory(thought=None):
  other = Alternative('wait', 'Nothing happens.', False, False, 'uniform')
  far = Alternative('go b', 'You are at b.', False, True, 'uniform')
  return Trajectory(
    environment='toy',
    source='made here',
    task_id='t1',
    split='train',
    task_type='walk',
    instruction='reach c',
    steps=(
      Step(
        'start',
        'go a',
        alternatives=(other, far),
        rationales=(Rationale('a is nearer.', ('wait',), 'grounded'),),
      ),
      Step('at a', 'go c', thought=thought, alternatives=(other,)),
    ),
    final_observation='at c',
    success=True,
    score=1.0,
    expert='search',
  )


START = (Turn('task', 'reach c'), Turn('observation', 'start'))


def test_imitation_scores_every_action_of_an_episode_in_one_script():
  (script,) = render.imitation(trajectory())
  assert script[:2] == START
  assert [t.text for t in script if t.scores == 'imitation'] == ['go a', 'go c']


def test_an_expert_thought_is_imitated_and_does_not_enter_the_history():
  episode, think = render.imitation(trajectory(thought='c is next.'))
  assert 'c is next.' not in [t.text for t in episode]
  assert [t.text for t in episode if t.scores] == ['go a']
  assert [(t.role, t.text) for t in think if t.scores] == [
    ('thought', 'c is next.'),
    ('action', 'go c'),
  ]


def test_world_model_scores_the_experts_outcomes_and_the_branches():
  trunk, *branches = render.world_model(trajectory(), k=2)
  assert [t.text for t in trunk if t.scores] == ['at a', 'at c']
  assert [b[-2].text for b in branches] == ['wait', 'go b', 'wait']
  assert branches[1][:2] == START
  assert branches[1][-1] == Turn('observation', 'You are at b.', 'world_model')


def test_k_takes_the_first_alternatives_of_each_state():
  assert len(render.world_model(trajectory(), k=1)) == 1 + 2
  assert len(render.world_model(trajectory(), k=0)) == 1


def test_an_instructed_world_model_never_shares_a_policy_prompt():
  (first, *_), *_ = render.world_model(trajectory(), 0, 'instructed')
  assert first.role == 'system'


def test_reflection_thinks_then_acts_from_the_state_alone():
  (script,) = render.reflection(trajectory())
  assert script == (
    *START,
    Turn('thought', 'a is nearer.', 'reflection'),
    Turn('action', 'go a', 'reflection'),
  )


def test_recovery_imitates_the_expert_where_it_is_proven_to_be_right():
  found = trajectory(thought='c is next.')
  steps = tuple(
    dataclasses.replace(
      step,
      alternatives=tuple(
        dataclasses.replace(other, rejoins=other.action == 'wait')
        for other in step.alternatives
      ),
    )
    for step in found.steps
  )
  found = dataclasses.replace(found, steps=steps)
  first, second = render.recovery(found, k=2)
  assert first == (
    *START,
    Turn('action', 'wait'),
    Turn('observation', 'Nothing happens.'),
    Turn('action', 'go a', 'imitation'),
  )
  assert [(t.role, t.text, t.scores) for t in second[-4:]] == [
    ('action', 'wait', None),
    ('observation', 'Nothing happens.', None),
    ('thought', 'c is next.', 'imitation'),
    ('action', 'go c', 'imitation'),
  ]
  assert render.recovery(found, k=0) == []
  assert render.recovery(trajectory(), k=2) == [], 'nothing was proven'


def test_history_of_evaluation_is_the_training_prompt():
  script = render.history('reach c', ['start', 'at a'], ['go a'])
  training = render.imitation(trajectory())[0][: len(script)]
  assert [(t.role, t.text) for t in script] == [
    (t.role, t.text) for t in training
  ]


def visited(advice):
  """An episode of a policy that went to c by itself."""
  first, second = trajectory().steps
  steps = (
    dataclasses.replace(first, advice='go a', rationales=()),
    dataclasses.replace(second, advice=advice),
  )
  return dataclasses.replace(trajectory(), steps=steps)


def test_where_a_policy_acted_what_the_expert_would_do_is_imitated():
  """Apart, for the episode went on otherwise; and where they agree, in it."""
  episode, told = render.imitation(visited('go b'))
  assert [(t.text, t.scores) for t in episode if t.role == 'action'] == [
    ('go a', 'imitation'),
    ('go c', None),
  ]
  assert told[:-1] == (*START, Turn('action', 'go a'), told[3])
  assert told[3:] == (
    Turn('observation', 'at a'),
    Turn('action', 'go b', 'imitation'),
  )
  assert render.imitation(visited('go c')) == render.imitation(trajectory())
