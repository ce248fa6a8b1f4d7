"""Messages to token ids, and where each message stands among them."""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence

import numpy as np

from early_experience.experience.plain_text import clean
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import chat_template, private_tokens
from early_experience.tokenizers.private_tokens import mark

_SOMETHING = 'x'


@dataclasses.dataclass(frozen=True)
class Frame:
  """What a template puts around what is written in answer to a prompt.

  Attributes:
    lead: between the generation prompt and an answer's content.
    tail: after the content, with the special token that ends the turn.
    end: that token's name.
    user_tail: after a user's content, with the token that ends that turn; all
      that follows where no special token does.
  """

  lead: str
  tail: str
  end: str
  user_tail: str


class ChatEncoding:
  """A checkpoint's chat template and tokenizer, as one.

  Args:
    folder: with tokenizer.json, tokenizer_config.json and the template.
    template_kwargs: what else the template takes.

  Attributes:
    tokens, template: the two.
    settings: `template_kwargs`.
    vocab_size: the largest id that they give, and one.
  """

  def __init__(self, folder: pathlib.Path, template_kwargs: dict):
    config = chat_template.read_config(folder)
    self.tokens = private_tokens.load(folder, config)
    self.template = chat_template.load(folder)
    self.settings = template_kwargs
    # Gemma 3 1B has tokens of images, and no rows for them in its embedding.
    self.vocab_size = self.tokens.vocab_size(self.template.unwritten())

  def encode_messages(
    self,
    messages: Sequence[dict],
    tools: Sequence[dict] | None = None,
    add_generation_prompt: bool = False,
  ) -> tuple[list[int], list[tuple[int, int] | None]]:
    """The ids that transformers' `apply_chat_template` gives.

    They differ in two points: what looks like a special token in a message or
    a tool is text, and the noncharacters U+FDD0 to U+FDEF become U+FFFD.

    Args:
      messages: with `role`, `content` and what else the template reads.
      tools: JSON schemas.
      add_generation_prompt: whether to end with an answer's header.

    Returns:
      Ids, and for each message the range of tokens that its content takes: one
      that straddles its start is in, one that straddles its end is not. Blanks
      around it count where the template keeps them. None where the content is
      no text, or the template leaves out or repeats an end of it.

    Raises:
      UserError: the template refuses the messages.
    """
    render = functools.partial(
      self.render, tools=tools, add_generation_prompt=add_generation_prompt
    )
    text, _ = render(messages)
    ids, ends = self.tokens.encode(text)
    every = range(len(messages))
    # A mark may make a difference to the template: at the edge of blanks that
    # it trims, or in a content that it looks into. Then to that one alone.
    found = _places(render, messages, every, text, _whole)
    if found is None:
      found = _places(render, messages, every, text, _without_blanks)
    if found is None:
      found = {}
      for i in every:
        found |= _places(render, messages, [i], text, _without_blanks) or {}
    spans = [
      found.get(i) and tuple(np.searchsorted(ends, found[i], 'right').tolist())
      for i in every
    ]
    return ids, spans

  def encode_text(self, text: str) -> list[int]:
    """Ids as in pre-training: no template, but a start and an end.

    Where the tokenizer has no such token there is none; what looks like one is
    text.
    """
    start, end = (
      [self.tokens.ids[name]] if name in self.tokens.ids else []
      for name in map(self.template.tokens.get, ('bos_token', 'eos_token'))
    )
    return [*start, *self.tokens.encode(clean(text))[0], *end]

  def render(
    self,
    messages: Sequence[dict],
    tools: Sequence[dict] | None = None,
    add_generation_prompt: bool = False,
    marks: dict[int, tuple[int, int]] | None = None,
  ) -> tuple[str, dict[int, list[int]]]:
    """The text of a conversation as `tokens.encode` takes it.

    Args:
      messages: see `encode_messages`.
      tools: the same.
      add_generation_prompt: the same.
      marks: for some messages, by number, a range of the content whose start
        and end are wanted.

    Returns:
      The text, and where marks 2i and 2i + 1 stand in it: all places of each.
    """
    guard = self.tokens.guard
    guarded = [guard(message) for message in messages]
    write = functools.partial(
      self.template.render,
      tools=tools and guard(list(tools)),
      add_generation_prompt=add_generation_prompt,
      **self.settings,
    )
    for i, (start, end) in (marks or {}).items():
      content = messages[i]['content']
      parts = (content[:start], content[start:end], content[end:])
      before, inside, after = map(guard, parts)
      inside = mark(2 * i) + inside + mark(2 * i + 1)
      guarded[i] = {**guarded[i], 'content': before + inside + after}
    return self.tokens.reveal(write(guarded))

  def up_to(
    self,
    messages: Sequence[dict],
    role: str,
    context: str,
    tools: Sequence[dict] | None = None,
  ) -> str:
    """The text up to where a message, by now `context`, goes on."""
    goes_on = {'role': role, 'content': context + _SOMETHING}
    place, messages = len(context), [*messages, goes_on]
    text, (start, _) = self._around(messages, (place, place + 1), tools=tools)
    return text[:start]

  def answer(
    self, messages: Sequence[dict], tools: Sequence[dict] | None, frame: Frame
  ) -> tuple[str, str]:
    """The last message as it is written, calls of tools and end included.

    Args:
      messages: see `encode_messages`.
      tools: the same.
      frame: what `frame` returned.

    Returns:
      The text that is read before, and that of the answer.

    Raises:
      UserError: the template refuses the messages, or shows calls not at all or
        elsewhere than behind its generation prompt.
    """
    *before, last = messages
    prompt, _ = self.render(before, tools, add_generation_prompt=True)
    if not last.get('tool_calls'):
      return prompt, frame.lead + clean(last['content']) + frame.tail
    text = self.up_to(messages, 'user', '', tools)
    if not text.startswith(prompt):
      # Qwen3's history has no block of thoughts; its last answer has an empty
      # one, as its prompt has where `enable_thinking` is false.
      text, _ = self.render(messages, tools)
    if not text.startswith(prompt):
      raise UserError(
        f'{self.template.where}: the chat template begins calls of tools'
        ' otherwise than its generation prompt ends'
      )
    end = private_tokens.first_special(text[len(prompt) :])[1]
    answer = text[len(prompt) : len(prompt) + end]
    names = [str(call['function']['name']) for call in last['tool_calls']]
    if any(name not in answer for name in names):
      raise UserError(
        f'{self.template.where}: the chat template leaves out calls of tools'
      )
    if clean(last['content']).strip() not in answer:
      raise UserError(
        f'{self.template.where}: the chat template leaves out what is said'
        ' beside calls of tools'
      )
    return prompt, answer

  def frame(self) -> Frame:
    """Reads from the template what it puts around an answer.

    Raises:
      UserError: it writes no special token after an answer, or no answer.
    """
    user = {'role': 'user', 'content': _SOMETHING}
    answer = {'role': 'assistant', 'content': _SOMETHING}
    prompt, _ = self.render([user], add_generation_prompt=True)
    # An earlier answer, for some templates add to the last one.
    text, (start, _) = self._around([user, answer, user], index=1)
    known = text.startswith(prompt) and start >= len(prompt)
    lead = text[len(prompt) : start] if known else ''
    tail, end = self._tail([user, answer])
    if end is None:
      raise UserError(
        f'{self.template.where}: the chat template writes no special token of'
        ' the tokenizer after an answer, so that nothing ends a turn; add'
        ' eos_token to it'
      )
    return Frame(lead, tail, end, self._tail([user])[0])

  def _tail(self, messages):
    """What follows the last content, and the special token that ends it."""
    text, (_, end) = self._around(messages)
    tail = text[end:]
    name, length = private_tokens.first_special(tail) or (None, len(tail))
    return tail[:length], name

  def _around(self, messages, part=(0, 1), index=-1, tools=None):
    """The text, and where a part of a message's content stands in it."""
    index %= len(messages)
    text, places = self.render(messages, tools, marks={index: part})
    found = _found(places, index)
    if found is None:
      raise UserError(
        f'{self.template.where}: the chat template does not show the content'
        f' of a message of role {messages[index]["role"]} as it is'
      )
    return text, found


def _whole(content):
  return 0, len(content)


def _without_blanks(content):
  start = len(content) - len(content.lstrip())
  return start, max(start, len(content.rstrip()))


def _places(render, messages, indices, text, range_of):
  """The ranges of some contents in the text; None where marks change it."""
  ranges = {
    i: range_of(messages[i]['content'])
    for i in indices
    if isinstance(messages[i].get('content'), str)
  }
  marked, places = render(messages, marks=ranges)
  if marked != text:
    return None
  return {i: _found(places, i) for i in indices if _found(places, i)}


def _found(places, i):
  starts, ends = places.get(2 * i, ()), places.get(2 * i + 1, ())
  if len(starts) == len(ends) == 1 and starts[0] <= ends[0]:
    return starts[0], ends[0]
  return None
