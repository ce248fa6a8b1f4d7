"""A `tokenizer.json` whose special tokens no text can spell.

Text and special tokens come to a tokenizer as one string, so a message that
contains `<|im_end|>` would end its turn. Here every special token is renamed,
in the tokenizer, to a form with noncharacters around it, which are taken out of
all messages. What the chat template writes is renamed too; what a message
says is not, and is encoded as the text that it is. The string is encoded in
one call, so merges, added spaces and byte fallback are the tokenizer's own.
"""

import itertools
import json
import pathlib
import re
from collections.abc import Container

import numpy as np
import tokenizers

from early_experience.experience.plain_text import clean
from early_experience.runtime import files
from early_experience.runtime.errors import UserError

# Noncharacters: Unicode keeps U+FDD0 to U+FDEF out of all text.
_AROUND = '\ufdd0'  # on both sides of a special token
_BREAK = '\ufdd1'  # inside of what only looks like one
_MARK, _MARKED = '\ufdd2', '\ufdd3'  # around the number of a mark
_DIGITS = [chr(0xFDE0 + digit) for digit in range(16)]
# Where lists of special tokens stand, by version of transformers.
_MORE = ('additional_special_tokens', 'extra_special_tokens')
_INSERTED = re.compile(f'{_BREAK}|{_MARK}([\ufde0-\ufdef]+){_MARKED}')


def mark(number: int) -> str:
  """Text without width that `PrivateTokens.reveal` finds again."""
  return _MARK + ''.join(_DIGITS[int(d, 16)] for d in f'{number:x}') + _MARKED


class PrivateTokens:
  """The tokenizer with its special tokens renamed.

  Args:
    data: of tokenizer.json.
    config: of tokenizer_config.json: names special tokens too.
    where: the file, for messages.

  Attributes:
    ids: of the special tokens, by their public names.

  Raises:
    UserError: the tokenizers library cannot read it.
  """

  def __init__(self, data: dict, config: dict, where: str):
    try:
      names = _rename(data, config)
      self._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(data))
    except Exception as error:  # the library raises nothing more precise
      reason = ' '.join(str(error).split())
      raise UserError(f'{where} is not a tokenizer.json: {reason}') from error
    ids = {n: self._tokenizer.token_to_id(_private(n)) for n in names}
    self.ids = {name: i for name, i in ids.items() if i is not None}
    longest_first = sorted(self.ids, key=len, reverse=True)
    self._special = re.compile(
      '|'.join(map(re.escape, longest_first)) or '(?!)'
    )

  def guard(self, value):
    """Strings in a message, or in a schema, that cannot be special tokens."""
    if isinstance(value, str):
      broken = lambda found: found[0][0] + _BREAK + found[0][1:]
      return self._special.sub(broken, clean(value))
    if isinstance(value, dict):
      return {self.guard(k): self.guard(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
      return [self.guard(item) for item in value]
    return value

  def reveal(self, rendered: str) -> tuple[str, dict[int, list[int]]]:
    """What a template made of guarded messages, as `encode` takes it.

    Returns:
      The text, and for each mark in it all places where it stood.
    """
    rendered = self._special.sub(lambda f: _private(f[0]), rendered)
    parts, places, end, length = [], {}, 0, 0
    for found in _INSERTED.finditer(rendered):
      parts.append(rendered[end : found.start()])
      length += found.start() - end
      end = found.end()
      if found[1]:
        digits = ''.join(f'{_DIGITS.index(d):x}' for d in found[1])
        places.setdefault(int(digits, 16), []).append(length)
    return ''.join([*parts, rendered[end:]]), places

  def vocab_size(self, unwritten: Container[str]) -> int:
    """The largest id and one, but for special tokens that nothing writes."""
    every = self._tokenizer.get_vocab(with_added_tokens=True)
    never = {i for name, i in self.ids.items() if name in unwritten}
    return max(set(every.values()) - never, default=-1) + 1

  def encode(self, text: str) -> tuple[list[int], np.ndarray]:
    """Token ids of revealed text, and the place where each one ends in it."""
    encoding = self._tokenizer.encode(text, add_special_tokens=False)
    ends = np.array([end for _, end in encoding.offsets], np.int64)
    return encoding.ids, ends

  def decode(self, ids: list[int]) -> str:
    """Text without special tokens."""
    return self._tokenizer.decode(ids, skip_special_tokens=True)

  def pieces(self, ids: list[int]) -> list[tuple[str, bool]]:
    """Texts, each with whether it is one special token by its public name."""
    names = {i: name for name, i in self.ids.items()}
    found = []
    for special, run in itertools.groupby(ids, names.__contains__):
      if special:
        found += [(names[i], True) for i in run]
      else:
        found.append((self.decode(list(run)), False))
    return found


def last_special(text: str, end: int) -> int:
  """Where the last special token before `end` of a revealed text starts, or 0.

  A tokenizer cuts text at special tokens before anything else, so what stands
  before it has no influence on the tokens of what comes after.
  """
  closing = text.rfind(_AROUND, 0, end)
  return max(text.rfind(_AROUND, 0, max(closing, 0)), 0)


def first_special(text: str) -> tuple[str, int] | None:
  """The first special token of a revealed text and where it ends."""
  found = re.search(f'{_AROUND}([^{_AROUND}]+){_AROUND}', text)
  return found and (found[1], found.end())


def load(folder: pathlib.Path, config: dict) -> PrivateTokens:
  """Reads the tokenizer.json of a folder."""
  path = folder / 'tokenizer.json'
  return PrivateTokens(files.read_json(path), config, str(path))


def _private(name):
  return f'{_AROUND}{name}{_AROUND}'


def _rename(data, config):
  """Renames the special tokens of a tokenizer.json in place; returns names.

  Those are what any of the files calls special. What is merely added (runs of
  spaces of Gemma's, Qwen's <think>) is text, here as in the library.
  """
  added = {token['content']: token for token in data['added_tokens']}
  for i, token in config.get('added_tokens_decoder', {}).items():
    known = added.setdefault(token['content'], {**token, 'id': int(i)})
    known['special'] = known['special'] or token.get('special', False)
  model = data['model']
  vocab = model['vocab']
  position = (
    vocab if isinstance(vocab, dict) else {v[0]: i for i, v in enumerate(vocab)}
  )
  for name in _named(config):
    if name in added:
      added[name]['special'] = True
    elif name in position:
      added[name] = _token(name, position[name])
  names = [name for name, token in added.items() if token['special']]
  for name in names:
    added[name]['content'] = _private(name)
    if name not in position:
      continue
    if isinstance(vocab, dict):
      vocab[_private(name)] = vocab.pop(name)
    else:
      vocab[position[name]][0] = _private(name)
  if model.get('unk_token') in names:
    model['unk_token'] = _private(model['unk_token'])
  data['added_tokens'] = sorted(added.values(), key=lambda token: token['id'])
  # A sequence's start is the template's to write; lengths are ours to keep.
  data.update(post_processor=None, truncation=None, padding=None)
  return names


def _named(config):
  for key, value in config.items():
    if key.endswith('_token') or key in _MORE:
      for token in value if isinstance(value, list) else [value]:
        token = token.get('content') if isinstance(token, dict) else token
        if isinstance(token, str):
          yield token


def _token(name, i):
  flags = ('single_word', 'lstrip', 'rstrip', 'normalized')
  return {
    'id': i,
    'content': name,
    'special': True,
    **dict.fromkeys(flags, False),
  }
