"""The files of a tokenizer, taken from one folder to another."""

import json
import pathlib
import shutil

from early_experience import files

GENERATION = 'generation_config.json'
# What a chat is rendered with here, beside what the template says.
CHAT = 'chat.json'
TEMPLATE, CONFIG = 'chat_template.jinja', 'tokenizer_config.json'
FILES = (
  'tokenizer.json',
  CONFIG,
  'special_tokens_map.json',
  TEMPLATE,
  'tokenizer.model',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  GENERATION,
)


def has_template(folder) -> bool:
  """Whether a folder has a chat template."""
  folder = pathlib.Path(folder)
  if (folder / TEMPLATE).exists():
    return True
  config = folder / CONFIG
  return config.exists() and bool(files.read_json(config).get('chat_template'))


def copy(source, target) -> None:
  """Copies what is there of FILES from folder to folder."""
  for name in FILES:
    path = pathlib.Path(source) / name
    if path.is_file():
      shutil.copyfile(path, pathlib.Path(target) / name)


def export(source, target) -> None:
  """As `copy`; what the template was given here, it gives itself there.

  So a server that knows of no settings renders what training saw.
  """
  copy(source, target)
  chat = pathlib.Path(source) / CHAT
  given = files.read_json(chat).get('template_kwargs') if chat.exists() else {}
  if not given:
    return
  lines = ''.join(
    f'{{%- set {key} = {_literal(value)} %}}\n' for key, value in given.items()
  )
  template, config = (
    pathlib.Path(target) / name for name in (TEMPLATE, CONFIG)
  )
  if template.exists():
    template.write_text(lines + template.read_text())
    return
  content = files.read_json(config)
  templates = content['chat_template']
  if isinstance(templates, str):
    content['chat_template'] = lines + templates
  else:  # several by name
    for each in templates:
      each['template'] = lines + each['template']
  files.write_json(config, content)


def _literal(value):
  """A value of JSON in Jinja, which has another word for null."""
  if isinstance(value, list):
    return f'[{", ".join(map(_literal, value))}]'
  if isinstance(value, dict):
    pairs = (f'{_literal(key)}: {_literal(x)}' for key, x in value.items())
    return f'{{{", ".join(pairs)}}}'
  return 'none' if value is None else json.dumps(value, ensure_ascii=False)
