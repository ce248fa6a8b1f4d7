"""A page as an agent reads it: its accessibility tree, a line for each node.

The tree is Chromium's own, as its debugging protocol gives it
(`Accessibility.getFullAXTree`), whether asked through Selenium or BrowserGym.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Sequence

from early_experience.envs.web.actions import FORMS, Action, ActionError

# Boxes and styling: what they hold counts, unless they can be clicked.
_PLAIN = frozenset({
  'none', 'generic', 'paragraph', 'LabelText', 'InlineTextBox', 'LineBreak',
  'Canvas', 'SvgRoot', 'strong', 'emphasis', 'mark', 'superscript',
  'subscript', 'Section', 'group', 'LayoutTable', 'LayoutTableRow',
  'LayoutTableCell', 'Legend', 'Abbr', 'code', 'rowgroup', 'status',
  'IframePresentational', 'ListMarker', 'presentation', 'MenuListPopup',
})  # fmt: skip
_FIELDS = frozenset({'textbox', 'searchbox', 'spinbutton', 'combobox', 'Date',
                    'DateTime', 'InputTime', 'time'})  # fmt: skip
# Their names are what they hold, so that it need not be said again.
_NAMED_BY_CONTENT = frozenset({
  'button', 'link', 'tab', 'cell', 'gridcell', 'columnheader', 'rowheader',
  'heading', 'option', 'menuitem', 'menuitemcheckbox', 'menuitemradio',
  'checkbox', 'radio', 'switch', 'treeitem', 'row', 'clickable', 'listitem',
})  # fmt: skip
_MENUS = frozenset({'combobox', 'listbox'})
# Properties that are shown, by value.
_STATES = {
  'focused': {True: 'focused'},
  'checked': {'true': 'checked', 'mixed': 'partly checked'},
  'pressed': {'true': 'pressed'},
  'selected': {True: 'selected'},
  'expanded': {True: 'expanded', False: 'collapsed'},
  'disabled': {True: 'disabled'},
  'readonly': {True: 'readonly'},
}
_LINE = re.compile(
  r'(?P<indent> *)(?:\[(?P<id>\w+)\] )?(?P<role>\w+)'
  r'(?: (?P<name>"(?:[^"\\]|\\.)*"))?'
  r'(?: value=(?P<value>"(?:[^"\\]|\\.)*"))?(?: \((?P<states>[^)]*)\))?'
)


@dataclasses.dataclass(frozen=True)
class Node:
  """A line of a page.

  Attributes:
    depth: how deep it stands, 0 at the left.
    id: what actions call it; '' where none can.
    role: button, link, text, ...
    name: its label or text.
    value: what a field holds; None where it is no field.
    states: words such as `checked`.
  """

  depth: int
  id: str
  role: str
  name: str = ''
  value: str | None = None
  states: tuple[str, ...] = ()

  def __str__(self):
    parts = ['  ' * self.depth]
    parts.append(f'[{self.id}] {self.role}' if self.id else self.role)
    if self.name:
      parts.append(f' {_quoted(self.name)}')
    if self.value is not None:
      parts.append(f' value={_quoted(self.value)}')
    if self.states:
      parts.append(f' ({", ".join(self.states)})')
    return ''.join(parts)


def text(nodes: Iterable[Node]) -> str:
  """The page as text; `parse` is its inverse."""
  return '\n'.join(map(str, nodes))


def parse(page: str) -> list[Node]:
  """The nodes of a page's text; lines that are none are left out."""
  nodes = []
  for line in page.split('\n'):
    if found := _LINE.fullmatch(line):
      nodes.append(
        Node(
          len(found['indent']) // 2,
          found['id'] or '',
          found['role'],
          json.loads(found['name'] or '""'),
          json.loads(found['value']) if found['value'] else None,
          tuple(found['states'].split(', ')) if found['states'] else (),
        )
      )
  return nodes


def read(
  tree: Sequence[dict],
  id_of: Callable[[dict], str],
  clickable: Callable[[dict], bool],
) -> list[Node]:
  """Reads an accessibility tree.

  Args:
    tree: nodes as the debugging protocol has them, the root first.
    id_of: the id of a node that can be acted on.
    clickable: whether a node reacts to clicks although its role does not say
      so.
  """
  by_id = {node['nodeId']: node for node in tree}
  nodes = []

  def below_of(node):
    return [by_id[i] for i in node.get('childIds', ()) if i in by_id]

  def words_of(node):
    if _of(node, 'role') == 'StaticText':
      return _of(node, 'name')
    return ' '.join(map(words_of, below_of(node)))

  def acts_inside(node):
    return any(
      (_known(child, clickable) or ('', False))[1] or acts_inside(child)
      for child in below_of(node)
    )

  def walk(node, depth, outer, menu=False):
    known = _known(node, clickable)
    if known is None:
      inner, below = outer, depth
    else:
      role, acts = known
      # A closed menu has no options to click on; `select` takes their labels.
      acts = acts and not (menu and role == 'option')
      name = _words(_of(node, 'name'))
      inner = name if role in _NAMED_BY_CONTENT else ''
      if acts and not name and role not in _FIELDS and not acts_inside(node):
        name = inner = _words(words_of(node))
      if role == 'text' and (not name or name in outer):
        return
      menu = role == 'combobox'
      value = None
      if role in _FIELDS:
        value = inner = str(_of(node, 'value'))
      nodes.append(
        Node(
          depth, id_of(node) if acts else '', role, name, value, _states(node)
        )
      )
      below = depth + 1
    for child in below_of(node):
      walk(child, below, inner, menu)

  if tree:
    walk(tree[0], 0, '')
  return nodes


def check(action: Action, nodes: Iterable[Node]) -> None:
  """Whether a page has what an action names.

  Raises:
    ActionError: it has not, or that is of the wrong kind.
  """
  roles = {node.id: node.role for node in nodes if node.id}
  for arg, kind in zip(action.args, FORMS[action.name], strict=True):
    if kind == 'id' and arg not in roles:
      raise ActionError(f'there is no element {arg}')
  for name, known in (('type', _FIELDS), ('select', _MENUS)):
    if action.name == name and roles[action.args[0]] not in known:
      raise ActionError(f'cannot {name} in a {roles[action.args[0]]}')


def possible(nodes: Iterable[Node], texts: Sequence[str]) -> tuple[str, ...]:
  """The actions that a page offers.

  Typing is open: listed are the texts given, in every field.
  """
  found, menu = {}, None
  for node in nodes:
    if node.role == 'option' and menu:
      found[str(Action('select', (menu.id, node.name)))] = None
      continue
    if not node.id or 'disabled' in node.states:
      continue
    menu = node if node.role in _MENUS else None
    if node.role in _FIELDS and node.role != 'combobox':
      for words in texts:
        found[str(Action('type', (node.id, words)))] = None
    found[str(Action('click', (node.id,)))] = None
  return tuple(found)


def _known(node, clickable):
  """(role, whether it can be acted on), or None for what is not shown."""
  role = _of(node, 'role') or 'none'
  if role == 'StaticText':
    return 'text', False
  if role == 'RootWebArea':
    return 'page', False
  clicks = clickable(node)
  if node.get('ignored'):
    # Plain boxes are ignored too; what is hidden has other reasons.
    reasons = {reason['name'] for reason in node.get('ignoredReasons', ())}
    plain = reasons <= {'uninteresting'}
    return ('clickable', True) if clicks and plain else None
  focusable = any(
    p['name'] == 'focusable' and p['value'].get('value')
    for p in node.get('properties', ())
  )
  if role in _PLAIN:
    return ('clickable', True) if clicks or focusable else None
  return role, clicks or focusable


def _of(node, key):
  value = node.get(key, {}).get('value')
  return '' if value is None else value


def _states(node):
  if _of(node, 'role') == 'RootWebArea':
    return ()
  has = {p['name']: p['value'].get('value') for p in node.get('properties', ())}
  words = (_STATES[name].get(has.get(name)) for name in _STATES)
  return tuple(word for word in words if word)


def _words(value):
  return ' '.join(str(value).split())


def _quoted(value):
  return json.dumps(value, ensure_ascii=False)
