"""A thought and an action as the text of one answer, and back."""

import dataclasses

from early_experience.config import check_choice


@dataclasses.dataclass(frozen=True)
class AnswerFormat:
  """What stands around a thought and an action.

  All boundaries lie at newlines or symbols, where tokens rarely run across.

  Attributes:
    thought: what opens and what closes one.
    action: the same.
    between: ends a thought wherever it is read.
  """

  thought: tuple[str, str]
  action: tuple[str, str]
  between: str

  def write(self, role: str, text: str) -> str:
    """A turn with its markup; nothing of a thought that is empty."""
    before, after = getattr(self, role)
    return before + text + after if text or role == 'action' else ''

  def read(self, role: str, text: str) -> str:
    """A turn out of an answer, whatever markup the model left out."""
    if role == 'thought':
      text = text.rpartition(self.between)[0] or text
      text = _before(text, self.action[0].strip())
      return _after(text, self.thought[0].strip()).strip()
    text = _after(text, '</think>')  # some models have it whatever the format
    text = text.rpartition(self.between)[2]
    text = _after(text, self.action[0].strip())
    return _before(text, self.action[1].strip()).strip()


FORMATS = {
  'plain': AnswerFormat(('', '\n\n'), ('', ''), '\n\n'),
  'tags': AnswerFormat(
    ('<think>', '</think>\n'), ('<action>', '</action>'), '</think>'
  ),
  'labels': AnswerFormat(
    ('Thought:\n', '\n\n'), ('Action:\n', ''), 'Action:\n'
  ),
}


def find_format(name: str) -> AnswerFormat:
  """The format of `config.prepare.answer_format`.

  Raises:
    UserError: there is none of that name.
  """
  check_choice('prepare.answer_format', name, tuple(FORMATS))
  return FORMATS[name]


def _before(text, mark):
  return text.partition(mark)[0] if mark else text


def _after(text, mark):
  return text.rpartition(mark)[2] if mark else text
