"""Several samples of a decision, of which most decide."""

import dataclasses

import pytest

from early_experience import collect, evaluate, explore
from early_experience.config import default
from early_experience.evaluation import rollouts
from early_experience.evaluation.decisions import Decision, Request
from early_experience.evaluation.episode import elected
from early_experience.evaluation.look_ahead import LookAhead, rejections
from early_experience.evaluation.voting import Voting
from early_experience.experience import records, render
from early_experience.reporting import results
from early_experience.runtime.errors import UserError
from early_experience.work import hosts
from early_experience.work.units import Failure
from tests import test_agent
from tests.toy_env import ToyEnv

NONE = Decision(None)


class Says:
  """Answers sample i with the i-th of its decisions; notes what it is asked."""

  lists = False

  def __init__(self, *decisions, late=()):
    self.decisions, self.late, self.asked = decisions, set(late), []

  def act(self, requests):
    self.asked.append([request and request.sample for request in requests])
    return [request and self.decide(request) for request in requests]

  def decide(self, request):
    if request.sample in self.late:
      self.late.remove(request.sample)
      return None
    return self.decisions[request.sample]


def request(key='a/0'):
  return Request(key, (), None)


def play(policy, tasks=1, max_steps=1, env=ToyEnv):
  made = lambda: env(tasks=tasks)
  played = rollouts.run(
    made().tasks('test'),
    hosts.Here(made),
    policy,
    slots=2,
    max_steps=max_steps,
    tries=1,
  )
  return {task.id: result for task, result in played}


def test_most_votes_win_and_of_a_tie_the_action_sampled_first():
  assert elected(['a', 'b', 'b']) == 1
  assert elected(['b', 'a', 'a', 'b']) == 0
  assert elected(['c', 'a', 'b', 'b', 'a']) == 1
  assert elected(['a']) == 0


def test_actions_are_counted_as_the_environment_writes_them():
  policy = Says(
    Decision('look', 'I look.'),
    Decision('open  box 1', 'Spaces.'),
    Decision('open box 1', 'None.'),
  )
  (record,) = play(Voting(policy, 3)).values()
  assert record['steps'] == [
    {
      'observation': 'You see box 1, box 2, box 3.',
      'thought': 'Spaces.',
      'action': 'open box 1',
      'valid': True,
      'votes': {'look': 1, 'open box 1': 2},
    }
  ]


def test_who_says_nothing_or_fails_does_not_vote():
  failed = Failure('server', 'broken')
  policy = Says(NONE, Decision('look'), failed)
  (record,) = play(Voting(policy, 3)).values()
  assert record['steps'][0]['action'] == 'look'
  (record,) = play(Voting(Says(NONE, failed), 2)).values()
  assert record['end'] == 'no_action'
  (result,) = play(Voting(Says(failed, failed), 2)).values()
  assert result == failed


def test_a_decision_waits_for_its_last_sample_and_asks_for_no_other_again():
  policy = Says(Decision('a'), Decision('b'), Decision('b'), late=[1])
  voting = Voting(policy, 3)
  assert voting.act([None, request()]) == [None, None]
  (_, decision) = voting.act([None, request()])
  assert [vote.action for vote in decision.votes] == ['a', 'b', 'b']
  assert policy.asked == [[None] * 3 + [0, 1, 2], [None] * 4 + [1, None]]


@pytest.fixture(scope='module', autouse=True)
def float64():
  with test_agent.jax.enable_x64():
    yield


def test_samples_of_a_model_are_its_own_and_fewer_are_the_first_of_more():
  agent = test_agent.make(4, temperature=2.0)

  def votes(samples):
    asked = [test_agent.start()] + [None] * (4 // samples - 1)
    return Voting(agent, samples).act(asked)[0].votes

  four = votes(4)
  assert len({vote.action for vote in four}) > 1
  assert votes(2) == four[:2]
  assert agent.act([test_agent.start(), None, None, None])[0] == four[0]


def settings(number, **changes):
  config = default()
  config.name = 'chance'
  config.evaluate.policy = 'random'
  config.evaluate.splits = ('test',)
  config.evaluate.max_steps = 3
  config.evaluate.samples = number
  config.evaluate.update(changes)
  return config


def test_ways_to_decide_stand_side_by_side_in_a_workdir(tmp_path):
  for samples in (1, 3):
    evaluate.evaluate_in(ToyEnv, settings(samples), str(tmp_path))
  evaluate.evaluate_in(ToyEnv, settings(3, panel='dev'), str(tmp_path))
  found = results.evaluations(tmp_path)
  assert list(found) == ['chance', 'chance-vote3', 'chance-vote3-dev']
  assert {one['name'] for one in found.values()} == {'chance'}


def test_samples_that_are_all_alike_are_refused(tmp_path):
  config = settings(2, policy='untrained')
  with pytest.raises(UserError, match='samples=2 are all alike: set config.ev'):
    evaluate.evaluate_in(ToyEnv, config, str(tmp_path))
  config = settings(2, policy='served')
  with pytest.raises(UserError, match='evaluate.openai.temperature above 0'):
    evaluate.evaluate_in(ToyEnv, config, str(tmp_path))


class Foretells(Says):
  """Rows are slots times samples; foretells by the action."""

  def __init__(self, *decisions, outcomes=()):
    super().__init__(*decisions)
    self.outcomes, self.scripts = dict(outcomes), []

  def foretell(self, scripts, max_tokens):
    self.scripts += [script for script in scripts if script]
    return [s and self.outcomes.get(s[-1].text, 'News.') for s in scripts]


def ahead(policy, style='inline'):
  return LookAhead(policy, {'Nothing happens.'}, style, 9)


def test_what_is_foretold_to_come_to_nothing_does_not_vote():
  actions = ('sit', 'sit', 'open box 2', 'look', 'look')
  policy = Foretells(
    *map(Decision, actions),
    outcomes={
      'sit': 'Nothing happens.',  # as the environment said before
      'look': 'You see box 1, box 2, box 3.',  # as is seen already
    },
  )
  (record,) = play(Voting(policy, 5, ahead(policy))).values()
  assert record['steps'][0]['action'] == 'open box 2'
  assert record['steps'][0]['votes'] == {'open box 2': 1}
  assert policy.scripts[0] == (
    *render.opening('Take the coin.', 'You see box 1, box 2, box 3.'),
    render.Turn('action', 'sit'),
  )
  # Some tokenizers drop the blanks around what a model says, and others do not.
  policy.outcomes = {
    'sit': 'Nothing happens. ',
    'look': ' You see box 1, box 2, box 3.\n',
  }
  (record,) = play(Voting(policy, 5, ahead(policy))).values()
  assert record['steps'][0]['votes'] == {'open box 2': 1}
  everything = dict.fromkeys(actions, 'Nothing happens.')
  policy.outcomes = everything
  (record,) = play(Voting(policy, 5, ahead(policy))).values()
  assert record['steps'][0]['action'] == 'sit', 'where all would, all vote'


def test_nothing_is_foretold_before_all_samples_are_there():
  policy = Foretells(Decision('a'), NONE, Decision('b'))
  policy.late = {2}
  voting = Voting(policy, 3, ahead(policy, 'instructed'))
  asked = Request('a/0', render.opening('Go.', 'A room.'), None)
  assert voting.act([asked, None]) == [None, None]
  assert not policy.scripts
  (decision, _) = voting.act([asked, None])
  assert [vote.action for vote in decision.votes] == ['a', 'b']
  assert [script[-1].text for script in policy.scripts] == ['a', 'b']
  assert {script[0].role for script in policy.scripts} == {'system'}


def test_rejections_are_what_the_experience_has(tmp_path):
  config = settings(1)
  config.env.name = 'toy'
  config.explore.k = 1
  config.explore.proposers = {'uniform': 1.0}
  collect.collect_from(ToyEnv(), config, tmp_path)
  explore.explore_in(ToyEnv(), config, tmp_path)
  explored = list(records.read(tmp_path / 'explore'))
  assert rejections(explored) == set()
  one = explored[0].steps[0].alternatives[0]
  one = dataclasses.replace(one, observation='Nothing happens.', valid=False)
  step = dataclasses.replace(explored[0].steps[0], alternatives=(one,))
  assert rejections([dataclasses.replace(explored[0], steps=(step,))]) == {
    'Nothing happens.'
  }


def test_looking_ahead_takes_samples_of_a_model_of_ours(tmp_path):
  for wrong in ({'samples': 1, 'policy': 'untrained'}, {'samples': 2}):
    config = settings(2, look_ahead=True, temperature=1.0, **wrong)
    with pytest.raises(UserError, match='look_ahead=True chooses among'):
      evaluate.evaluate_in(ToyEnv, config, str(tmp_path))


def test_what_a_model_foretells_is_what_it_decodes_after_an_action():
  agent = test_agent.make(4, temperature=2.0)
  script = (*test_agent.start().script, render.Turn('action', 'look'))
  told = agent.foretell([script, None, script, None], 6)
  assert told[0] == told[2] and told[1] is told[3] is None
  prompt = agent.tokenizer.encode_prompt(script, 'observation')
  with test_agent.jax.set_mesh(agent.mesh):
    logits_BV, ready = agent._contexts.read([prompt] * 4, 1.0)
    texts = agent._contexts.write(logits_BV, ready, [], 6, 0.0)
  assert agent.tokenizer.decode(texts[0]) == told[0]
