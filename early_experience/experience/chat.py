"""Histories as the chat messages that a server renders."""

from early_experience.experience.answer_format import AnswerFormat
from early_experience.experience.render import Script

# All that a chat model does not say itself it is told.
_SPEAKERS = {
  'system': 'system',
  'task': 'user',
  'observation': 'user',
  'action': 'assistant',
}


def messages(script: Script, answers: AnswerFormat) -> list[dict[str, str]]:
  """The messages of a script without thoughts, as `ChatTokenizer` makes them.

  Turns of one speaker in a row are one message, joined by blank lines. Texts
  lose the blanks around them.

  Args:
    script: e.g. what `render.history` gives.
    answers: how an action is written.
  """
  found = []
  for turn in script:
    speaker, text = _SPEAKERS[turn.role], turn.text.strip()
    if speaker == 'assistant':
      text = answers.write(turn.role, text)
    if found and found[-1]['role'] == speaker:
      found[-1]['content'] += f'\n\n{text}'
    else:
      found.append({'role': speaker, 'content': text})
  return found
