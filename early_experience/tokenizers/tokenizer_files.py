"""The files of a tokenizer, taken from one folder to another."""

import datetime
import hashlib
import json
import pathlib
import shutil

from early_experience.runtime import files
from early_experience.runtime.errors import UserError

# The clock of templates; among their settings the date that it shows.
CLOCK = 'strftime_now'
# What it may be asked for, those of two signs before those of one.
_PARTS = ('-d', '-m', '-H', '-I', '-M', '-j', *'aAbBdmyYHIMSpjeFDTRZz')
# Makes of a server's clock a name without a value, as it is here.
_NO_CLOCK = '{%- set strftime_now = no_clock %}\n'
GENERATION = 'generation_config.json'
# What a chat is rendered with here, beside what the template says.
CHAT = 'chat.json'
TEMPLATE, CONFIG = 'chat_template.jinja', 'tokenizer_config.json'
SPECIAL = 'special_tokens_map.json'
# A folder of templates for other purposes than chats, e.g. with tools.
MORE = 'additional_chat_templates'
FILES = (
  'tokenizer.json',
  CONFIG,
  SPECIAL,
  'tokenizer.model',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  GENERATION,
)


def templates(folder) -> list[str]:
  """The template files that there are, that of chats first."""
  folder = pathlib.Path(folder)
  more = sorted(
    f'{MORE}/{path.name}' for path in folder.glob(f'{MORE}/*.jinja')
  )
  return [name for name in (TEMPLATE, *more) if (folder / name).exists()]


def has_template(folder) -> bool:
  """Whether a folder has a chat template."""
  folder = pathlib.Path(folder)
  if (folder / TEMPLATE).exists():
    return True
  config = folder / CONFIG
  return config.exists() and bool(files.read_json(config).get('chat_template'))


def generation_stops(folder) -> list[int]:
  """Stop ids of generation_config.json: one, several, or none.

  Raises:
    UserError: they are no ids.
  """
  path = pathlib.Path(folder) / GENERATION
  stops = files.read_json(path).get('eos_token_id') if path.exists() else []
  stops = [stops] if isinstance(stops, int) else stops or []
  if not all(isinstance(stop, int) for stop in stops):
    raise UserError(f'{path}: eos_token_id is {stops!r}, not ids')
  return stops


def add_stop(folder, stop: int) -> None:
  """Adds an id to generation_config.json, if that is there without it.

  So that servers end turns, too, of a base model with another's template.
  """
  path, stops = pathlib.Path(folder) / GENERATION, generation_stops(folder)
  if path.exists() and stop not in stops:
    content = files.read_json(path) | {'eos_token_id': [*stops, stop]}
    files.write_json(path, content)


def digest(folder, settings: dict) -> str:
  """Names a vocabulary, a `-`, and how a chat becomes text.

  Args:
    folder: of the tokenizer.
    settings: what the chat is rendered with.
  """
  folder = pathlib.Path(folder)
  vocabulary = hashlib.sha256((folder / FILES[0]).read_bytes())
  rendering = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
  for name in (CONFIG, SPECIAL, *templates(folder)):
    if (folder / name).exists():
      rendering.update(name.encode() + (folder / name).read_bytes())
  return f'{vocabulary.hexdigest()[:16]}-{rendering.hexdigest()[:8]}'


def copy(source, target) -> None:
  """Copies what is there of FILES, and templates, from folder to folder."""
  for name in (*FILES, *templates(source)):
    path, other = (pathlib.Path(folder) / name for folder in (source, target))
    if path.is_file():
      other.parent.mkdir(exist_ok=True)
      shutil.copyfile(path, other)


def export(source, target) -> None:
  """As `copy`; what the template was given here, it gives itself there.

  So a server that knows of no settings, but has a clock, reads the tokens that
  training read.
  """
  copy(source, target)
  chat = pathlib.Path(source) / CHAT
  if not chat.exists():
    return
  given = files.read_json(chat).get('template_kwargs') or {}
  settings = ''.join(
    f'{{%- set {key} = {_literal(value)} %}}\n'
    for key, value in given.items()
    if key != CLOCK
  )
  stopped = _stopped(given[CLOCK]) if CLOCK in given else _NO_CLOCK

  def settled(template):
    return (stopped if CLOCK in template else '') + settings + template

  config = pathlib.Path(target) / CONFIG
  content = files.read_json(config) if config.exists() else {}
  # tokenizer.json as it is: for a Llama 2's own class transformers 5 makes
  # another tokenizer of its vocabulary.
  content['tokenizer_class'] = 'PreTrainedTokenizerFast'
  for path in (pathlib.Path(target) / name for name in templates(target)):
    path.write_text(settled(path.read_text(encoding='utf-8')), encoding='utf-8')
  found = content.get('chat_template')
  if isinstance(found, str):
    content['chat_template'] = settled(found)
  elif found:  # several by name
    for each in found:
      each['template'] = settled(each['template'])
  files.write_json(config, content)


def clock(date: str) -> datetime.datetime:
  """The start of a day such as 2026-01-31.

  Raises:
    UserError: it is none.
  """
  try:
    return datetime.datetime.combine(
      datetime.date.fromisoformat(date), datetime.time()
    )
  except (TypeError, ValueError):
    raise UserError(
      f'config.prepare.date = {date!r} is no day such as 2026-01-31'
    ) from None


def _stopped(date):
  """A clock in Jinja that shows one day for ever."""
  shown = ''.join(
    f".replace('%{part}', '{clock(date).strftime(f'%{part}')}')"
    for part in _PARTS
  )
  return (
    f'{{%- macro {CLOCK}(format) -%}}{{{{ format{shown} }}}}{{%- endmacro %}}\n'
  )


def _literal(value):
  """A value of JSON in Jinja, which has another word for null."""
  if isinstance(value, list):
    return f'[{", ".join(map(_literal, value))}]'
  if isinstance(value, dict):
    pairs = (f'{_literal(key)}: {_literal(x)}' for key, x in value.items())
    return f'{{{", ".join(pairs)}}}'
  return 'none' if value is None else json.dumps(value, ensure_ascii=False)
