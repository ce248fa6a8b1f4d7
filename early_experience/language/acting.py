"""Language models that act: what they are shown of a state, and how read."""

import contextlib
import json
import re

from early_experience.experience import conversation, render
from early_experience.experience.answer_format import AnswerFormat
from early_experience.language import prompts
from early_experience.language.answer import Answer, spoken
from early_experience.runtime.errors import UserError

# What marks the action in an answer, the likeliest first. An answer that was
# cut off may lack the closing tag.
_MARKS = (
  re.compile(r'<action>(.*?)</action>', re.DOTALL | re.IGNORECASE),
  re.compile(r'<action>\s*(.+)', re.IGNORECASE),
  re.compile(r'^[^\w{]*action\W*:[\s*]*(.+)', re.IGNORECASE | re.MULTILINE),
)
_FENCE = re.compile(r'^```\w*\n(.*?)\n?```[ \t]*$', re.DOTALL | re.MULTILINE)
_BEGINS = re.compile(r'[{\[]')
_JSON = re.compile(r'^[{\[]', re.MULTILINE)
# What stands around a thought that precedes its action.
_BEFORE = re.compile(r'^\W*thoughts?\W*:[\s*]*', re.IGNORECASE)
_BEHIND = re.compile(
  r'(<action>|```\w*|^\W*action\W*:[\s*]*)\s*\Z', re.IGNORECASE | re.MULTILINE
)


class Acting:
  """How a language model is asked to act.

  One that was trained here reads what it read in training and answers as
  `answers` says. Another has to be told by a text that opens each chat, and
  then its answers are read as such models write them.

  Args:
    answers: how the actions of a history are written.
    where: the place of the settings, for errors.
    system: opens each chat; '' = nothing does.
    prompt: a file of `language/prompts` that does so in its place.
    options: a file that lists what can be done, behind what is seen last; '' =
      nothing does.

  Attributes:
    lists: whether a text may show what can be done.

  Raises:
    UserError: there is no such file, or there are both texts.
  """

  def __init__(
    self,
    answers: AnswerFormat,
    where: str,
    system: str = '',
    prompt: str = '',
    options: str = '',
  ):
    if system and prompt:
      raise UserError(f'{where} has both system and prompt')
    for key, name in (('prompt', prompt), ('options', options)):
      if name:
        prompts.check(name, f'{where}.{key}')
    self._answers, self._system = answers, system
    self._prompt, self._options = prompt, options
    self.lists = bool(prompt or options)
    self.prompts = '+'.join(filter(None, (prompt, options)))

  def messages(
    self, script: render.Script, admissible: tuple[str, ...] | None
  ) -> list[dict]:
    """The chat that a model is to go on with.

    Args:
      script: the turns so far, from `render`.
      admissible: what can be done, where the environment lists it.
    """
    listed = '\n'.join(f'- {action}' for action in admissible or ())
    system = self._system
    if self._prompt:
      options = ''
      if admissible is not None:
        options = f'\nWhat the environment would accept now:\n{listed}\n'
      system = prompts.fill(self._prompt, options=options)
    if system:
      script = (render.Turn('system', system), *script)
    if self._options and admissible is not None:
      text = prompts.fill(self._options, options=listed)
      script = (*script, render.Turn('observation', text))
    return conversation.chat(script, self._answers)

  def read(self, answer: Answer) -> tuple[str | None, str]:
    """The thought of an answer, None where there is none, and the action.

    The action is '' where there is none. Of a model that was told how to
    answer it is that, too, where it was cut off; another one is read as our own
    decoder's answers are, which end where their tokens do.
    """
    said = answer.text
    if self._system or self._prompt:
      action, start = _decided(said := _plain(said), answer.truncated)
      thought = said[:start] if action else said
      found, _ = _object(said)
      if found and found['action'].strip() == action:
        thought = str(found.get('thought') or '')
      thought = _BEFORE.sub('', _BEHIND.sub('', thought.strip())).strip()
    else:
      action = self._answers.read('action', said)
      thought = said[: said.rfind(action)] if action else ''
      thought = self._answers.read('thought', thought)
    thoughts = '\n\n'.join(filter(None, (answer.thought, thought)))
    return thoughts or None, action


def action_in(answer: str, truncated: bool = False) -> str:
  """The action that a model's free text decides for; '' if there is none.

  What follows `Action:`, stands between `<action>` tags or is that of a JSON
  object, where there are several the last one; else the last line that has
  text. JSON may take several lines, and all of it may be fenced. Thoughts in
  `<think>` tags do not count.

  Args:
    answer: of a model.
    truncated: it was cut off. Then its last line is not whole, and there must
      be a mark before it.
  """
  return _decided(_plain(answer), truncated)[0]


def _decided(answer, truncated):
  """The action of a plain answer, and where what says it begins."""
  closed, *others = _MARKS
  if found := list(closed.finditer(answer)):
    return found[-1][1].strip(), found[-1].start()
  if truncated:
    answer = answer.rpartition('\n')[0]
  found, end = _object(answer)
  for mark in others:
    if marked := list(mark.finditer(answer, end)):
      return _first(answer[marked[-1].start(1) :]), marked[-1].start()
  if found:
    action = found['action'].strip()
    return action, max(0, answer.rfind(action))
  if truncated or not answer:
    return '', 0
  if action := _json(answer):
    return action, len(answer) - len(action)
  last = answer.splitlines()[-1]
  return _bare(last), len(answer) - len(last)


def _object(answer):
  """The last JSON with text under `action`, and where it ends; None, 0."""
  found, end, at = None, 0, 0
  while begins := _BEGINS.search(answer, at):
    at = begins.start() + 1
    with contextlib.suppress(ValueError, RecursionError):
      read, at = json.JSONDecoder().raw_decode(answer, begins.start())
      if isinstance(read, dict) and isinstance(read.get('action'), str):
        found, end = read, at
  return found, end


def _json(answer):
  """What a text ends with that looks like JSON, if anything does."""
  for found in _JSON.finditer(answer):
    if _first(rest := answer[found.start() :]) == rest:
      return rest
  return None


def _plain(answer):
  """Without fences, and thoughts in tags."""
  return _FENCE.sub(r'\1', spoken(answer)).strip()


def _first(text):
  """The first line of a text, or all of the JSON that it begins with."""
  with contextlib.suppress(ValueError, RecursionError):
    if text.startswith(('{', '[')):
      return text[: json.JSONDecoder().raw_decode(text)[1]]
  return _bare(text.partition('\n')[0])


def _bare(line):
  """Without the marks of Markdown that may stand around all of it."""
  line = line.strip().strip('*').strip()
  within = line[1:-1]
  return within if line == f'`{within}`' and '`' not in within else line
