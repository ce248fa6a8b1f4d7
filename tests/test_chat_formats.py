"""What other formats call things, and JSON that no record can hold."""

import json

import pytest

from early_experience import chats
from early_experience.experience import chat_record
from early_experience.runtime import json_text
from early_experience.runtime.errors import UserError
from tests.chat_case import CALL, WITH_TOOLS, parsed, write

ASKED = {'role': 'user', 'content': 'Go.'}
GO = {'name': 'go', 'arguments': {'to': 'shelf 1'}}


def answered(**message):
  return {
    'messages': [ASKED, {'role': 'assistant', 'content': 'I go.'}, ASKED]
    + [{'role': 'assistant', **message}]
  }


def called(arguments):
  call = {'function': {'name': 'go', 'arguments': arguments}}
  (made,) = parsed(answered(tool_calls=[call])).messages[-1]['tool_calls']
  return made['function']['arguments']


@pytest.mark.parametrize('text', [json.dumps(GO), json.dumps([GO])])
def test_calls_and_what_they_bring_may_have_roles_of_their_own(text):
  """As LLaMA-Factory has them, whose tools are schemas without an envelope."""
  told = [
    ('system', WITH_TOOLS['messages'][0]['content']),
    ('human', 'Go.'),
    ('function_call', text),
    ('observation', '{"seen": "cup"}'),
    ('gpt', 'I see a cup.'),
  ]
  value = {
    'conversations': [{'from': role, 'value': said} for role, said in told],
    'tools': json.dumps([WITH_TOOLS['tools'][0]['function']]),
  }
  found, expected = parsed(value), parsed(WITH_TOOLS)
  for message in expected.messages:
    message.pop('tool_call_id', None)
    for call in message.get('tool_calls', ()):
      del call['id']
  assert found == expected


def test_functions_are_tools_as_openai_had_them():
  value = {
    'messages': [
      ASKED,
      {'role': 'assistant', 'content': None, 'function_call': CALL['function']},
      {'role': 'function', 'name': 'go', 'content': '{"seen": "cup"}'},
      {'role': 'assistant', 'content': 'I see a cup.'},
    ],
    'functions': [WITH_TOOLS['tools'][0]['function']],
  }
  found = parsed(value)
  assert found.messages[1]['tool_calls'] == [
    {'type': 'function', 'function': GO}
  ]
  assert found.messages[2]['role'] == 'tool' and found.scored == (1, 3)
  assert list(found.tools) == WITH_TOOLS['tools']


def test_developers_speak_as_the_system_does():
  said = [{'role': 'developer', 'content': 'Be brief.'}, ASKED]
  said.append({'role': 'assistant', 'content': 'I go.'})
  assert parsed({'messages': said}).messages[0]['role'] == 'system'


def test_nulls_that_arrow_fills_in_are_left_out_and_those_of_texts_kept():
  filled = {'to': 'shelf 1', 'by': None, 'deep': [{'a': None, 'b': 1}, None]}
  assert called(filled) == {'to': 'shelf 1', 'deep': [{'b': 1}, None]}
  assert called(json.dumps(filled)) == filled
  tool = WITH_TOOLS['tools'][0] | {'strict': None}
  value = WITH_TOOLS | {'tools': [tool]}
  assert list(parsed(value).tools) == WITH_TOOLS['tools']


def nested(levels):
  return json.loads('{"a": ' * levels + '1' + '}' * levels)


@pytest.mark.parametrize(
  ('value', 'reason'),
  [
    (answered(tool_calls=[{'function': GO | {'name': 5}}]),
     r'messages\[3\].tool_calls\[0\].function.name is int, not text'),
    (answered(tool_calls=[{'function': GO | {'name': ''}}]),
     r'function.name is empty'),
    (answered(tool_calls=[{'function': GO, 'id': 5}]), r'\[0\].id is int'),
    (answered(tool_calls=[{'function': GO | {'arguments': nested(101)}}]),
     r'arguments has more than 100 levels'),
    (answered(tool_calls=[{'function': GO | {'arguments': '{"a": NaN}'}}]),
     r'arguments: Out of range float values are not JSON'),
    (answered(tool_calls=[{'function': GO | {'arguments': '["\\ud800"]'}}]),
     r'arguments is not JSON: a text holds half a character'),
    (answered(tool_calls=[{'function': GO | {'arguments': '{"a":1,"a":2}'}}]),
     r"arguments is not JSON: the key 'a' is there twice"),
    (answered(content='Go.') | {'tools': ['go']}, r'tools\[0\] has no name'),
    (answered(content='Go.') | {'tools': [{'type': 'function'}]},
     r'tools\[0\] has no name'),
    (answered(content='Go.', reasoning_content='Hm.'),
     r'messages\[3\].reasoning_content would not be learnt'),
    (answered(role='function_call', content='go'),
     r'messages\[3\].content is not JSON'),
  ],
)  # fmt: skip
def test_what_no_template_can_write_is_refused_at_its_line(value, reason):
  with pytest.raises(UserError, match=f'F line 1: .*{reason}'):
    parsed(value)


def test_thoughts_of_what_is_not_learnt_do_not_matter():
  value = answered(content='I go.', reasoning_content='Hm.', weight=0)
  assert parsed(value).scored == (1,)


@pytest.mark.parametrize(
  ('text', 'reason'),
  [
    ('{"a": "\\ud800"}', 'a text holds half a character'),
    ('{"\\udfff": 1}', 'a text holds half a character'),
    ('{"a": ' * 100_000, 'JSON of too many levels'),
    ('[' * 100_000 + ']' * 100_000, 'JSON of too many levels'),
    ('9' * 5000, 'an integer of more than 4300 digits'),
    ('{"a": {"b": 1, "c": 2, "b": 3}}', "the key 'b' is there twice"),
    (b'{"a": "\xff"}', 'codec'),
    ('{', 'Expecting'),
  ],
)
def test_json_that_cannot_be_held_is_one_kind_of_error(tmp_path, text, reason):
  with pytest.raises(ValueError, match=reason):
    json_text.parse(text)
  data = text if isinstance(text, bytes) else text.encode()
  good = json.dumps(answered(content='I go.')).encode()
  source = tmp_path / 'expert.jsonl'
  source.write_bytes(good + b'\n{"messages": ' + data + b'}\n')
  with pytest.raises(UserError, match='expert.jsonl line 2: ') as error:
    chats.import_chats(str(tmp_path / 'run'), str(tmp_path))
  assert '\n' not in str(error.value)
  assert not (tmp_path / 'run').exists()


def test_whole_pairs_of_surrogates_are_a_character():
  assert json_text.parse('"\\ud83d\\ude42"') == '🙂'


def test_files_of_others_may_say_a_key_twice():
  assert json_text.parse('{"a": 1, "a": 2}', once=False) == {'a': 2}


def test_an_answer_that_nothing_precedes_is_context_and_told(tmp_path):
  hello = {'role': 'assistant', 'content': 'Hello.', 'weight': 1}
  values = [answered(content='I go.')]
  values += [{'messages': [hello, *values[0]['messages']]}]
  write(tmp_path / 'expert.jsonl', *values)
  said = chats.import_chats(str(tmp_path / 'run'), str(tmp_path))
  place = f'{tmp_path / "expert.jsonl"} line 2'
  assert '1 begin with an answer, which is context' in said and place in said
  found = [chat.scored for _, chat in chat_record.read(tmp_path / 'run/import')]
  assert sorted(found) == [(1, 3), (2, 4)]
  with pytest.raises(UserError, match='F line 1: nothing precedes the only'):
    parsed({'messages': [hello]})


def test_empty_answers_are_learnt_and_told(tmp_path):
  write(tmp_path / 'expert.jsonl', answered(content=''))
  said = chats.import_chats(str(tmp_path / 'run'), str(tmp_path))
  assert '1 of 2 learnt answers are empty' in said


@pytest.mark.parametrize(
  ('value', 'reason'),
  [
    ('{"a": "\\ud800"}', 'record 2: a text holds half a character'),
    ('[' * 100_000 + ']' * 100_000, 'record 2: JSON of too many levels'),
    ('9' * 5000, 'record 2: an integer of more than 4300 digits'),
    ('{"b": 1, "b": 3}', "record 2: the key 'b' is there twice"),
    ('{"a": 1', 'line 3: not JSON: Expecting'),
  ],
)
def test_of_an_array_the_record_is_named(tmp_path, value, reason):
  path = tmp_path / 'expert.json'
  good = json.dumps(answered(content='I, too, go.'))
  path.write_text(f'[\n{good}, {value},\n{good}\n]')
  with pytest.raises(UserError, match=f'expert.json {reason}'):
    chats.import_chats(str(tmp_path / 'run'), str(tmp_path))
