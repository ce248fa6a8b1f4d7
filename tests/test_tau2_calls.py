"""tau2's calls: JSON to the last, in one form, answered when they are bad."""

import json

import pytest

from early_experience.envs.tau2 import domain as domains
from early_experience.envs.tau2.environment import Tau2, read, write
from tests.test_tau2 import BYE, READ, start

pytest.importorskip('tau2')


@pytest.mark.parametrize(
  'action, says',
  [
    (write('fly', {}), "Error: Tool 'fly' not found."),
    (write('_get_order', {'order_id': '#W2378156'}), 'not found.'),
    (write('get_order_details', {}), 'missing 1 required positional argument'),
    (write('get_order_details', {'order_id': 'W1'}), 'Error: Order not found'),
    (write('get_order_details', {'order_id': ['W1']}), 'Error: unhashable'),
    ('{"name": "get_order_details"', 'Error: Expecting'),
    ('{"name": "fly", "arguments": {"to": NaN}}', 'not JSON compliant'),
    ('{"name": "fly", "arguments": {"to": 1e999}}', 'not JSON compliant'),
    ('{"name": "\\ud800"}', 'surrogates not allowed'),
    ('[1, 2]', 'a call is {"name"'),
    ('{"name": "x", "arguments": {}, "id": 1}', 'a call is {"name"'),
    ('[' * 100_000, 'nested too deeply'),
    (write('calculate', {'expression': '9**9**9'}), 'Invalid operator'),
    (write('calculate', {'expression': 'print(1)'}), 'Invalid characters'),
    (write('calculate', {'expression': '1/0'}), 'division by zero'),
    (write('calculate', {'expression': '(' * 500}), 'Error: '),
  ],
)
def test_a_bad_call_is_answered_and_changes_nothing(action, says):
  env, _ = start()
  before = env.fingerprint()
  turn = env.step(env.canonical(action))
  assert says in turn.observation and not turn.valid and not turn.done
  assert env.fingerprint() == before


def test_sums_are_those_of_the_tool():
  env, _ = start()
  tool = domains.load('retail').world.tools.calculate
  for text in ('1 + 2 * 3', '-(4.5 - 2) / 3', ' 10/4 ', '+.5'):
    turn = env.step(write('calculate', {'expression': text}))
    assert turn.valid and turn.observation == tool(expression=text.strip())


@pytest.mark.parametrize(
  'action, form',
  [
    (
      ' {"arguments":{"b":1,"a":"ü"},"name":"f"}\n',
      '{"name": "f", "arguments": {"a": "ü", "b": 1}}',
    ),
    ('{"name": "f"}', '{"name": "f", "arguments": {}}'),
    ('It  is\ndone.', 'It is done.'),
    ('{"name": "\n"}', '{"name": "\n"}'),  # not readable
  ],
)
def test_equal_actions_have_one_form(action, form):
  env = Tau2()
  assert env.canonical(action) == form
  assert env.canonical(form) == form


def test_alternatives_are_asked_for_without_the_tool_of_the_expert():
  env, _ = start()
  told = env.without(env.instruction, READ)
  assert '"name": "get_order_details"' not in told
  left_out = set(env.instruction.splitlines()) - set(told.splitlines())
  assert [json.loads(line)['name'] for line in left_out] == [read(READ)[0]]
  for reply in (BYE, '{"name"'):
    assert env.without(env.instruction, reply) == env.instruction


def test_arguments_are_json_to_the_last():
  assert read(json.dumps({'name': 'f', 'arguments': {'a': [1]}})) == (
    'f',
    {'a': [1]},
  )
  assert read('Hello {"name": "f"}') is None
