"""Chat files of others are read as they are, or refused with a place."""

import json

import pytest

from configs import tiny
from early_experience import chats
from early_experience.experience import chat_record
from early_experience.experience.chat_export import Variant
from early_experience.experience.render import Turn
from early_experience.prepare import prepare
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import sentencepiece_tokenizer
from tests.chat_case import EPISODE, SYSTEM, WITH_TOOLS, parsed, write


def test_all_answers_are_learnt_or_the_last_or_those_the_record_names():
  value = {'messages': EPISODE}
  assert parsed(value).scored == (2, 4)
  assert parsed(value, 'last').scored == (4,)
  named = [*EPISODE[:2], {**EPISODE[2], 'weight': 0}, *EPISODE[3:]]
  assert parsed({'messages': named}).scored == (4,)
  named = [*EPISODE[:2], {**EPISODE[2], 'loss': True}, *EPISODE[3:]]
  assert parsed({'messages': named}, 'last').scored == (2, 4)


def test_other_formats_are_the_same_chats():
  names = {'user': 'human', 'assistant': 'gpt', 'system': 'system'}
  told = [{'from': names[m['role']], 'value': m['content']} for m in EPISODE]
  assert parsed({'conversations': told}) == parsed({'messages': EPISODE})
  by_instruction = {
    'system': SYSTEM['content'],
    'history': [[EPISODE[1]['content'], EPISODE[2]['content']]],
    'instruction': 'It is',
    'input': 'empty.',
    'output': EPISODE[4]['content'],
  }
  found = parsed(by_instruction, 'last').messages
  assert found[3]['content'] == 'It is\nempty.'
  assert [*found[:3], found[4]] == [*EPISODE[:3], EPISODE[4]]


def test_a_text_alone_is_learnt_from_end_to_end():
  chat = parsed({'text': 'Water boils.'})
  assert chat.is_text and chat.scored == (0,)
  assert chat.script() == (Turn('observation', 'Water boils.', 'imitation'),)
  # Alpaca's own file has the whole prompt beside its parts.
  asked = {'instruction': 'Is it?', 'output': 'It is.'}
  assert parsed({**asked, 'text': 'Is it? It is.'}) == parsed(asked)


def test_a_system_text_may_stand_beside_the_messages():
  beside = {'system': SYSTEM['content'], 'messages': EPISODE[1:]}
  assert parsed(beside) == parsed({'messages': EPISODE})


def test_a_content_may_be_a_list_of_texts():
  parts = [{'type': 'text', 'text': text} for text in ('open', ' it')]
  said = [EPISODE[1], {'role': 'assistant', 'content': parts}]
  assert parsed({'messages': said}).messages[1]['content'] == 'open it'


def test_an_answer_is_learnt_once_where_each_decision_is_a_record(tmp_path):
  """As the authors' files of BFCL and tau-bench are."""
  tools, first = WITH_TOOLS['tools'], WITH_TOOLS['messages'][:3]
  decisions = [first, WITH_TOOLS['messages']]
  other = [*EPISODE[:3], *EPISODE[1:3]]  # an episode, whose answers are equal
  source = tmp_path / 'expert.jsonl'
  values = [{'messages': said, 'tools': tools} for said in decisions]
  # Without tools it is another chat.
  values += [{'messages': decisions[1]}, {'messages': other}]
  write(source, *values)

  def learnt(run, **how):
    run = str(tmp_path / run)
    chats.import_chats(run, str(tmp_path), **how)
    found = chat_record.read(f'{run}/import')
    return sorted((len(chat.messages), chat.scored) for _, chat in found)

  whole = (5, (2, 4))
  assert learnt('a') == [(3, (2,)), whole, whole, (5, (4,))]
  every = [(3, (2,)), whole, whole, whole]
  assert learnt('b', turns='all') == every
  values[1]['messages'] = [*decisions[1][:2], decisions[1][2] | {'weight': 1}]
  values[1]['messages'] += decisions[1][3:]
  write(source, *values)
  assert learnt('c') == every, 'as the record says'
  unlearnt = [*decisions[1][:4], decisions[1][4] | {'weight': 0}]
  write(source, {'messages': unlearnt})
  assert learnt('d') == [(5, (2,))]
  write(source, {'messages': unlearnt}, {'messages': first})
  assert learnt('e') == [(3, (2,)), (5, (2,))]


def test_calls_need_no_content_and_objects_as_arguments():
  _, asked, call, *_ = WITH_TOOLS['messages']
  bare = {key: call[key] for key in ('role', 'tool_calls')}
  assert parsed({'messages': [asked, bare]}) == parsed(
    {'messages': [asked, call]}
  )
  function = {'name': 'go', 'arguments': '["shelf 1"]'}
  bare['tool_calls'] = [{'function': function}]
  with pytest.raises(UserError, match=r'tool_calls\[0\].arguments is not an o'):
    parsed({'messages': [asked, bare]})


@pytest.mark.parametrize('text', ['', '\r\n', '\ufeff', '[]'])
def test_a_file_without_records_is_refused(tmp_path, text):
  (tmp_path / 'iwm.jsonl').write_text(text)
  with pytest.raises(UserError, match='iwm.jsonl is empty'):
    chats.import_chats(str(tmp_path / 'run'), str(tmp_path))
  assert not (tmp_path / 'run').exists()


def test_an_empty_answer_is_learnt_too():
  value = {'instruction': 'x', 'output': ''}
  assert parsed(value).messages[-1] == {'role': 'assistant', 'content': ''}


def test_a_file_may_be_an_array_and_have_any_of_the_names(tmp_path):
  value = {'instruction': 'Go.', 'input': '', 'output': 'go'}
  (tmp_path / 'expert_sft.json').write_text(
    json.dumps([value, value], indent=2)
  )
  write(tmp_path / 'other.jsonl', {'messages': EPISODE})
  said = chats.import_chats(
    str(tmp_path), str(tmp_path), iwm=str(tmp_path / 'other.jsonl')
  )
  assert said.startswith('import: 2 imitation, 1 world_model chats')
  found = [chat for _, chat in chat_record.read(tmp_path / 'import')]
  assert sorted(len(chat.scored) for chat in found) == [1, 1, 1]
  # Again: nothing to do. With other files: refused.
  assert chats.import_chats(
    str(tmp_path), str(tmp_path), iwm=str(tmp_path / 'other.jsonl')
  )
  with pytest.raises(UserError, match='begun with other settings'):
    chats.import_chats(str(tmp_path), str(tmp_path))


def test_marks_of_byte_order_and_ends_of_lines_do_not_matter(tmp_path):
  line = json.dumps({'messages': EPISODE}).encode()
  for i, text in enumerate(
    (
      b'\xef\xbb\xbf' + line,
      line + b'\r\n\r\n' + line + b'\r\n',
      b'\xef\xbb\xbf\r\n[' + line + b',\r\n' + line + b']\r\n',
    )
  ):
    path = tmp_path / f'{i}.jsonl'
    path.write_bytes(text)
    values = [value for _, value in chats.read_file(path)]
    assert values == [{'messages': EPISODE}] * (1 if i == 0 else 2)


def message(**changes):
  return json.dumps({'messages': [{'role': 'user', 'content': 'x'} | changes]})


@pytest.mark.parametrize(
  ('text', 'reason'),
  [
    ('<!DOCTYPE html><html>', "line 2: not JSON.*it begins '<!DOCTYPE html>"),
    (b'{"messages": "\xff"}', 'line 2: not UTF-8'),
    ('{"messages": [', 'line 2: not JSON'),
    ('[1, 2]', 'line 2: list, not an object'),
    ('{"prompt": "x"}', 'line 2: neither messages nor'),
    ('{"messages": "x"}', 'line 2: messages is str, not a list'),
    (message(role='narrator'), r"line 2: messages\[0\].role is 'narrator'"),
    (message(content=[{'type': 'image_url'}]), r'content\[0\] is no part'),
    ('{"messages": ' + '[' * 9999, 'line 2: JSON of too many levels'),
    (message(content=3), r'line 2: messages\[0\].content is int, not text'),
    (message(), 'line 2: no answer to learn'),
    ('{"messages": [{"role": "user"}]}', r'messages\[0\].content is missing'),
    (message(role='assistant', weight=2), 'weight is 2, not 0 or 1'),
    (message(role='assistant', content='\ud800'), 'half a character'),
    ('{"instruction": "x"}', 'line 2: neither'),
    ('{"text": ""}', 'line 2: text is empty'),
    ('{"text": ["x"]}', 'line 2: text is list, not text'),
    ('{"instruction": "x", "output": null}', 'line 2: output is .*not text'),
  ],
)
def test_bad_records_are_named_and_leave_nothing(tmp_path, text, reason):
  good = json.dumps({'messages': EPISODE}).encode()
  text = text if isinstance(text, bytes) else text.encode()
  (tmp_path / 'expert_sft.jsonl').write_bytes(good + b'\n' + text + b'\n')
  with pytest.raises(
    UserError,
    match=rf'expert_sft.jsonl {reason}'
    if (reason.startswith('line'))
    else reason,
  ) as raised:
    chats.import_chats(str(tmp_path / 'run'), str(tmp_path))
  assert '\n' not in str(raised.value)
  assert not (tmp_path / 'run').exists()


def test_what_is_missing_or_ambiguous_is_said(tmp_path):
  config = tiny.get_config()
  config.prepare.source = 'import'
  with pytest.raises(UserError, match='--source=nowhere: no such folder'):
    chats.import_chats(str(tmp_path / 'run'), 'nowhere')
  with pytest.raises(UserError, match=r'none of expert\*.jsonl'):
    chats.import_chats(str(tmp_path / 'run'), str(tmp_path))
  for name in ('iwm_sft_text.jsonl', 'iwm_sft_fc.jsonl'):
    write(tmp_path / name, {'messages': EPISODE})
  with pytest.raises(UserError, match='several: .*name one with --iwm'):
    chats.import_chats(str(tmp_path / 'run'), str(tmp_path))
  with pytest.raises(UserError, match='chats import --source=FOLDER'):
    prepare(config, str(tmp_path / 'run'))
  with pytest.raises(UserError, match='collect does not exist'):
    chats.export_chats(str(tmp_path), str(tmp_path / 'out'), Variant())
  assert not (tmp_path / 'out').exists()


def test_an_imported_prompt_is_the_one_that_is_asked(tmp_path):
  texts = ['Open the box.', 'It is open.']
  coder = sentencepiece_tokenizer.SentencePieceTokenizer(
    sentencepiece_tokenizer.train(texts * 9, 300)
  )
  said = [
    {'role': 'system', 'content': 'Be brief.'},
    {'role': 'user', 'content': texts[0]},
    {'role': 'assistant', 'content': 'open box'},
    {'role': 'user', 'content': texts[1]},
  ]
  answer = {'role': 'assistant', 'content': 'stop'}
  chat = chat_record.Chat((*said, answer), 'imitation', (4,))
  (sequence,) = coder.encode_record(chat)
  prompt = coder.encode_chat(said)
  assert sequence.ids_T[: len(prompt)].tolist() == prompt
