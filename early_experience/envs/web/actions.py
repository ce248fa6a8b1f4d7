"""What an agent can do on a web page, as text: `click(12)`.

One grammar for every browser: a name, then its arguments, those of them that
are texts quoted as in JSON. Nothing an agent writes is ever executed as code.
"""

import dataclasses
import json
import re

# name -> the kinds of its arguments: `id` of an element or a tab, `text`, or
# one of the words given.
FORMS = {
  'click': ('id',),
  'dblclick': ('id',),
  'hover': ('id',),
  'drag': ('id', 'id'),  # from, onto
  'type': ('id', 'text'),  # replaces what the field holds
  'select': ('id', 'text'),  # an option by its label
  'press': ('id', 'text'),  # keys, in an element: "Enter", "Control+a"
  'scroll': (('up', 'down'),),
  'wait': (),
  'goto': ('text',),
  'go_back': (),
  'go_forward': (),
  'new_tab': (),
  'tab_focus': ('id',),
  'tab_close': (),
  'answer': ('text',),  # ends the episode
}

# BrowserGym's names of the same.
_ALIASES = {
  'fill': 'type',
  'select_option': 'select',
  'drag_and_drop': 'drag',
  'noop': 'wait',
  'send_msg_to_user': 'answer',
}

MAX_TEXT = 2000  # characters; typing takes its time

_CALL = re.compile(r'\s*([A-Za-z_]\w*)\s*\((.*)\)\s*;?\s*', re.DOTALL)
_ARGUMENT = re.compile(
  r"""\s*(?:(?P<double>"(?:[^"\\]|\\.)*")|(?P<single>'(?:[^'\\]|\\.)*')"""
  r"""|(?P<bare>[^\s"',()]+))\s*(?:,|\Z)""",
  re.DOTALL,
)


class ActionError(ValueError):
  """An action that cannot be read or done; the text tells the agent why."""


@dataclasses.dataclass(frozen=True)
class Action:
  """An action that was understood.

  Attributes:
    name: a key of FORMS.
    args: as many as its form has.
  """

  name: str
  args: tuple[str, ...] = ()

  def __str__(self):
    kinds = FORMS[self.name]
    written = (
      json.dumps(arg, ensure_ascii=False) if kind == 'text' else arg
      for arg, kind in zip(self.args, kinds, strict=True)
    )
    return f'{self.name}({", ".join(written)})'


def parse(text: str) -> Action:
  """Reads an action.

  Raises:
    ActionError: it is none; the message says what was expected.
  """
  call = _CALL.fullmatch(text)
  if call is None:
    raise ActionError('an action is written like click(12)')
  name = call.group(1).lower()
  name = _ALIASES.get(name, name)
  if name not in FORMS:
    raise ActionError(f'there is no action {name}, only {", ".join(FORMS)}')
  kinds, args = FORMS[name], _arguments(name, call.group(2))
  if len(args) != len(kinds):
    raise ActionError(f'{name} takes {len(kinds)} arguments, not {len(args)}')
  for arg, kind in zip(args, kinds, strict=True):
    if isinstance(kind, tuple) and arg not in kind:
      raise ActionError(f'{name} takes one of: {", ".join(kind)}')
    if kind == 'id' and not re.fullmatch(r'\w+', arg):
      raise ActionError(f'{name} takes the number of an element, not {arg!r}')
  return Action(name, args)


def canonical(text: str) -> str:
  """The one spelling of an action; of what is none, its words."""
  try:
    return str(parse(text))
  except ActionError:
    return ' '.join(text.split())


def _arguments(name, text):
  args, at = [], 0
  while text[at:].strip():
    found = _ARGUMENT.match(text, at)
    if found is None:
      raise ActionError(f'{name}: texts are quoted, like type(12, "abc")')
    args.append(_value(found))
    at = found.end()
  return tuple(args)


def _value(found):
  if found['bare'] is not None:
    return found['bare']
  if found['double'] is not None:
    quoted = found['double']
  else:  # as Python writes a text; JSON knows no \' and needs its own quotes
    inside = found['single'][1:-1].replace("\\'", "'")
    quoted = '"' + re.sub(r'(?<!\\)"', r'\"', inside) + '"'
  if len(quoted) > MAX_TEXT:
    raise ActionError(f'a text has at most {MAX_TEXT} characters')
  try:
    value = json.loads(quoted, strict=False)
    value.encode()  # JSON can say half a character
  except ValueError:
    raise ActionError(f'{quoted} is no text in quotes') from None
  return value
