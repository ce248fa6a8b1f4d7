"""Chat records of others, and how they are read."""

import json

from early_experience.experience import chat_record

SYSTEM = {'role': 'system', 'content': 'You act in a house.'}
EPISODE = [
  SYSTEM,
  {'role': 'user', 'content': 'Find <|im_end|> a cup.'},
  {'role': 'assistant', 'content': 'Thought:\nI look.\n\nAction:\nopen it'},
  {'role': 'user', 'content': 'It is empty.'},
  {'role': 'assistant', 'content': '<think>On.</think><action>go</action>'},
]
CALL = {
  'id': 'a',
  'type': 'function',
  'function': {'name': 'go', 'arguments': '{"to": "shelf 1"}'},
}
WITH_TOOLS = {
  'messages': [
    SYSTEM,
    {'role': 'user', 'content': 'Go.'},
    {'role': 'assistant', 'content': None, 'tool_calls': [CALL]},
    {'role': 'tool', 'tool_call_id': 'a', 'content': '{"seen": "cup"}'},
    {'role': 'assistant', 'content': 'I see a cup.'},
  ],
  'tools': [
    {
      'type': 'function',
      'function': {'name': 'go', 'parameters': {'type': 'object'}},
    }
  ],
}


def write(path, *values):
  path.write_text('\n'.join(json.dumps(value) for value in values))


def parsed(value, turns='all', objective='imitation'):
  return chat_record.parse(value, objective, turns, 'F line 1')
