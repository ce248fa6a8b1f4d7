"""Scripted experts, one for each kind of task: they read what an agent reads.

Each is given the instruction and the first turn, yields actions and is sent
the turns that they lead to.
"""

import re
from collections.abc import Generator

from early_experience.envs.interface import Turn
from early_experience.envs.web import page
from early_experience.envs.web.actions import Action

Actions = Generator[str, Turn, None]

_ORDER = ('1st', '2nd', '3rd', '4th', '5th', '6th', '7th', '8th', '9th')


def _ids(turn: Turn, *roles: str, name: str | None = None) -> list[str]:
  """Elements of these roles, and of this name where one is given."""
  return [
    node.id
    for node in page.parse(turn.observation)
    if node.id and node.role in roles and name in (None, node.name)
  ]


def _click(element: str) -> str:
  return str(Action('click', (element,)))


def _type(element: str, text: str) -> str:
  return str(Action('type', (element, text)))


def _quoted(instruction: str) -> list[str]:
  return re.findall(r'"(.*?)"', instruction)


def _submit(turn: Turn) -> str:
  return _click(_ids(turn, 'button')[-1])


def _button(instruction: str, turn: Turn) -> Actions:
  yield _click(_ids(turn, 'button', name=_quoted(instruction)[0])[0])


def _link(instruction: str, turn: Turn) -> Actions:
  yield _click(_ids(turn, 'clickable', 'link', name=_quoted(instruction)[0])[0])


def _buttons_named(instruction: str, turn: Turn) -> Actions:
  for name in re.findall(r'\b(ONE|TWO)\b', instruction):
    turn = yield _click(_ids(turn, 'button', name=name)[0])


def _boxes(instruction: str, turn: Turn) -> Actions:
  wanted = re.search(r'Select (.*) and click', instruction).group(1)
  for name in wanted.split(', '):
    for element in _ids(turn, 'checkbox', 'radio', name=name):
      turn = yield _click(element)
  yield _submit(turn)


def _tab(instruction: str, turn: Turn) -> Actions:
  name = re.search(r'Tab #\d+', instruction).group()
  yield _click(_ids(turn, 'tab', name=name)[0])


def _open_and_submit(instruction: str, turn: Turn) -> Actions:
  turn = yield _click(_ids(turn, 'tab')[0])
  yield _click(_ids(turn, 'button', name='Submit')[0])


def _search_sections(instruction: str, turn: Turn) -> Actions:
  """Opens tabs or sections, one after the other, until the link is there."""
  name = _quoted(instruction)[0]
  for section in _ids(turn, 'tab'):
    if not _ids(turn, 'clickable', 'link', name=name):
      turn = yield _click(section)
  yield _click(_ids(turn, 'clickable', 'link', name=name)[0])


def _dialog(instruction: str, turn: Turn) -> Actions:
  name = _quoted(instruction)[0]
  name = 'Close' if name == 'x' else name
  yield _click(_ids(turn, 'button', name=name)[0])


def _fields(instruction: str, turn: Turn) -> Actions:
  """Types the quoted texts into the fields in turn; the last fills the rest."""
  texts = _quoted(instruction)
  for number, element in enumerate(_ids(turn, 'textbox')):
    turn = yield _type(element, texts[min(number, len(texts) - 1)])
  yield _submit(turn)


def _login_behind_popup(instruction: str, turn: Turn) -> Actions:
  """Closes what pops up over the form, wherever it does."""
  for number, text in enumerate(_quoted(instruction)):
    turn = yield _type(_ids(turn, 'textbox')[number], text)
    if cancel := _ids(turn, 'button', 'clickable', 'link', name='Cancel'):
      turn = yield _click(cancel[0])
      turn = yield _type(_ids(turn, 'textbox')[number], text)
  yield _submit(turn)


def _focus(instruction: str, turn: Turn) -> Actions:
  found = re.search(r'\d\w\w', instruction)
  number = _ORDER.index(found.group()) if found else 0
  yield _click(_ids(turn, 'textbox')[number])


def _choice(instruction: str, turn: Turn) -> Actions:
  label = re.search(r'Select (.*) from the list', instruction).group(1)
  turn = yield str(Action('select', (_ids(turn, 'combobox')[0], label)))
  yield _submit(turn)


def _autocomplete(instruction: str, turn: Turn) -> Actions:
  start, *end = _quoted(instruction)
  turn = yield _type(_ids(turn, 'textbox')[0], start)
  for node in page.parse(turn.observation):
    fits = node.name.startswith(start) and node.name.endswith(''.join(end))
    if node.id and node.role != 'textbox' and fits:
      turn = yield _click(node.id)
      break
  yield _submit(turn)


def _table(instruction: str, turn: Turn) -> Actions:
  label = re.search(r'the value of (.*) into', instruction).group(1)
  turn = yield _type(_ids(turn, 'textbox')[0], _cells(turn)[label])
  yield _submit(turn)


def _table_form(instruction: str, turn: Turn) -> Actions:
  cells, label = _cells(turn), ''
  for node in page.parse(turn.observation):
    if node.role == 'text':
      label = node.name.rstrip(':')
    elif node.role == 'textbox':
      turn = yield _type(node.id, cells[node.name.rstrip(':') or label])
  yield _submit(turn)


def _cells(turn):
  names = [n.name for n in page.parse(turn.observation) if n.role == 'cell']
  return dict(zip(names[::2], names[1::2], strict=True))


def _arithmetic(instruction: str, turn: Turn) -> Actions:
  a, sign, b = re.search(r'(\d+) ([x+-]) (\d+) =', turn.observation).groups()
  result = {'x': int(a) * int(b), '+': int(a) + int(b), '-': int(a) - int(b)}
  turn = yield _type(_ids(turn, 'textbox')[0], str(result[sign]))
  yield _submit(turn)


def _tree(instruction: str, turn: Turn) -> Actions:
  """Opens folders from the top until the name is there."""
  name, opened = _quoted(instruction)[0], set()
  while not (found := _ids(turn, 'listitem', 'clickable', name=name)):
    nodes = page.parse(turn.observation)
    folders = (n.id for n in nodes if n.role == 'clickable' and n.name)
    folder = next((f for f in folders if f not in opened), None)
    if folder is None:
      return
    opened.add(folder)
    turn = yield _click(folder)
  yield _click(found[0])


def _search_engine(instruction: str, turn: Turn) -> Actions:
  """Types the query, then pages through the results, three on each."""
  text = _quoted(instruction)[0]
  number = _ORDER.index(re.search(r'the (\d\w\w) search', instruction).group(1))
  turn = yield _type(_ids(turn, 'textbox')[0], text)
  turn = yield _click(_ids(turn, 'button', name='Search')[0])
  if number >= 3:
    turn = yield _click(_ids(turn, 'link', name=str(number // 3 + 1))[0])
  yield _click(_ids(turn, 'link', 'clickable')[number % 3])


def _date(instruction: str, turn: Turn) -> Actions:
  text = re.search(r'\d\d/\d\d/\d{4}', instruction).group()
  turn = yield _type(_ids(turn, 'Date')[0], text)
  yield _submit(turn)


TRAINED = {
  'click-button': _button,
  'click-link': _link,
  'click-test-2': _buttons_named,
  'click-checkboxes': _boxes,
  'click-option': _boxes,
  'click-tab': _tab,
  'click-collapsible': _open_and_submit,
  'click-dialog': _dialog,
  'enter-text': _fields,
  'enter-password': _fields,
  'login-user': _fields,
  'focus-text': _focus,
  'choose-list': _choice,
  'read-table': _table,
  'simple-arithmetic': _arithmetic,
  'navigate-tree': _tree,
  'use-autocomplete': _autocomplete,
}
HELD_OUT = {
  'click-button-sequence': _buttons_named,
  'click-checkboxes-large': _boxes,
  'click-tab-2': _search_sections,
  'click-collapsible-2': _search_sections,
  'click-dialog-2': _dialog,
  'focus-text-2': _focus,
  'read-table-2': _table_form,
  'login-user-popup': _login_behind_popup,
  'search-engine': _search_engine,
  'enter-date': _date,
}
EXPERTS = TRAINED | HELD_OUT
TRAIN, UNSEEN = tuple(TRAINED), tuple(HELD_OUT)
