"""Flat chat records, as supervised fine-tuning files hold them.

The authors of arXiv 2510.08558 release their data as such files
(github.com/OSU-NLP-Group/EarlyExperience: `expert_sft.jsonl`, `iwm_sft.jsonl`,
`reflection_sft.jsonl`). A record is a conversation and which of its answers
are learnt; sequences of tokens come from it unchanged, and what records share
is found by merging their prefixes.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence

from early_experience.experience.render import Script, Turn
from early_experience.runtime import files
from early_experience.runtime.errors import UserError

STEM = 'chats'
ROLES = ('system', 'user', 'assistant', 'tool')
# Names that other formats have for them.
_SYNONYMS = {'human': 'user', 'gpt': 'assistant', 'observation': 'tool'}
_ROLES_HERE = {'system': 'system', 'assistant': 'action'}
# Where messages stand, and what their role and content are called.
_KEYS = {'messages': ('role', 'content'), 'conversations': ('from', 'value')}
_CALL = {'name', 'arguments'}  # of a function


@dataclasses.dataclass(frozen=True)
class Chat:
  """A conversation.

  Attributes:
    messages: `role`, `content`, and for calls of tools `tool_calls`, `name`
      and `tool_call_id`, as chat templates read them.
    objective: what its answers are scored for.
    scored: the messages that are learnt, by number.
    tools: JSON schemas of what may be called.
  """

  messages: tuple[dict, ...]
  objective: str
  scored: tuple[int, ...]
  tools: tuple[dict, ...] = ()

  def script(self) -> Script:
    """Its turns for a tokenizer without a chat template.

    An answer is an action, whoever it speaks for; calls and tools are JSON.
    """
    turns = [Turn('system', _lines(self.tools))] if self.tools else []
    for i, message in enumerate(self.messages):
      calls = [call['function'] for call in message.get('tool_calls', ())]
      text = '\n'.join(filter(None, [message['content'], _lines(calls)]))
      role = _ROLES_HERE.get(message['role'], 'observation')
      scores = self.objective if i in self.scored else None
      turns.append(Turn(role, text, scores))
    return tuple(turns)

  def sort_key(self) -> str:
    """Text in whose order chats with a long common prefix are neighbours."""
    said = [_lines(self.tools)]
    for message in self.messages:
      said += [message['role'], message['content']]
      said.append(_lines(message.get('tool_calls', ())))
    return '\0'.join(said)


def _lines(values):
  return '\n'.join(json.dumps(v, ensure_ascii=False) for v in values)


def to_json(chat: Chat) -> dict:
  """The record as JSON values."""
  return dataclasses.asdict(chat)


def read(folder) -> Iterator[tuple[str, Chat]]:
  """Yields (`FILE line N`, chat) for what `chats import` wrote, in order.

  Raises:
    UserError: a record is damaged; the message names the file and the line.
  """
  for where, value in files.read_jsonl(folder, STEM):
    try:
      yield (
        where,
        Chat(
          tuple(value['messages']),
          value['objective'],
          tuple(value['scored']),
          tuple(value['tools']),
        ),
      )
    except (KeyError, TypeError):
      raise UserError(f'{where}: not a record of `chats import`') from None


def parse(value: object, objective: str, turns: str, where: str) -> Chat:
  """Reads a record of any of the formats in use.

  `messages` with `role` and `content` (OpenAI's); `conversations` with `from`
  and `value` (ShareGPT's); or `instruction`, `input`, `output`, `history` and
  `system` (Alpaca's), of which LLaMA-Factory makes one prompt by a newline. A
  message's `weight` (0 or 1) or `loss` says whether it is learnt; else:

  Args:
    value: a decoded JSON value.
    objective: of the file.
    turns: `all` answers are learnt, or only the `last`.
    where: file and line, for messages.

  Raises:
    UserError: a key is missing or of another type, a role is unknown, or
      nothing would be learnt.
  """
  if not isinstance(value, dict):
    raise UserError(f'{where}: {type(value).__name__}, not an object')
  if key := next((key for key in _KEYS if key in value), None):
    found = _messages(value[key], key, *_KEYS[key], where)
    if value.get('system'):
      system = _text(value['system'], 'system', where)
      found.insert(0, ({'role': 'system', 'content': system}, None))
  elif 'instruction' in value and 'output' in value:
    found = _from_instruction(value, where)
  else:
    raise UserError(
      f'{where}: neither messages nor conversations nor instruction and output'
    )
  answers = [
    i for i, (said, _) in enumerate(found) if said['role'] == 'assistant'
  ]
  by_default = answers if turns == 'all' else answers[-1:]
  scored = [
    i
    for i in answers
    if (i in by_default if found[i][1] is None else found[i][1])
  ]
  if not scored:
    raise UserError(f'{where}: no answer to learn')
  return Chat(
    tuple(said for said, _ in found),
    objective,
    tuple(scored),
    _tools(value.get('tools'), where),
  )


def once(chats: Sequence[Chat], named: Iterable[Chat]) -> list[Chat]:
  """Leaves each answer to the record that ends with it.

  Some files have a record for each decision, with all those before it; else
  they have one for each episode, and nothing changes.

  Args:
    chats: of one file, all answers learnt.
    named: the same, with the last answers alone and those that the records
      themselves say are learnt.
  """
  ends = {
    digest for chat in chats for digest in _prefixes(chat, chat.scored[-1:])
  }
  found = []
  for chat, sure in zip(chats, named, strict=True):
    digests = zip(chat.scored, _prefixes(chat, chat.scored), strict=True)
    scored = [i for i, d in digests if i in sure.scored or d not in ends]
    found.append(dataclasses.replace(chat, scored=tuple(scored)))
  return found


def _prefixes(chat, places):
  """Names the conversation up to each of some messages, these included."""
  so_far, found = hashlib.sha256(_lines(chat.tools).encode()), []
  for i, message in enumerate(chat.messages[: places[-1] + 1]):
    so_far.update(json.dumps(message, sort_keys=True).encode())
    if i in places:
      found.append(so_far.digest())
  return found


def _messages(value, key, role_key, content_key, where):
  """Messages, each with whether it is learnt, or None where it is not said."""
  found = []
  for i, said in enumerate(_list(value, key, where)):
    place = f'{key}[{i}]'
    if not isinstance(said, dict):
      raise UserError(f'{where}: {place} is not an object')
    calls = said.get('tool_calls') or []
    if calls and said.get(content_key) is None:
      said = said | {content_key: ''}
    for needed in (role_key, content_key):
      if needed not in said:
        raise UserError(f'{where}: {place}.{needed} is missing')
    role = said[role_key]
    role = _SYNONYMS.get(role, role) if isinstance(role, str) else role
    if role not in ROLES:
      raise UserError(
        f'{where}: {place}.{role_key} is {role!r}, not one of:'
        f' {", ".join(ROLES)}'
      )
    message = {
      'role': role,
      'content': _content(said[content_key], f'{place}.{content_key}', where),
    }
    if calls:
      message['tool_calls'] = _calls(calls, f'{place}.tool_calls', where)
    for optional in ('name', 'tool_call_id'):
      if said.get(optional) is not None:
        text = _text(said[optional], f'{place}.{optional}', where)
        message[optional] = text
    found.append((message, _learnt(said, place, where)))
  return found


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
  return [({'role': role, 'content': words}, None) for role, words in said]


def _calls(value, place, where):
  calls = []
  for i, call in enumerate(_list(value, place, where)):
    function = call.get('function') if isinstance(call, dict) else None
    if not isinstance(function, dict) or _CALL - function.keys():
      raise UserError(f'{where}: {place}[{i}] lacks function.name, .arguments')
    arguments = function['arguments']
    if isinstance(arguments, str):  # OpenAI's; templates want the object
      arguments = _decoded(arguments, f'{place}[{i}].arguments', where)
    if not isinstance(arguments, dict):
      raise UserError(f'{where}: {place}[{i}].arguments is not an object')
    named = {'name': function['name'], 'arguments': arguments}
    made = {'type': 'function', 'function': named}
    calls.append(made | ({'id': call['id']} if call.get('id') else {}))
  return calls


def _tools(value, where):
  if isinstance(value, str):
    value = _decoded(value, 'tools', where) if value.strip() else []
  return tuple(_list(value or [], 'tools', where))


def _decoded(text, place, where):
  try:
    return json.loads(text)
  except ValueError:
    raise UserError(f'{where}: {place} is not JSON') from None


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
  try:
    value.encode()
  except UnicodeEncodeError:
    raise UserError(f'{where}: {place} holds half a character') from None
  return value
