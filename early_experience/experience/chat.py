"""Scripts to chat messages."""

from early_experience.experience.render import Script

# Who says what, as a chat model knows it: all that is not its own is the user.
_SPEAKER = {'action': 'assistant', 'thought': 'assistant', 'system': 'system'}


def messages(script: Script) -> list[dict[str, str]]:
  """The messages of a script; turns of one speaker in a row become one."""
  found = []
  for turn in script:
    speaker = _SPEAKER.get(turn.role, 'user')
    if found and found[-1]['role'] == speaker:
      found[-1]['content'] += f'\n\n{turn.text}'
    else:
      found.append({'role': speaker, 'content': turn.text})
  return found
