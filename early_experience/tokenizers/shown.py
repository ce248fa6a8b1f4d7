"""Refuses conversations of which a chat template leaves something out.

A record that is rendered without its tools, its calls or a turn would be
trained behind a prompt that nobody meant.
"""

from collections.abc import Sequence

from early_experience.runtime.errors import UserError
from early_experience.tokenizers.chat_encoding import ChatEncoding
from early_experience.tokenizers.private_tokens import mark


def check(
  chat: ChatEncoding,
  messages: Sequence[dict],
  tools: Sequence[dict] | None = None,
) -> None:
  """Looks for all of a conversation in the text that a template makes of it.

  Behind each name of a tool, each name of a call and each content stands a
  mark, which must be in the text. (Behind a content, not before it: some
  templates drop the thoughts that earlier answers begin with.)

  Args:
    chat: the template with its tokenizer.
    messages: see `ChatEncoding.encode_messages`.
    tools: the same.

  Raises:
    UserError: something is left out; the message names what.
  """
  guard, marked = chat.tokens.guard, []

  def put_mark(into, key, what):
    into[key] = f'{into[key]}{mark(len(marked))}'
    marked.append(what)

  messages, tools = guard(list(messages)), guard(list(tools or ()))
  for tool in tools:
    put_mark(tool.get('function', tool), 'name', 'tools')
  for message in messages:
    calls = message.get('tool_calls', ())
    for call in calls:
      put_mark(call['function'], 'name', 'calls of tools')
    if message['content'].strip():
      beside = 'is said beside calls of tools'
      said = beside if calls else f'a message of role {message["role"]} says'
      put_mark(message, 'content', f'what {said}')
  written = chat.template.render(messages, tools or None, **chat.settings)
  found = chat.tokens.reveal(written)[1]
  lost = [what for number, what in enumerate(marked) if number not in found]
  if lost:
    raise UserError(
      f'{chat.template.where}: the chat template leaves out'
      f' {", ".join(dict.fromkeys(lost))}'
    )


def check_system(chat: ChatEncoding, content: str) -> None:
  """The same for a system message before any task."""
  said = {'system': content, 'user': 'x'}
  check(chat, [{'role': role, 'content': x} for role, x in said.items()])
