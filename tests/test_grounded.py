"""The grounded writer says what is known, and what speaks for the action."""

import dataclasses
import json
import re

import pytest

from early_experience.experience.records import Alternative
from early_experience.reflection import checks, words
from early_experience.reflection.decision import Decision
from early_experience.reflection.grounded import MAX_WORDS, Grounded


def decision(action, plan, instruction, alternatives):
  return Decision(
    't',
    1,
    0,
    instruction,
    ('You see box 1, box 2.', 'Box 1 is closed.'),
    ('go to box 1',),
    None,
    action,
    'You open box 1. In it, there is cup 7.',
    tuple(Alternative(*a, 'uniform') for a in alternatives),
    plan,
  )


def test_grounded_plans_only_with_things_that_were_met():
  empty = decision('open box 1', ('take cup 7 from box 1',), 'Empty box 1.', ())
  fill = decision('open box 1', ('put box 2 in box 1',), 'Fill box 1.', ())
  hidden, planned = Grounded(0).write([empty, fill])
  assert 'cup' not in hidden.text
  assert 'put box 2 in box 1' in planned.text


def test_grounded_keeps_to_its_budget_and_says_what_it_compared():
  alternatives = (
    ('look', 'Box 1 is closed.', False, True),
    ('fly to the second floor of the house', 'No.', False, False),
    ('go to box 2', 'Box 2 is closed.', False, True),
    ('go to the garden behind the old house', 'A garden.', False, True),
    ('close the window on the left side', 'Closed.', False, True),
  )
  one = decision(
    'open box 1', ('take cup 7 from box 1',), 'Get the cup.', alternatives
  )
  for seed in range(20):
    (draft,) = Grounded(seed).write([one])
    assert words.count(draft.text) <= MAX_WORDS
    assert 0 < len(draft.compared) < 5
    for action in draft.compared:
      assert action.split(' ', 1)[-1] in draft.text.lower()


def about(action, plan=(), instruction='Look at the cup by the lamp.', **more):
  one = decision(action, plan, instruction, ())
  others = [
    ('go to box 2', 'Box 2 is closed.', False, True),
    ('look', 'Box 1 is closed.', False, True),
  ]
  seen = ('You see box 1, box 2, cup 7, key 1.', 'Box 1 is closed.')
  others = tuple(Alternative(*other, 'uniform') for other in others)
  more = {'alternatives': others, 'observations': seen} | more
  return dataclasses.replace(one, outcome='You have it.', **more)


def test_what_is_said_speaks_for_the_action():
  """Not for the search of another thing, which comes later."""
  plan = ('go to shelf 1', 'go to desk 1', 'use lamp 1')
  take, unnamed, kept = (
    about('take cup 7', plan),
    about('take key 1', plan),
    about('take key 1', ('open box 2 with key 1', *plan)),
  )
  for seed in range(20):
    takes, fails, keeps = Grounded(seed).write([take, unnamed, kept])
    assert 'cup 7' in takes.text.split('. ')[0] and 'lamp' not in takes.text
    assert 'open box 2 with key 1' in keeps.text.split('. ')[0]
    assert takes.failure is keeps.failure is None
    assert fails.failure == 'no reason' and 'lamp' not in fails.text
  opens = about('open box 1', ('take lamp 1 from box 1', *plan))
  assert 'lamp' in Grounded(0).write([opens])[0].text


def call(name, /, **arguments):
  return json.dumps({'name': name, 'arguments': arguments})


@pytest.mark.parametrize(
  ('first', 'action', 'others', 'said'),
  [
    (
      call('find_user', name='Yusuf'),
      call('get_order', order_id='#W2'),
      (call('get_order', order_id='#W3'), 'Hello. Who are you?'),
      'say "Your order #W2 is on its way to you. Is that all? Bye."',
    ),
    ("cd(folder='a b')", "[mv(source='c.pdf')]", ('ls()', 'pwd()'), 'rm()'),
    ('<search>a</search>', '<search>b?</search>', ('<b>', '-'), '<answer>1'),
    ('search[cup]', 'click[b0]', ('click[< prev]', 'click[b1]'), 'click[buy]'),
  ],
)
def test_of_calls_grounded_says_what_is_known_and_names_them_whole(
  first, action, others, said
):
  last = said.partition('"')[2].removesuffix('"') or said
  about = dataclasses.replace(
    decision(action, (last,), 'Get order #W2; name and id are given.', ()),
    actions=(first,),
    alternatives=tuple(
      Alternative(other, answer, False, valid, 'openai')
      for other, answer, valid in (
        (first, 'Yusuf.', True),
        (last, 'Thanks.', True),
        (others[0], 'Error.', False),
        (others[1], 'W3.', True),
      )
    ),
  )
  found = set()
  for seed in range(40):
    (draft,) = Grounded(seed).write([about])
    assert checks.check(draft.text, about) == (draft.text, None)
    bare = re.sub(r'`[^`]*`|"[^"]*"', '_', draft.text)
    assert bare.startswith(('I have to get on with', 'The task needs another'))
    assert not {'name', 'id', 'order', 'search'} & set(words.tokens(bare))
    found |= set(re.split(r'(?<=[.])\s+', bare))
  assert {'I already used _.', '_ is not possible now.'} <= {
    text.removeprefix('Using ').removeprefix('Saying ') for text in found
  }
  ways = 'Saying _' if 'say' in said else 'Using _'
  assert {f'{ways} can wait.', f'{ways} may come later.'} <= found
  ending = dataclasses.replace(about, action=last, plan=())
  (draft,) = Grounded(0).write([ending])
  assert checks.check(draft.text, ending) == (draft.text, None)
  assert said in draft.text
