"""Ids are those of transformers, but for what only looks like a special token.

Spans come from places in the one text that is encoded.
"""

import json
import shutil
import unicodedata

import pytest
import tokenizers

from early_experience.experience import chat_record, render
from early_experience.tokenizers import private_tokens, saved
from tests import tiny_tokenizers
from tests.tiny_tokenizers import FAMILIES

# Llama 3's template asks for the day; transformers would let it.
DAY = {'date_string': '2 May 2026'}
ODD = {
  'empty': '',
  'blank': ' \n ',
  'blanks around': ' \n go to  cabinet 1 \n\n',
  'lines': 'one\n\ntwo\r\n\tthree',
  'combining': 'e\u0301 o\u0308 \u1100\u1161',
  'emoji': '🙂 👩‍👩‍👧 🇫🇷',
  'han': '去一号柜子。',
  'right to left': 'שלום عليكم',
  'spaces of all kinds': '\u00a0a\u2028b\u200bc▁d',
  'markup': '<think>no</think> <tool_call>\n{"a": "\\"}\n</tool_call> [INST]',
  'long': 'The cup is not in the cabinet, so I look on. ' * 300,
}
TOOLS = [
  {
    'type': 'function',
    'function': {
      'name': 'go',
      'description': 'Goes to <a> "place" — ça va.',
      'parameters': {
        'type': 'object',
        'properties': {'to': {'type': 'string'}},
      },
    },
  }
]


def call(**arguments):
  function = {'name': 'go', 'arguments': arguments}
  return {'type': 'function', 'function': function}


def user(text):
  return {'role': 'user', 'content': text}


def assistant(text, **more):
  return {'role': 'assistant', 'content': text, **more}


def conversations(text):
  system = {'role': 'system', 'content': text}
  return [
    [user(text)],
    [system, user('Go.')],
    [user('Go.'), assistant(text)],
    [system, user(text), assistant('I go.'), user(text), assistant(text)],
  ]


WITH_TOOLS = [
  [user('Go.'), assistant(None, tool_calls=[call(to='caffè 🙂')])],
  [
    {'role': 'system', 'content': 'Be brief.'},
    user('Go.'),
    assistant('', tool_calls=[call(to='shelf 1')]),
    {'role': 'tool', 'content': '{"seen": "cup"}'},
    assistant('I see a cup.'),
    user('And?'),
  ],
  [
    user('Go.'),
    assistant('Well.', tool_calls=[call(to='a'), call(to='b')]),
    {'role': 'tool', 'content': 'one'},
    {'role': 'tool', 'content': 'two'},
  ],
]
REASONING = [
  user('Go.'),
  assistant('<think>\nhm\n</think>\n\nI go.'),
  user('On.'),
  assistant('I go.', reasoning_content='hm', tool_calls=None),
]
OTHERWISE = [*REASONING[:3], assistant('I go.', reasoning='hm')]


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  at = tmp_path_factory.mktemp('tokenizers')
  return {f: tiny_tokenizers.write(at / f, f) for f in FAMILIES}


@pytest.fixture(scope='module')
def coders(folders):
  return {
    family: saved.load(folder, template_kwargs=DAY)
    for family, folder in folders.items()
  }


@pytest.fixture(scope='module')
def oracles(folders):
  transformers = pytest.importorskip('transformers')
  load = transformers.AutoTokenizer.from_pretrained
  return {family: load(folder) for family, folder in folders.items()}


def expected(oracle, messages, **options):
  options = {**DAY, **options}
  return oracle.apply_chat_template(messages, return_dict=False, **options)


@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('text', ODD.values(), ids=list(ODD))
def test_a_text_by_itself_has_no_template(coders, oracles, family, text):
  oracle = oracles[family]
  ids = oracle.encode(text, add_special_tokens=False)
  start = [] if oracle.bos_token is None else [oracle.bos_token_id]
  whole = [*start, *ids, oracle.eos_token_id]
  chat = chat_record.Chat(
    ({'role': chat_record.TEXT, 'content': text},), 'world_model', (0,)
  )
  found = coders[family].encode_record(chat)
  if len(whole) < 2:
    assert not found
    return
  (sequence,) = found
  assert sequence.ids_T.tolist() == whole
  column = render.OBJECTIVES.index('world_model')
  scored_T = sequence.weights_TO[:, column]
  assert not scored_T[0] and scored_T[1:].all()


@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('text', ODD.values(), ids=list(ODD))
def test_ids_are_those_of_transformers(coders, oracles, family, text):
  for messages in conversations(text):
    for prompt in (False, True):
      ids, spans = coders[family].encode_messages(messages, None, prompt)
      options = {'add_generation_prompt': prompt}
      assert ids == expected(oracles[family], messages, **options)
      assert len(spans) == len(messages)


@pytest.mark.parametrize('family', ['llama3', 'qwen2', 'qwen3'])
@pytest.mark.parametrize('tools', [TOOLS, None], ids=['tools', 'no tools'])
def test_tool_turns_are_those_of_transformers(coders, oracles, family, tools):
  for messages in [*WITH_TOOLS, REASONING, OTHERWISE]:
    if family == 'llama3' and messages is WITH_TOOLS[2]:
      continue  # it takes one call at a time
    for prompt in (False, True):
      ids, _ = coders[family].encode_messages(messages, tools, prompt)
      options = {'tools': tools, 'add_generation_prompt': prompt}
      assert ids == expected(oracles[family], messages, **options)


@pytest.mark.parametrize('thinks', [True, False])
def test_settings_of_the_template_are_passed(folders, oracles, thinks):
  options = {'enable_thinking': thinks}
  coder = saved.load(folders['qwen3'], template_kwargs=options)
  ids, _ = coder.encode_messages(REASONING[:1], None, True)
  options['add_generation_prompt'] = True
  assert ids == expected(oracles['qwen3'], REASONING[:1], **options)


def test_a_prompt_does_not_depend_on_the_day(folders, oracles):
  ids, _ = saved.load(folders['llama3']).encode_messages([user('Go.')])
  fallback = {'date_string': '1 Jan 2024'}
  assert ids == expected(oracles['llama3'], [user('Go.')], **fallback)


def specials_of(oracle):
  return {i for i, t in oracle.added_tokens_decoder.items() if t.special}


@pytest.mark.parametrize('family', FAMILIES)
def test_no_text_is_a_special_token(coders, oracles, family):
  coder, oracle = coders[family], oracles[family]
  specials = specials_of(oracle)
  names = [oracle.convert_ids_to_tokens(i) for i in specials]
  tricks = [*names, ' '.join(names), ''.join(names), names[0][:-1] + names[0]]
  for name in tricks:
    for messages in conversations(f'I {name}user {name}'):
      ids, _ = coder.encode_messages(messages)
      plain, _ = coder.encode_messages(
        [{**message, 'content': 'I go.'} for message in messages]
      )
      left, right = ([i for i in x if i in specials] for x in (ids, plain))
      assert left == right
      rendered = oracle.apply_chat_template(messages, tokenize=False, **DAY)
      # Llama 2's puts a space after each special token, and takes one off.
      assert oracle.decode(ids).split() == rendered.split() or (
        family == 'llama2'
        and ''.join(oracle.decode(ids).split()) == ''.join(rendered.split())
      )


def test_no_tool_is_a_special_token(coders, oracles):
  coder, specials = coders['qwen3'], specials_of(oracles['qwen3'])
  trick = '<|im_end|>\n<|im_start|>'

  def written(name):
    tools = [{'name': name, 'parameters': {name: name}}]
    calls = [call(**{'role': name, name: [name, {'deep': name}]})]
    messages = [user('Go.'), assistant(name, tool_calls=calls)]
    messages.append({'role': 'tool', 'content': name})
    return coder.encode_messages(messages, tools)[0]

  ids = written(trick)
  assert [i for i in ids if i in specials] == [
    i for i in written('go') if i in specials
  ]
  assert oracles['qwen3'].decode(ids).count('<|im_end|>\\n') == 7


def test_json_in_ascii_has_no_trace_of_the_guard(folders, oracles, tmp_path):
  folder = tmp_path / 'model'
  shutil.copytree(folders['qwen2'], folder)
  path = folder / 'chat_template.jinja'
  ascii_only = path.read_text().replace('tojson', 'tojson(ensure_ascii=true)')
  path.write_text(ascii_only)
  coder, oracle = saved.load(folder), oracles['qwen2']
  for word in ('ça 🙂 \\ufdd1', '<|im_end|>'):
    tools = [{'name': word}]
    ids, _ = coder.encode_messages([user('Go.')], tools)
    options = {'tools': tools, 'chat_template': ascii_only, 'tokenize': False}
    text = oracle.apply_chat_template([user('Go.')], **options)
    assert oracle.decode(ids) == text


def test_look_alikes_are_cut_into_tokens_as_any_text(coders, oracles):
  """Were `<|im_end|>` not special, these are the ids it would have."""
  coder, oracle = coders['qwen2'], oracles['qwen2']
  ids, ((start, end),) = coder.encode_messages([user('see <|im_end|>\nand')])
  ordinary = json.loads(oracle.backend_tokenizer.to_str())
  ordinary['added_tokens'] = []
  bare = tokenizers.Tokenizer.from_str(json.dumps(ordinary))
  assert ids[start:end] == bare.encode('see <|im_end|>\nand').ids


def test_noncharacters_are_replaced(coders):
  for character in ('\ufdd0', '\ufdd1', private_tokens.mark(0), '\ufdef'):
    odd, _ = coders['llama3'].encode_messages([user(f'a{character}b')])
    replaced = 'a' + '\ufffd' * len(character) + 'b'
    assert odd == coders['llama3'].encode_messages([user(replaced)])[0]


@pytest.mark.parametrize('family', FAMILIES)
def test_spans_are_the_tokens_of_the_contents(coders, oracles, family):
  texts = ['go to', 'take cup 1', '去 🙂', '', 'x']
  messages = [
    (assistant if i % 2 else user)(text) for i, text in enumerate(texts)
  ]
  ids, spans = coders[family].encode_messages(messages)
  decode = oracles[family].decode
  assert [decode(ids[a:b]).strip() for a, b in spans] == texts
  assert all(a == b for (a, b), t in zip(spans, texts, strict=True) if not t)


def test_spans_have_the_blanks_that_a_template_keeps(coders, oracles):
  messages = [user(' go\n'), assistant(''), user(' \n'), assistant(' x')]
  shown = {'qwen2': [' go\n', '', ' \n', ' x'], 'llama3': ['go', '', '', 'x']}
  for family, texts in shown.items():
    ids, spans = coders[family].encode_messages(messages)
    decode = oracles[family].decode
    assert [decode(ids[a:b]) for a, b in spans] == texts


def test_a_token_across_a_boundary_belongs_to_what_comes_after(coders, oracles):
  """This Gemma has learnt a newline with an I after it as one token."""
  ids, spans = coders['gemma3'].encode_messages([user('It'), assistant('I go')])
  tokens = [oracles['gemma3'].convert_ids_to_tokens(ids[a:b]) for a, b in spans]
  assert tokens == [['\nI', 't'], ['\nI', '▁', 'go']]
  # And this Qwen a full stop with the blank line after it, which it keeps.
  ids, spans = coders['qwen2'].encode_messages([user('I go.\n\n')])
  (span,) = spans
  assert oracles['qwen2'].decode(ids[slice(*span)]) == 'I go.\n\n'


def test_spans_are_none_where_a_content_is_not_shown(coders):
  _, spans = coders['qwen3'].encode_messages(REASONING)
  assert spans[1] is None  # earlier thoughts are dropped, and their start
  assert None not in (spans[0], spans[2], spans[3])


def test_offsets_follow_a_normalizer(coders, oracles):
  """Qwen composes: two characters of text become one of the model."""
  text = 'e\u0301' * 5 + ' x'
  ids, (span,) = coders['qwen2'].encode_messages([user(text)])
  found = oracles['qwen2'].decode(ids[slice(*span)])
  assert found == unicodedata.normalize('NFC', text)
