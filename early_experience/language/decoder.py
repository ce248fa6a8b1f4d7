"""Our own decoder on a checkpoint, asked as an endpoint is."""

import dataclasses
import hashlib
import itertools
import json
import pathlib
from collections.abc import Callable, Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from early_experience.decoding.contexts import Contexts
from early_experience.language.answer import Answer, Chat, Failure
from early_experience.model import sharding
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import interface, saved
from early_experience.training import architecture, initial

_SMALL = 1 << 20  # bytes of a file that a checkpoint is known by


class Decoder:
  """Answers chats by a model on this machine's devices, in batches.

  What a chat is answered depends on the seed and on the chat, not on what is
  asked beside it.

  Args:
    settings: as `config.endpoint()` makes them; `checkpoint` is a training's
      folder, or what `convert from_hf` wrote.
    where: their place; errors name it.

  Attributes:
    name: of the checkpoint, by what is in it: a folder that is trained anew is
      another model.
    address: of it, for errors.
    request: what else an answer depends on.

  Raises:
    UserError: there is no checkpoint, or no tokenizer that can chat.
  """

  def __init__(self, settings: ConfigDict, where: str):
    folder = pathlib.Path(settings.checkpoint)
    words = saved.beside(folder)
    if words is None:
      raise UserError(f'{where}.checkpoint={folder} has no tokenizer beside it')
    trained, _ = architecture.read(folder / initial.FOLDER)
    self._cfg = dataclasses.replace(
      trained, dtype=trained.param_dtype, max_tokens=settings.context_tokens
    )
    self._words = _load(words, settings.template_kwargs.to_dict())
    self._settings = settings
    self._mesh = sharding.machine_mesh(trained.embed)
    with jax.set_mesh(self._mesh):
      params = initial.policy(folder, self._cfg, self._mesh)
      self._contexts = Contexts(
        params, self._cfg, self._words, self._mesh, settings.concurrency
      )
    self.name = f'{folder.name} {_digest(folder)}'
    self.address = str(folder)
    self.request = {
      'max_tokens': settings.max_tokens,
      'tokenizer': self._words.hash,
      'seed': settings.seed,
    }

  def count_tokens(self, messages: list[dict]) -> int:
    """Tokens of a request, by the checkpoint's own tokenizer."""
    return len(self._words.encode_chat(messages))

  def answer(
    self,
    chats: Sequence[tuple[Chat, float]],
    keep: Callable[[int, Answer], None],
  ) -> list[Answer | Failure]:
    """Answers all; chats of one temperature share a batch.

    Args:
      chats: each with its temperature.
      keep: is told the place of each chat and its answer.
    """
    answers: list = [None] * len(chats)
    heat = lambda place: chats[place][1]
    places = sorted(range(len(chats)), key=heat)
    for temperature, group in itertools.groupby(places, heat):
      group = list(group)
      for start in range(0, len(group), self._contexts.rows):
        some = group[start : start + self._contexts.rows]
        batch = self._batch([chats[i][0] for i in some], temperature)
        for place, answer in zip(some, batch, strict=True):
          answers[place] = answer
          if isinstance(answer, Answer):
            keep(place, answer)
    return answers

  def _batch(self, chats, temperature):
    contexts, room = self._contexts, self._settings.max_tokens + 1
    prompts = [self._words.encode_chat(chat.messages) for chat in chats]
    fits = [
      prompt if len(prompt) < self._cfg.max_tokens else None
      for prompt in prompts
    ]
    if not any(fits):
      return [self._too_long(prompt) for prompt in prompts]
    empty = [None] * (contexts.rows - len(chats))
    with jax.set_mesh(self._mesh):
      logits_BV, ready = contexts.read(fits + empty, patience=1.0)
      texts = contexts.write(
        logits_BV,
        np.asarray(ready),
        [self._key(chat) for chat in chats],
        room,
        temperature,
      )
    answers = []
    for row, prompt in enumerate(prompts):
      ids = texts[row]
      if fits[row] is None or contexts.overflows(row):
        answers.append(self._too_long(prompt))
      else:
        cut = len(ids) + 1 == room  # then the end was forced
        text = self._words.decode(ids).strip()
        answers.append(Answer(text, cut, False, len(prompt), len(ids)))
    return answers

  def _too_long(self, prompt):
    most = self._cfg.max_tokens
    return Failure('too long', f'{len(prompt)} tokens and an answer, of {most}')

  def _key(self, chat):
    """All that the chance of an answer depends on."""
    messages = json.dumps(chat.messages, sort_keys=True)
    return f'{self._settings.seed}/{chat.sample}/{messages}'


def _load(folder, template_kwargs):
  """The tokenizer; what it writes around an action is in the chats already."""
  chat = folder / interface.FOLDER
  if (chat if chat.is_dir() else folder).joinpath(interface.JSON).exists():
    return saved.load(
      folder,
      answer_format='plain',
      **({'template_kwargs': template_kwargs} if template_kwargs else {}),
    )
  return saved.load(folder)


def _digest(folder):
  """Names what a checkpoint holds, without reading all of it.

  The names of large files have random parts, and small files say what was
  trained, so that two trainings never agree.
  """
  found = hashlib.sha256()
  top = folder / initial.FOLDER
  for path in sorted(p for p in top.rglob('*') if p.is_file()):
    size = path.stat().st_size
    found.update(f'{path.relative_to(top)} {size}\n'.encode())
    if size <= _SMALL:
      found.update(path.read_bytes())
  return found.hexdigest()[:16]
