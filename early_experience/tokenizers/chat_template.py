"""The chat template of a checkpoint: messages to text, as Jinja says.

The environment is the one that templates are written for (transformers'), but
for the clock: `strftime_now` is not defined, so that a prompt never depends on
the day it is made, unless `config.prepare.date` says which day it is for ever.
Most templates that ask for it (Llama 3.2's) have a date to fall back on.
"""

import json
import pathlib
import re

import jinja2
import jinja2.ext
import jinja2.sandbox

from early_experience.runtime import files
from early_experience.runtime.errors import UserError
from early_experience.tokenizers.tokenizer_files import (
  CLOCK,
  CONFIG,
  SPECIAL,
  TEMPLATE,
  clock,
  templates,
)

# Special tokens that may be written, whether or not the template does.
_USED = ('bos_token', 'eos_token', 'unk_token')
# Names that a message's reasoning goes by; templates read the first.
_REASONING = ('reasoning_content', 'thinking', 'reasoning')
# But for the noncharacters that `private_tokens` puts in, and takes out again.
_NOT_ASCII = re.compile('[^\x00-\x7f\ufdd0-\ufdef]')


class ChatTemplate:
  """A compiled template with the names of its special tokens.

  Args:
    source: Jinja text, or several by name: `default`, and `tool_use` for
      conversations with tools.
    tokens: `bos_token`, `eos_token`, ..., which the text may use.
    where: the file, for messages.

  Raises:
    UserError: the template is not Jinja; it names the file and the line.
  """

  def __init__(self, source: str | dict, tokens: dict[str, str], where: str):
    self.tokens, self.where = tokens, where
    sources = {'default': source} if isinstance(source, str) else source
    if 'default' not in sources:
      raise UserError(f'{where} has no chat template named "default"')
    self._text = ''.join(sources.values())
    self._compiled = {}
    for name, text in sources.items():
      try:
        self._compiled[name] = _environment().from_string(text)
      except jinja2.TemplateSyntaxError as error:
        raise UserError(
          f'{where}: the chat template is not Jinja, line {error.lineno}:'
          f' {error.message}'
        ) from None

  def unwritten(self) -> set[str]:
    """Special tokens that no prompt has, as those of images and of padding."""
    used = {self.tokens.get(key) for key in _USED}
    return {
      token
      for key, token in self.tokens.items()
      if token not in used and key not in self._text and token not in self._text
    }

  def render(
    self,
    messages: list[dict],
    tools: list[dict] | None = None,
    add_generation_prompt: bool = False,
    **kwargs,
  ) -> str:
    """The text of a conversation.

    Args:
      messages: with `role`, `content`, and what else the template reads.
      tools: JSON schemas.
      add_generation_prompt: whether it ends with an answer's header.
      **kwargs: what else the template takes.

    Raises:
      UserError: the template refuses the messages.
    """
    named = 'tool_use' if tools is not None else 'default'
    template = self._compiled.get(named, self._compiled['default'])
    if date := kwargs.get(CLOCK):
      kwargs = {**kwargs, CLOCK: clock(date).strftime}
    try:
      return template.render(
        messages=[_message(message) for message in messages],
        tools=tools,
        documents=None,
        add_generation_prompt=add_generation_prompt,
        **{**self.tokens, **kwargs},
      )
    except Exception as error:  # whatever Jinja's expressions may raise
      roles = ', '.join(str(m.get('role')) for m in messages)
      reason = ' '.join(str(error).split()) or type(error).__name__
      more = 'set config.prepare.date, or ' if CLOCK in reason else ''
      raise UserError(
        f'the chat template of {self.where} refuses a conversation of {roles}:'
        f' {reason}; {more}change the messages,'
        ' config.prepare.template_kwargs, or the template'
      ) from error


def load(folder: pathlib.Path) -> ChatTemplate:
  """Reads the template of a tokenizer's folder, and its special tokens.

  Raises:
    UserError: there is none, or a file is damaged.
  """
  config = read_config(folder)
  tokens = {}
  for name in (key for key in config if key.endswith('_token')):
    token = config[name]
    token = token.get('content') if isinstance(token, dict) else token
    if isinstance(token, str):
      tokens[name] = token
  where, source = folder / CONFIG, config.get('chat_template')
  if (folder / TEMPLATE).exists():
    where = folder / TEMPLATE
    first, *others = (folder / name for name in templates(folder))
    source = {path.stem: _read(path) for path in others}
    source['default'] = _read(first)
  if isinstance(source, list):
    entries = [entry for entry in source if isinstance(entry, dict)]
    source = {e.get('name'): e.get('template') for e in entries}
  if not isinstance(source, str | dict) or not source:
    raise UserError(
      f'{folder} has no chat template: neither {TEMPLATE} nor "chat_template"'
      f' in {CONFIG}; a base model needs that of its instruct version'
    )
  return ChatTemplate(source, tokens, str(where))


def read_config(folder: pathlib.Path) -> dict:
  """tokenizer_config.json, over what special_tokens_map.json says."""
  merged = {}
  for name in (SPECIAL, CONFIG):
    if (folder / name).exists():
      found = files.read_json(folder / name)
      merged |= {k: v for k, v in found.items() if v is not None}
  return merged


def _read(path):
  try:
    return path.read_text(encoding='utf-8')
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(f'cannot read {path}: {error}') from None


def _message(message):
  """A message as templates expect it: no empty keys, one name of reasoning."""
  message = {key: value for key, value in message.items() if value is not None}
  thoughts = [message[key] for key in _REASONING if key in message]
  if thoughts:
    message = {'thinking': thoughts[0], **message}
    message['reasoning_content'] = thoughts[0]
  return message


class _Generation(jinja2.ext.Extension):
  """`{% generation %}` marks what a model wrote; it is rendered as it is."""

  tags = {'generation'}

  def parse(self, parser):
    next(parser.stream)
    return parser.parse_statements(['name:endgeneration'], drop_needle=True)


def _environment():
  environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True,
    lstrip_blocks=True,
    extensions=[_Generation, jinja2.ext.loopcontrols],
  )
  environment.filters['tojson'] = _tojson
  environment.globals['raise_exception'] = _raise
  return environment


def _tojson(
  value, ensure_ascii=False, indent=None, separators=None, sort_keys=False
):
  # Jinja's own escapes what HTML would take amiss.
  text = json.dumps(
    value,
    ensure_ascii=False,
    indent=indent,
    separators=separators,
    sort_keys=sort_keys,
  )
  if ensure_ascii:
    text = _NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)
  return text


def _raise(message):
  raise jinja2.TemplateError(message)
