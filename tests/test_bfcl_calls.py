"""BFCL's calls: read and never run, in one form, answered when they are bad."""

import pytest

from early_experience.envs.bfcl import calls
from tests.test_bfcl import EVERYTHING, start

pytest.importorskip('bfcl_eval')


@pytest.mark.parametrize(
  'action, says',
  [
    ("cd(folder='nowhere')", 'No such file or directory'),
    ('cd()', 'missing 1 required positional argument'),
    ("cd(folder='document', deep=True)", 'unexpected keyword argument'),
    ("teleport(to='moon')", "name 'teleport' is not defined"),
    ('cd(folder=document)', "name 'document' is not defined"),
    ("cd(folder='document'", "']' does not match opening parenthesis '('"),
    ("cd(folder='document", 'unterminated string literal'),
    ("os.system('ls')", "name 'os' is not defined"),
    ('[pwd()] + [pwd()]', 'not a list of function calls'),
    ("[cd(folder='document'), 3]", 'not a function call'),
    ("cd(**{'folder': 'document'})", 'cannot be unpacked'),
    ("cd(folder=__import__('os').getcwd())", "'__import__' is not defined"),
    ("cd(folder='a'.upper())", 'arguments have to be literals'),
    ("cd(folder={'a', 'b'})", 'arguments have to be literals'),
    ("__init__(self='x')", "name '__init__' is not defined"),
    ('cd(folder=' + '[' * 500, 'too many nested parentheses'),
    ("cd(folder='a\0b')", 'null bytes'),
    ('cd(folder=1e999)', 'arguments have to be literals'),  # inf
    ('cd(folder=...)', 'arguments have to be literals'),
    (f'cd(folder=0x{"f" * 5000})', 'arguments have to be literals'),
  ],
)
def test_a_bad_call_is_answered_and_changes_nothing(action, says):
  env, turn = start('multi_turn_base_0')
  turn = env.step(env.canonical(action))
  assert not turn.valid and not turn.done
  assert says in turn.observation
  for action in env.expert(turn):
    turn = env.step(action)
  assert turn.success


def test_several_calls_in_one_action_are_all_answered():
  env, _ = start('multi_turn_base_0')
  turn = env.step("[cd(folder='nowhere'), cd(folder='document'), pwd()]")
  assert turn.valid  # one of them was
  assert [line[:2] for line in turn.observation.splitlines()] == ['{"'] * 3
  assert '/workspace/document' in turn.observation.splitlines()[2]


@pytest.mark.parametrize(
  'action, form',
  [
    ("sort( 'a.txt' )", "[sort(file_name='a.txt')]"),
    (
      '[mv(destination="b",source="a")]',
      "[mv(source='a', destination='b')]",
    ),
    ('ls()', '[ls()]'),
    ('ls(), pwd()', '[ls(), pwd()]'),
    ('```\n[ls()]\n```', '[ls()]'),
    ('ls(True, True)', '[ls(True, True)]'),  # it takes one
    (' finish_turn( )', 'finish_turn()'),
    ('I have moved  the file.', 'finish_turn()'),
    ('Is that (really) so?', 'finish_turn()'),
    ('', ''),
    ("mv('a',  '\n'", "mv('a',  '\n'"),  # not readable
  ],
)
def test_equal_actions_have_one_form(action, form):
  assert EVERYTHING.canonical(action) == form
  assert EVERYTHING.canonical(form) == form


def test_a_result_that_cannot_be_written_is_an_error():
  task = next(t for t in EVERYTHING.tasks('seen') if 'MathAPI' in t.type)
  EVERYTHING.reset(task)
  turn = EVERYTHING.step('power(base=10, exponent=5000)')
  assert turn.observation.startswith('Error during execution: Exceeds the')
  assert not turn.valid


def test_calls_are_read_and_never_run():
  assert calls.read('f(-1, a=[1, {"b": None}])') == [
    calls.Call('f', (-1,), {'a': [1, {'b': None}]})
  ]
  for action in ('(lambda: 1)()', '[]', '3', 'f', ''):
    assert calls.read(action) == []
