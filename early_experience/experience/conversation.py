"""Scripts as the messages of a conversation, part by part."""

import dataclasses

from early_experience.experience.answer_format import AnswerFormat
from early_experience.experience.plain_text import clean
from early_experience.experience.render import OBJECTIVES, Script
from early_experience.runtime.errors import UserError

# Who says what. All that is not the model's own is the user's.
_SPEAKERS = {'system': 'system', 'thought': 'assistant', 'action': 'assistant'}


def speaker(role: str) -> str:
  """The role of a chat message that a turn of a script is part of."""
  return _SPEAKERS.get(role, 'user')


@dataclasses.dataclass(frozen=True)
class Part:
  """A turn of a script, or what stands between turns, as it is written.

  Attributes:
    role: of the turn.
    text: with its markup.
    objective: the index of what it is scored for in `OBJECTIVES`, or -1.
  """

  role: str
  text: str
  objective: int = -1


BLANK_LINE = Part('observation', '\n\n')


@dataclasses.dataclass(frozen=True)
class Message:
  """Neighbouring turns of one speaker."""

  parts: tuple[Part, ...]

  @property
  def speaker(self) -> str:
    return speaker(self.parts[0].role)

  @property
  def content(self) -> str:
    return ''.join(part.text for part in self.parts)

  @property
  def thinks(self) -> bool:
    """Whether an action is still to come."""
    return self.parts[-1].role == 'thought'


def part_of(
  role: str, text: str, form: AnswerFormat, scores: str | None = None
) -> Part:
  """A turn without the blanks around it, and with its markup.

  Raises:
    UserError: an action that is to be learnt would not be read as it is.
  """
  text = clean(text).strip()
  if speaker(role) == 'assistant':
    written = form.write(role, text)
    read = form.read(role, written)
    if scores and role == 'action' and read != text:
      raise UserError(
        f'the action {text[:80]!r} would be read as {read[:80]!r} in this'
        ' config.prepare.answer_format: `tags` may hold it'
      )
    text = written
  return Part(role, text, OBJECTIVES.index(scores) if scores else -1)


def messages(script: Script, form: AnswerFormat) -> list[Message]:
  """The messages of a script.

  A task and the observations next to it are one message, with blank lines
  between them; a thought and the action after it are one answer.
  """
  found: list[Message] = []
  for turn in script:
    part = part_of(turn.role, turn.text, form, turn.scores)
    last = found[-1] if found else None
    if turn.role == 'thought' and not part.text:
      continue
    if last and last.thinks and speaker(turn.role) == 'assistant':
      found[-1] = Message((*last.parts, part))
    elif last and last.speaker == speaker(turn.role) != 'assistant':
      found[-1] = Message((*last.parts, BLANK_LINE, part))
    else:
      found.append(Message((part,)))
  return found


def chat(script: Script, form: AnswerFormat) -> list[dict[str, str]]:
  """The messages of a script as servers take them."""
  return [
    {'role': message.speaker, 'content': message.content}
    for message in messages(script, form)
  ]
