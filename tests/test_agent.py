"""The agent decides as if it read each history anew; its cache is no memory."""

import functools

import jax
import pytest

from early_experience.decoding.contexts import Contexts
from early_experience.evaluation import agent as agents
from early_experience.evaluation import rollouts
from early_experience.evaluation.agent import Agent, Decoding
from early_experience.evaluation.rollouts import Request
from early_experience.experience import render
from early_experience.model import table
from early_experience.runtime.errors import UserError
from early_experience.tokenizers.sentencepiece_tokenizer import (
  SentencePieceTokenizer,
  train,
)
from early_experience.work import hosts
from tests.close import FLOAT64
from tests.toy_env import ToyEnv
from tests.training_case import mesh_of, model_of

TEXTS = [
  'Take the coin.',
  'You see box 1, box 2, box 3.',
  'You open box 1 and it is empty.',
  'You open box 2 and there is a coin.',
  'take coin from box 3',
  'open box 3',
  'Nothing happens.',
  'look',
]


@pytest.fixture(scope='module', autouse=True)
def float64():  # where no two tokens are as likely as each other
  with jax.enable_x64():
    yield


@functools.cache
def coder():
  return SentencePieceTokenizer(train(TEXTS * 20, 320))


@functools.cache
def policy(mesh, max_tokens, spare=0):
  # Sharper than a fresh model, which is at a tie nearly everywhere.
  cfg = model_of(coder().vocab_size + spare, max_tokens=max_tokens, **FLOAT64)
  with jax.set_mesh(mesh):
    init = jax.jit(
      lambda key: jax.tree.map(lambda x: 2 * x, table.init_params(key, cfg)),
      out_shardings=table.param_shardings(cfg, mesh),
    )
    return init(jax.random.key(0)), cfg


def make(slots, max_tokens=256, sizes=(1, 1, 1), spare=0, **decoding):
  mesh = mesh_of(sizes)
  params, cfg = policy(mesh, max_tokens, spare)
  decoding = {'max_action_tokens': 12, 'max_thought_tokens': 8, **decoding}
  return Agent(params, cfg, coder(), mesh, Decoding(**decoding), slots)


class Watched:
  """Remembers what an agent was asked and what it answered."""

  def __init__(self, agent):
    self.agent, self.seen = agent, []
    self.lists = agent.lists

  def act(self, requests):
    decisions = self.agent.act(requests)
    self.seen += [(r, d) for r, d in zip(requests, decisions, strict=True) if d]
    return decisions


def play(agent, slots, tasks=5, max_steps=4):
  make = lambda: ToyEnv(tasks=tasks)
  played = rollouts.run(
    make().tasks('test'),
    hosts.Here(make),
    agent,
    slots=slots,
    max_steps=max_steps,
    tries=1,
  )
  return {record['task_id']: record for _, record in played}


def start(key='a/0', admissible=('look', 'open box 1', 'open box 3')):
  script = render.opening(TEXTS[0], TEXTS[1])
  return Request(key, script, admissible)


@pytest.mark.parametrize(
  'decoding',
  [{}, {'constrained': True}, {'think': True}, {'temperature': 1.0}],
  ids=lambda decoding: ' '.join(decoding) or 'greedy',
)
def test_a_decision_depends_on_its_history_alone(decoding):
  watched = Watched(make(3, **decoding))
  play(watched, 3)
  assert len(watched.seen) >= 15
  for request, decision in watched.seen[::4]:
    alone = make(3, **decoding)  # the same shapes: nothing to compile
    (again, *_) = alone.act([request, None, None])
    assert again == decision


def test_a_slot_with_more_to_read_may_wait_and_holds_nobody_up():
  long = Request('b/0', render.opening(TEXTS[0], TEXTS[1] * 9), None)
  longer = Request('c/0', render.opening(TEXTS[0], TEXTS[1] * 16), None)
  alone = {
    request.key: make(3).act([request, request, request])[0]
    for request in (start(), long, longer)
  }
  assert None not in alone.values()
  # Two of three must be read before anybody is answered; the first one's
  # logits are kept meanwhile.
  agent = make(3)
  decisions = agent.act([start(), long, longer])
  assert decisions == [alone['a/0'], alone['b/0'], None]
  while decisions[2] is None:
    decisions = agent.act([None, None, longer])
  assert decisions == [None, None, alone['c/0']]


def test_meshes_decide_alike():
  expected = play(make(4, constrained=True), 4, tasks=4)
  found = play(make(4, constrained=True, sizes=(2, 2, 2)), 4, tasks=4)
  assert found == expected


def test_constrained_actions_are_admissible_and_free_ones_need_not_be():
  constrained = play(make(3, constrained=True), 3)
  assert all(s['valid'] for r in constrained.values() for s in r['steps'])
  free = play(make(3), 3)
  assert not all(s['valid'] for r in free.values() for s in r['steps'])


@pytest.mark.parametrize('temperature', [0.0, 2.0])
def test_ids_that_the_tokenizer_lacks_are_never_written(temperature):
  """As where a checkpoint rounds its embedding up: most rows are no token's."""
  agent = make(3, spare=4000, think=True, temperature=temperature)
  assert len(play(agent, 3)) == 5
  (proposals,) = agent.propose([(TEXTS[0], [TEXTS[1]], [])], 6, 2.0, seed=0)
  assert len(proposals) == 6
  held = {i for row in agent._contexts.held for i in row}
  assert max(held) < coder().vocab_size


def test_thoughts_come_first_and_leave_the_context():
  thinking, thought = make(2, think=True), coder().role_id('thought')
  (decision, _) = thinking.act([start(), None])
  assert decision.thought and decision.action is not None
  script = start().script + render.exchange(decision.action, TEXTS[6])
  (after, _) = thinking.act([Request('a/1', script, None), None])
  held = thinking._contexts.held[0]
  prompt = coder().encode_prompt(script, 'thought')
  assert held[: len(prompt)] == prompt
  assert held.count(thought) == 1
  # And what it thinks decides what it does.
  script += (render.Turn('thought', after.thought),)
  (spoken, _) = make(2).act([Request('a/1', script, None), None])
  assert spoken.action == after.action


def test_a_history_longer_than_the_model_reads_is_out_of_context():
  found = play(make(2, max_tokens=64), 2, tasks=2, max_steps=50)
  for record in found.values():
    assert record['end'] == 'out_of_context'
    assert not record['success']
    assert 0 < len(record['steps']) < 50
  (decision, _) = make(2, max_tokens=16).act([start(), None])
  assert decision.action is None


def test_a_thought_beyond_the_context_is_out_of_it(monkeypatch):
  """Though what is read of it afterwards, in other tokens, would fit."""
  prompt = len(coder().encode_prompt(start().script, 'thought'))
  agent = make(2, max_tokens=prompt + 8, think=True, max_action_tokens=3)
  thought = [*map(coder().role_id, ['thought'] * 12), *coder().stop_ids]
  write = Contexts.write

  def long(contexts, logits, active, keys, *rest):
    texts = write(contexts, logits, active, keys, *rest)
    if keys[0].endswith('/thought') and active[0]:
      held, said = contexts.held[0], contexts.said[0][0]
      del held[len(held) - len(said) + 1 :]
      held += thought[:-1]
      contexts.said[0], texts[0] = (thought, [-1.0] * len(thought)), []
    return texts

  monkeypatch.setattr(Contexts, 'write', long)
  decision = None
  while decision is None:
    decision, _ = agent.act([start(), None])
  assert decision.why == 'out_of_context' and decision.action is None


def test_an_action_that_is_none_of_those_listed_is_told_as_such():
  """As where a model's numbers are no numbers, or a temperature below 0."""
  found = play(make(2, constrained=True, temperature=-1.0), 2, tasks=2)
  assert {record['end'] for record in found.values()} == {'no_action'}
  assert not any(record['success'] for record in found.values())


def test_samples_depend_on_seed_task_and_step_and_not_on_the_slots():
  sampled = {'constrained': True, 'temperature': 1.0}
  expected = play(make(1, seed=1, **sampled), 1)
  assert play(make(4, seed=1, **sampled), 4) == expected
  assert play(make(4, seed=2, **sampled), 4) != expected


def test_proposals_are_samples_of_what_it_would_do():
  histories = [
    (TEXTS[0], [TEXTS[1]], []),
    (TEXTS[0], [TEXTS[1], TEXTS[2]], ['open box 1']),
    (TEXTS[0], [TEXTS[1] * 20], []),
  ]
  agent = make(3)
  first, second, too_long = agent.propose(histories, 4, 1.0, seed=5)
  assert len(first) == len(second) == 4
  assert len(set(first)) > 1
  assert too_long == []
  assert agent.propose(histories, 4, 1.0, seed=5) == [first, second, []]
  assert agent.propose(histories, 4, 1.0, seed=6) != [first, second, []]
  (decision, *_) = agent.act([start(), None, None])
  assert agent.propose(histories[:1], 2, 0.0, 0) == [[decision.action] * 2]


def test_a_state_whose_actions_cannot_be_written_holds_nobody_up():
  agent, fine = make(4, constrained=True), start('d/0')
  long = 'open box 1, box 2, box 3 and there is'
  unlisted, none = start('b/0', None), start('c/0', ())
  asked = [start('a/0', ('look', long)), unlisted, none, fine]
  *failures, decision = agent.act(asked)
  assert decision == make(4, constrained=True).act([fine] * 4)[0]
  reasons = [failure.reason for failure in failures]
  assert reasons == ['action too long', *['nothing admissible'] * 2]
  assert 'max_action_tokens=12 cannot hold' in failures[0].error
  assert long in failures[0].error and 'a/0' in failures[0].error
  assert 'constrained=True needs' in failures[1].error


def test_a_history_that_a_template_refuses_holds_nobody_up(monkeypatch):
  agent, fine = make(2), start()
  odd = Request('b/0', render.opening('Fly.', TEXTS[1]), None)
  write = agent.tokenizer.encode_prompt

  def refuses(script, role):
    if script == odd.script:
      raise UserError('the chat template refuses')
    return write(script, role)

  monkeypatch.setattr(agent.tokenizer, 'encode_prompt', refuses)
  failure, decision = agent.act([odd, fine])
  assert failure.reason == 'cannot be shown'
  assert decision == make(2).act([fine, fine])[0]
  (none, some) = agent.propose(
    [('Fly.', [TEXTS[1]], []), (TEXTS[0], [TEXTS[1]], [])], 2, 1.0, seed=0
  )
  assert none == [] and len(some) == 2


def test_a_row_goes_on_with_the_episode_that_it_has_read():
  """Of two samples each; the longer episode comes first."""
  seen = ['a', 'b', 'c']
  short = [('go', ['x'], [])]
  long = [('go', seen[: i + 1], ['on'] * i) for i in range(3)]
  batches = agents._in_rows(short + long, k=2, rows=3)
  assert list(batches) == [
    ((1, 0), (1, 1), (0, 0)),
    ((2, 0), (2, 1), (0, 1)),
    ((3, 0), (3, 1), None),
  ]
