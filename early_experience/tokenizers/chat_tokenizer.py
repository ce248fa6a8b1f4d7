"""Scripts as conversations, by a Hugging Face tokenizer and chat template.

Where text belongs is known by its place in what was rendered and encoded in one
call: a token that straddles a boundary belongs to what comes after it. Where
that would make a prompt no prefix of its training sequence, prompt and answer
are encoded apart, in training as in acting.
"""

import dataclasses
import functools
import itertools
import os
import pathlib

import numpy as np

from early_experience.experience.answer_format import find_format
from early_experience.experience.chat_record import Chat
from early_experience.experience.conversation import (
  BLANK_LINE,
  Part,
  part_of,
  speaker,
)
from early_experience.experience.conversation import messages as messages_of
from early_experience.experience.render import OBJECTIVES, Script
from early_experience.experience.tree import Sequence
from early_experience.runtime import files
from early_experience.tokenizers import (
  interface,
  private_tokens,
  shown,
  tokenizer_files,
)
from early_experience.tokenizers.chat_encoding import ChatEncoding

SETTINGS = tokenizer_files.CHAT


@dataclasses.dataclass(frozen=True)
class _Target:
  """Text that is read, then what is learnt to be written."""

  prompt: str
  pieces: tuple[Part, ...]

  @property
  def text(self):
    return self.prompt + ''.join(piece.text for piece in self.pieces)


class ChatTokenizer(interface.Tokenizer):
  """The tokenizer of a chat model.

  A system turn is a system message; a task and observations are the user's,
  joined by blank lines; a thought and its action are one answer. Texts lose
  the blanks around them, as many templates would have it.

  Args:
    folder: with tokenizer.json, tokenizer_config.json and the template.
    answer_format: how an answer is written, one of `answer_format.FORMATS`.
    template_kwargs: what else the template takes.

  Raises:
    UserError: a file is missing or damaged, there is no template, or it writes
      no special token after an answer.
  """

  def __init__(
    self,
    folder: pathlib.Path,
    answer_format: str = 'plain',
    template_kwargs: dict | None = None,
  ):
    self._folder = folder
    self._settings = {
      'answer_format': answer_format,
      'template_kwargs': template_kwargs or {},
    }
    self._format = find_format(answer_format)
    self._chat = ChatEncoding(folder, self._settings['template_kwargs'])
    self.encode_messages = self._chat.encode_messages
    self._frame = self._chat.frame()
    # The scripts of one trajectory share much of what is rendered and encoded.
    cached = functools.lru_cache
    self._rendered = cached(maxsize=512)(self._render)
    self._user_prompt = cached(maxsize=512)(self._render_user_prompt)
    self._encoded = cached(maxsize=512)(self._chat.tokens.encode)
    self._continued = cached(maxsize=32768)(self._continue)
    self._prompt = cached(maxsize=512)(self._prompt_texts)
    self._check_system = cached(maxsize=512)(
      functools.partial(shown.check_system, self._chat)
    )
    self.vocab_size = self._chat.vocab_size
    ids, names = self._chat.tokens.ids, self._chat.template.tokens
    stops = [ids[self._frame.end], ids.get(names.get('eos_token'))]
    stops += tokenizer_files.generation_stops(folder)
    self.stop_ids = tuple(dict.fromkeys(i for i in stops if i is not None))
    eos = ids.get(names.get('eos_token'), self.stop_ids[0])
    pad = ids.get(names.get('pad_token'), eos)
    # One that was added last is often beyond the embedding; any id fills rows.
    self.pad_id = pad if pad < self.vocab_size else eos
    self.hash = tokenizer_files.digest(folder, self._settings)

  @classmethod
  def load(cls, folder: str | os.PathLike, **settings) -> 'ChatTokenizer':
    """Reads a folder; settings that are not given are as they were saved."""
    folder = pathlib.Path(folder)
    if (folder / SETTINGS).exists():
      saved = files.read_json(folder / SETTINGS)
      known = ('answer_format', 'template_kwargs')
      settings = {k: saved[k] for k in known if k in saved} | settings
    return cls(folder, **settings)

  def save(self, folder: str | os.PathLike) -> None:
    with files.new_folder(pathlib.Path(folder) / interface.FOLDER) as made:
      tokenizer_files.copy(self._folder, made)
      tokenizer_files.add_stop(made, self.stop_ids[0])
      files.write_json(made / SETTINGS, self._settings)

  def encode_prompt(self, script: Script, role: str) -> list[int]:
    parts = self._encode_parts(self._prompt(script, role))
    return list(itertools.chain(*parts))

  def encode_answer(self, script: Script, role: str, text: str) -> list[int]:
    prompt = self._prompt(script, role)
    piece = self._in_frame(
      part_of(role, text, self._format),
      first=len(prompt) == 1,
      last=True,
    )
    return list(self._continued(_context(''.join(prompt)), piece.text))

  def decode_answer(self, ids: list[int], role: str) -> str:
    text = self.decode(ids)
    if speaker(role) != 'assistant':
      return text.strip()
    return self._format.read(role, text)

  def encode_chat(self, messages: list[dict]) -> list[int]:
    text, _ = self._chat.render(messages, None, True)
    return list(self._chat.tokens.encode(text)[0])

  def decode(self, ids: list[int]) -> str:
    return self._chat.tokens.decode(ids)

  def pieces(self, ids: list[int]) -> list[tuple[str, bool]]:
    return self._chat.tokens.pieces(ids)

  def encode_script(self, script: Script) -> list[Sequence]:
    messages = messages_of(script, self._format)
    if messages[0].speaker == 'system':
      self._check_system(messages[0].content)
    targets = [
      target
      for i, message in enumerate(messages)
      for target in self._targets(messages[:i], message)
    ]
    if not targets:
      return []
    return self._sequences(self._rendered(_plain(messages), False), targets)

  def encode_record(self, chat: Chat) -> list[Sequence]:
    objective = OBJECTIVES.index(chat.objective)
    if chat.is_text:
      ids = self._chat.encode_text(chat.messages[0]['content'])
      column = [-1] + [objective] * (len(ids) - 1)
      whole = interface.scored_part(ids, column)
      return [whole] if whole else []
    messages = [
      {**message, 'content': message['content'].strip()}
      for message in chat.messages[: chat.scored[-1] + 1]
    ]
    tools = list(chat.tools) or None
    shown.check(self._chat, messages, tools)
    targets = []
    for i in chat.scored:
      prompt, answer = self._chat.answer(messages[: i + 1], tools, self._frame)
      targets.append(_Target(prompt, (Part('action', answer, objective),)))
    # More follows in the text, as after each answer but the last of an episode:
    # some templates write a last answer otherwise.
    text = self._chat.up_to(messages, 'user', '', tools)
    return self._sequences(text, targets)

  def _sequences(self, text, targets):
    """The targets' sequences: one, where the whole text holds them all."""
    whole = self._encode_whole(text, targets)
    if whole:
      return [whole]
    sequences = []
    for target in targets:
      texts = [target.prompt, *(piece.text for piece in target.pieces)]
      parts = self._encode_parts(texts)
      column = [-1] * len(parts[0])
      for ids, piece in zip(parts[1:], target.pieces, strict=True):
        column += [piece.objective] * len(ids)
      ids = list(itertools.chain(*parts))
      sequences.append(interface.scored_part(ids, column))
    return sequences

  def _encode_whole(self, text, targets):
    """One sequence of all targets; None where a prompt is no prefix of it.

    Some templates rewrite an answer when more comes after it: Qwen3's drops
    thoughts.
    """
    if not all(text.startswith(target.text) for target in targets):
      return None
    text = targets[-1].text
    ids, ends = self._encoded(text)
    column_T = np.full(len(ids), -1)
    for target in targets:
      place = len(target.prompt)
      for piece in target.pieces:
        start, end = np.searchsorted(
          ends, [place, place + len(piece.text)], 'right'
        )
        if not self._begins(text[:place], ids[:start], ends):
          return None
        column_T[start:end] = piece.objective
        place += len(piece.text)
    return interface.scored_part(ids, column_T)

  def _begins(self, text, ids, ends):
    """Whether `ids` are those of a text by itself."""
    context = _context(text)
    known = np.searchsorted(ends, len(text) - len(context), 'right')
    return self._encoded(context)[0] == ids[known:]

  def _encode_parts(self, texts):
    """Ids of each text where it follows on those before it."""
    so_far, parts = texts[0], [self._encoded(texts[0])[0]]
    for text in texts[1:]:
      parts.append(self._continued(_context(so_far), text))
      so_far += text
    return parts

  def _continue(self, context, text):
    encode = self._chat.tokens.encode
    (read, _), (ids, _) = encode(context), encode(context + text)
    if ids[: len(read)] == read:
      return ids[len(read) :]
    return encode(text)[0]

  def _prompt_texts(self, script, role):
    """What is read before a turn: texts that are encoded one after another."""
    *before, last = messages_of(script, self._format)
    if speaker(role) == 'assistant' and not last.thinks:
      return [self._rendered(_plain([*before, last]), True)]
    if speaker(role) == 'assistant':
      thought = self._in_frame(last.parts[0], first=True)
      return [self._rendered(_plain(before), True), thought.text]
    if last.speaker != speaker(role):
      before, context = [*before, last], ''
    else:
      context = last.content + BLANK_LINE.text
    return [self._user_prompt(_plain(before), speaker(role), context)]

  def _targets(self, before, message):
    """What is trained on in a message that follows on others."""
    parts = message.parts
    if all(part.objective < 0 for part in parts):
      return
    if message.speaker == 'assistant':
      pieces = [
        self._in_frame(part, first=i == 0, last=i == len(parts) - 1)
        for i, part in enumerate(parts)
      ]
      yield _Target(self._rendered(_plain(before), True), tuple(pieces))
      return
    for i, part in enumerate(parts):
      if part.objective >= 0:
        context = ''.join(p.text for p in parts[:i])
        yield _Target(
          self._user_prompt(_plain(before), message.speaker, context),
          (self._in_frame(part, last=i == len(parts) - 1),),
        )

  def _in_frame(self, part, first=False, last=False):
    """A part with what the template puts around the message."""
    frame, before, after = self._frame, '', ''
    if speaker(part.role) != 'assistant':
      after = frame.user_tail if last else ''
    else:
      before = frame.lead if first else ''
      after = frame.tail if last and part.role == 'action' else ''
    return dataclasses.replace(part, text=before + part.text + after)

  def _render(self, messages, add_generation_prompt):
    given = [{'role': role, 'content': content} for role, content in messages]
    return self._chat.render(given, None, add_generation_prompt)[0]

  def _render_user_prompt(self, messages, role, context):
    """The text up to where a user's message goes on after some context."""
    given = [{'role': role, 'content': content} for role, content in messages]
    return self._chat.up_to(given, role, context)


def _plain(messages):
  return tuple((message.speaker, message.content) for message in messages)


def _context(text):
  """The end of a text that has a say in how tokens go on after it."""
  return text[private_tokens.last_special(text, len(text)) :]
