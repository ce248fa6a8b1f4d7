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

from early_experience.experience import chat_formats
from early_experience.experience.render import Script, Turn
from early_experience.runtime import files
from early_experience.runtime.errors import UserError

STEM = 'chats'
TEXT = 'text'  # the role of a text that nobody says to anybody
_ROLES_HERE = {
  'system': 'system', 'assistant': 'action', TEXT: 'observation',
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Chat:
  """A conversation, or one text that is learnt from end to end.

  Attributes:
    messages: `role`, `content`, and for calls of tools `tool_calls`, `name`
      and `tool_call_id`, as chat templates read them. A text is the only
      message, with the role `TEXT`.
    objective: what its answers are scored for.
    scored: the messages that are learnt, by number; the first one only if it
      is a text.
    tools: JSON schemas of what may be called.
  """

  messages: tuple[dict, ...]
  objective: str
  scored: tuple[int, ...]
  tools: tuple[dict, ...] = ()

  @property
  def is_text(self) -> bool:
    return self.messages[0]['role'] == TEXT

  def script(self) -> Script:
    """Its turns for a tokenizer without a chat template.

    What the user says first is the task, and an answer is an action, whoever it
    speaks for; calls and tools are JSON.
    """
    first = 'task'
    turns = [Turn('system', _lines(self.tools))] if self.tools else []
    for i, message in enumerate(self.messages):
      calls = [call['function'] for call in message.get('tool_calls', ())]
      text = '\n'.join(filter(None, [message['content'], _lines(calls)]))
      role = _ROLES_HERE.get(message['role'], first)
      first = 'observation' if role == first else first
      scores = self.objective if i in self.scored else None
      turns.append(Turn(role, text, scores))
    return tuple(turns)

  def empty_answers(self) -> int:
    """How many learnt answers say and call nothing."""
    said = [self.messages[i] for i in self.scored]
    return sum(
      not m['content'].strip() and not m.get('tool_calls') for m in said
    )

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
      chat = Chat(
        tuple(value['messages']),
        value['objective'],
        tuple(value['scored']),
        tuple(value['tools']),
      )
    except (KeyError, TypeError):
      raise UserError(f'{where}: not a record of `chats import`') from None
    if 0 in chat.scored and not chat.is_text:  # as earlier versions imported it
      raise UserError(
        f'{where}: nothing precedes the first answer, so that it cannot be'
        ' learnt; import the chats again'
      )
    yield where, chat


def parse(
  value: object,
  objective: str,
  turns: str,
  where: str,
  may_be_unlearnt: bool = False,
) -> Chat:
  """Reads a record of any of the formats in use.

  `messages` with `role` and `content` (OpenAI's); `conversations` with `from`
  and `value` (ShareGPT's); or `instruction`, `input`, `output`, `history` and
  `system` (Alpaca's), of which LLaMA-Factory makes one prompt by a newline.
  `text` alone, as corpora for pre-training have it, is learnt from end to end.

  A message's `weight` (0 or 1) or `loss` says whether it is learnt; else
  `turns` does. An empty answer is learnt like any other: to end the turn. An
  answer that nothing precedes is context, whatever is said of it: nothing is
  read that could predict it. A null in arguments or schemas is left out, for
  Arrow fills in the keys of other rows; in JSON text it stays.

  Args:
    value: a decoded JSON value.
    objective: of the file.
    turns: `all` answers are learnt, or only the `last`.
    where: file and line, for messages.
    may_be_unlearnt: nothing of it has to be learnt.

  Raises:
    UserError: a key is missing or of another type, a role is unknown, or
      nothing would be learnt.
  """
  if not isinstance(value, dict):
    raise UserError(f'{where}: {type(value).__name__}, not an object')
  if (text := chat_formats.text(value, where)) is not None:
    return Chat(({'role': TEXT, 'content': text},), objective, (0,))
  found = chat_formats.messages(value, where)
  answers = [
    i for i, said in enumerate(found) if said.message['role'] == 'assistant'
  ]
  by_default = answers if turns == 'all' else answers[-1:]
  scored = [
    i
    for i in answers
    if (i in by_default if found[i].learnt is None else found[i].learnt)
  ]
  if scored == [0] and not may_be_unlearnt:
    raise UserError(f'{where}: nothing precedes the only answer to learn')
  scored = [i for i in scored if i > 0]
  if not scored and not may_be_unlearnt:
    raise UserError(f'{where}: no answer to learn')
  if unread := next(filter(None, (found[i].thoughts for i in scored)), None):
    raise UserError(
      f'{where}: {unread} would not be learnt; what the model is to write'
      ' belongs into the content'
    )
  return Chat(
    tuple(said.message for said in found),
    objective,
    tuple(scored),
    chat_formats.tools(value, where),
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
    known = {*sure.scored, *chat.scored[-1:]}
    scored = [i for i, d in digests if i in known or d not in ends]
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
