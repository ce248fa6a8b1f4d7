"""Messages and tools out of the chat formats in use, as templates read them."""

import dataclasses
import json
from collections.abc import Sequence

from early_experience.runtime import json_text
from early_experience.runtime.errors import UserError

ROLES = ('system', 'user', 'assistant', 'tool')
# Names that other formats have for them: ShareGPT's, OpenAI's now and then,
# Llama's, Gemma's.
_SYNONYMS = {
  'developer': 'system',
  'human': 'user',
  'gpt': 'assistant',
  'model': 'assistant',
  'observation': 'tool',
  'function': 'tool',
  'ipython': 'tool',
}
_CALLS = 'function_call'  # a role whose text is calls, or a key with one
# Where messages stand, and what their role and content are called.
_KEYS = {'messages': ('role', 'content'), 'conversations': ('from', 'value')}
_CALL = {'name', 'arguments'}  # of a function
_THOUGHTS = ('reasoning_content', 'reasoning', 'thinking')
LEVELS = 100  # of arguments and schemas


@dataclasses.dataclass(frozen=True)
class Said:
  """A message of a record.

  Attributes:
    message: as templates read it.
    learnt: whether the record says that it is; None where it says nothing.
    thoughts: where it has some beside its content, or ''.
  """

  message: dict
  learnt: bool | None = None
  thoughts: str = ''


def text(value: dict, where: str) -> str | None:
  """The text of a record that is nothing else; None where it has messages.

  Raises:
    UserError: it is empty, or no text.
  """
  if 'text' not in value or any(key in value for key in (*_KEYS, 'output')):
    return None
  return _some_text(value['text'], 'text', where)


def messages(value: dict, where: str) -> list[Said]:
  """The messages of a record.

  Args:
    value: a record; see `chat_record.parse`.
    where: file and line, for messages.

  Raises:
    UserError: it is not of a known format; the message names `where`.
  """
  if key := next((key for key in _KEYS if key in value), None):
    found = [
      _message(said, f'{key}[{i}]', *_KEYS[key], where)
      for i, said in enumerate(_list(value[key], key, where))
    ]
    if value.get('system'):
      system = _text(value['system'], 'system', where)
      found.insert(0, Said({'role': 'system', 'content': system}))
    return found
  if 'instruction' in value and 'output' in value:
    return _from_instruction(value, where)
  raise UserError(
    f'{where}: neither messages nor conversations nor instruction and output'
    ' nor text'
  )


def tools(value: dict, where: str) -> tuple[dict, ...]:
  """Schemas of what may be called, each in a `function` of its own.

  Args:
    value: a record with `tools`, or `functions` as OpenAI had them: objects or
      JSON text.
    where: file and line, for messages.

  Raises:
    UserError: they are no schemas of functions with names.
  """
  key = 'tools' if value.get('tools') else 'functions'
  given = value.get(key) or []
  if isinstance(given, str):
    given = _decoded(given, key, where) or [] if given.strip() else []
  else:
    given = _without_nulls(given)
  made = []
  for i, tool in enumerate(_list(given, key, where)):
    place = f'{key}[{i}]'
    _check_json(tool, place, where)
    if isinstance(tool, dict) and 'function' not in tool:
      function = {key: x for key, x in tool.items() if key != 'type'}
      tool = {'type': 'function', 'function': function}
    function = tool.get('function') if isinstance(tool, dict) else None
    if not isinstance(function, dict) or 'name' not in function:
      raise UserError(f'{where}: {place} has no name of a function')
    _some_text(function['name'], f'{place}.name', where)
    made.append(tool)
  return tuple(made)


def _message(said, place, role_key, content_key, where):
  if not isinstance(said, dict):
    raise UserError(f'{where}: {place} is not an object')
  if role_key not in said:
    raise UserError(f'{where}: {place}.{role_key} is missing')
  role, content = said[role_key], said.get(content_key)
  calls = said.get('tool_calls') or []
  if said.get(_CALLS):
    calls = [said[_CALLS]]
  if role == _CALLS:
    role, content, calls = 'assistant', '', content
    if isinstance(calls, str):
      calls = _decoded(calls, f'{place}.{content_key}', where)
    calls = calls if isinstance(calls, list) else [calls]
  role = _SYNONYMS.get(role, role) if isinstance(role, str) else role
  if role not in ROLES:
    raise UserError(
      f'{where}: {place}.{role_key} is {said[role_key]!r}, not one of:'
      f' {", ".join((*ROLES, *_SYNONYMS, _CALLS))}'
    )
  if content is None and calls:
    content = ''
  elif content_key not in said:
    raise UserError(f'{where}: {place}.{content_key} is missing')
  message = {
    'role': role,
    'content': _content(content, f'{place}.{content_key}', where),
  }
  if calls:
    message['tool_calls'] = _calls(calls, f'{place}.tool_calls', where)
  for optional in ('name', 'tool_call_id'):
    if said.get(optional) is not None:
      text = _text(said[optional], f'{place}.{optional}', where)
      message[optional] = text
  thoughts = next((f'{place}.{k}' for k in _THOUGHTS if said.get(k)), '')
  return Said(message, _learnt(said, place, where), thoughts)


def _learnt(said, place, where):
  for key in ('weight', 'loss'):
    value = said.get(key)
    if value is not None:
      if value not in (0, 1):
        raise UserError(f'{where}: {place}.{key} is {value!r}, not 0 or 1')
      return bool(value)
  return None


def _from_instruction(value, where):
  text = lambda key: _text(value.get(key) or '', key, where)
  said = [('system', text('system'))] if text('system') else []
  for i, pair in enumerate(_list(value.get('history') or [], 'history', where)):
    if not isinstance(pair, list) or len(pair) != 2:
      raise UserError(f'{where}: history[{i}] is not a question and an answer')
    asked, answered = (_text(x, f'history[{i}]', where) for x in pair)
    said += [('user', asked), ('assistant', answered)]
  prompt = '\n'.join(filter(None, [text('instruction'), text('input')]))
  output = _text(value['output'], 'output', where)
  said += [('user', prompt), ('assistant', output)]
  return [Said({'role': role, 'content': words}) for role, words in said]


def _calls(value, place, where):
  calls = []
  for i, call in enumerate(_list(value, place, where)):
    place_i = f'{place}[{i}]'
    function = call.get('function', call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or _CALL - function.keys():
      raise UserError(f'{where}: {place_i} lacks function.name, .arguments')
    arguments = function['arguments']
    if isinstance(arguments, str):  # OpenAI's; templates want the object
      arguments = _decoded(arguments, f'{place_i}.arguments', where)
    else:
      arguments = _without_nulls(arguments)
    if not isinstance(arguments, dict):
      raise UserError(f'{where}: {place_i}.arguments is not an object')
    _check_json(arguments, f'{place_i}.arguments', where)
    name = _some_text(function['name'], f'{place_i}.function.name', where)
    made = {
      'type': 'function',
      'function': {'name': name, 'arguments': arguments},
    }
    if call.get('id'):
      made['id'] = _text(call['id'], f'{place_i}.id', where)
    calls.append(made)
  return calls


def _without_nulls(value):
  """Without the keys that Arrow has put in: null, as other rows have them.

  JSON text went through it as it is, and its nulls are meant.
  """
  if isinstance(value, dict):
    return {k: _without_nulls(v) for k, v in value.items() if v is not None}
  if isinstance(value, list):
    return [_without_nulls(item) for item in value]
  return value


def _check_json(value, place, where):
  """Templates go through it level by level, and write it again."""
  if json_text.levels(value) > LEVELS:
    raise UserError(f'{where}: {place} has more than {LEVELS} levels')
  try:
    json.dumps(value, allow_nan=False)
  except ValueError as error:  # Python reads NaN, which is not JSON
    raise UserError(f'{where}: {place}: {error}') from None


def _some_text(value, place, where):
  if not _text(value, place, where):
    raise UserError(f'{where}: {place} is empty')
  return value


def _decoded(text, place, where):
  try:
    return json_text.parse(text)
  except ValueError as error:
    raise UserError(f'{where}: {place} is not JSON: {error}') from None


def _list(value, place, where) -> Sequence:
  if not isinstance(value, list):
    raise UserError(f'{where}: {place} is {type(value).__name__}, not a list')
  return value


def _content(value, place, where):
  """A text, or the text of OpenAI's list of parts."""
  if not isinstance(value, list):
    return _text(value, place, where)
  texts = []
  for i, part in enumerate(value):
    if not isinstance(part, dict) or part.get('type') != 'text':
      raise UserError(f'{where}: {place}[{i}] is no part of type text')
    texts.append(_text(part.get('text'), f'{place}[{i}].text', where))
  return ''.join(texts)


def _text(value, place, where):
  if not isinstance(value, str):
    raise UserError(f'{where}: {place} is {type(value).__name__}, not text')
  return value
