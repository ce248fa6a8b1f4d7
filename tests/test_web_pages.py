"""Pages as text and actions as text, whichever browser they are of."""

import pytest

from early_experience.envs.web import actions, page

BOX = {'name': 'focusable', 'value': {'value': True}}


def node(number, role, name='', *children, properties=(), **more):
  return {
    'nodeId': str(number),
    'role': {'value': role},
    'name': {'value': name},
    'properties': list(properties),
    'childIds': [str(child) for child in children],
    **more,
  }


def state(name, value):
  return {'name': name, 'value': {'value': value}}


def read(*tree, clickable=()):
  return page.read(
    tree, lambda n: 'e' + n['nodeId'], lambda n: n['nodeId'] in clickable
  )


@pytest.mark.parametrize(
  'written, canonical',
  [
    ('click(12)', 'click(12)'),
    (' Click( "a12" ) ', 'click(a12)'),
    ("fill('7', 'it\\'s \"it\"')", 'type(7, "it\'s \\"it\\"")'),
    ('type(7,"a,  b) (c")', 'type(7, "a,  b) (c")'),
    ('type(7, "a\nb")', 'type(7, "a\\nb")'),
    ('type(7, "\\u00e9")', 'type(7, "é")'),
    ("send_msg_to_user('17')", 'answer("17")'),
    ('noop()', 'wait()'),
    ('no  action', 'no action'),
  ],
)
def test_equal_actions_are_equal_text(written, canonical):
  assert actions.canonical(written) == canonical
  assert actions.canonical(canonical) == canonical


@pytest.mark.parametrize(
  'written, why',
  [
    ('click', 'an action is written like click(12)'),
    ('jump(1)', 'there is no action jump'),
    ('click()', 'click takes 1 arguments, not 0'),
    ('type(1, a b)', 'texts are quoted'),
    ('type(1, "\\x")', 'is no text in quotes'),
    ('scroll(left)', 'scroll takes one of: up, down'),
    ('click("a b")', "click takes the number of an element, not 'a b'"),
    ('click(1) or click(2)', 'texts are quoted'),
    ('answer("\\ud83d")', 'is no text in quotes'),
    (f'answer("{"x" * 9999}")', 'a text has at most 2000 characters'),
  ],
)
def test_what_is_no_action_is_told_why(written, why):
  with pytest.raises(actions.ActionError) as error:
    actions.parse(written)
  assert why in str(error.value)


def test_a_page_shows_what_a_reader_notices():
  nodes = read(
    node(1, 'RootWebArea', 'Shop', 2, properties=[BOX]),
    node(2, 'generic', '', 3, 5, 7, 9, 12, 14),
    node(3, 'button', 'Buy', 4, properties=[BOX, state('disabled', True)]),
    node(4, 'StaticText', 'Buy'),
    node(
      5, 'checkbox', ' Gift\n wrap ', properties=[BOX, state('checked', 'true')]
    ),
    node(7, 'generic', '', 8),
    node(8, 'StaticText', 'Show all'),
    node(9, 'combobox', 'Size', 10, properties=[BOX], value={'value': 'S'}),
    node(10, 'option', 'S', properties=[BOX, state('selected', True)]),
    node(12, 'none', '', 13, ignored=True),
    node(13, 'StaticText', '3 left'),
    node(14, 'StaticText', 'Shop'),
    clickable={'7'},
  )
  assert page.text(nodes) == (
    'page "Shop"\n'
    '  [e3] button "Buy" (disabled)\n'
    '  [e5] checkbox "Gift wrap" (checked)\n'
    '  [e7] clickable "Show all"\n'
    '  [e9] combobox "Size" value="S"\n'
    '    option "S" (selected)\n'
    '  text "3 left"\n'
    '  text "Shop"'
  )
  assert page.possible(nodes, ['x']) == (
    'click(e5)',
    'click(e7)',
    'click(e9)',
    'select(e9, "S")',
  )


def test_what_is_hidden_is_not_shown():
  hidden = [{'name': 'ariaHiddenElement'}]
  nodes = read(
    node(1, 'RootWebArea', 'P', 2, 3),
    node(2, 'none', '', ignored=True, ignoredReasons=hidden),
    node(
      3, 'none', '', ignored=True, ignoredReasons=[{'name': 'uninteresting'}]
    ),
    clickable={'2', '3'},
  )
  assert [n.id for n in nodes] == ['', 'e3']


def test_text_reads_back_as_the_same_page():
  nodes = [
    page.Node(0, '', 'page', 'He said "hi"'),
    page.Node(1, 'a3', 'textbox', '', 'two\nlines\u2028 \\ (x)', ('focused',)),
    page.Node(2, '4', 'tab', 'T (1)', None, ('selected', 'expanded')),
  ]
  assert page.parse(page.text(nodes)) == nodes


def test_an_action_needs_the_right_kind_of_element():
  nodes = [page.Node(0, '1', 'button', 'Go'), page.Node(0, '2', 'textbox')]
  page.check(actions.parse('type(2, "a")'), nodes)
  for action, why in (
    ('click(3)', 'no element 3'),
    ('type(1, "a")', 'cannot type in a button'),
    ('select(2, "a")', 'cannot select in a textbox'),
  ):
    with pytest.raises(actions.ActionError, match=why):
      page.check(actions.parse(action), nodes)
