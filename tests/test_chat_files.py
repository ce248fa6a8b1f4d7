"""What a folder must hold, what is read from it, and what is said if not."""

import json

import pytest

from early_experience.runtime.errors import UserError
from early_experience.tokenizers import interface, saved
from tests import tiny_tokenizers
from tests.tiny_tokenizers import FAMILIES


def user(text):
  return {'role': 'user', 'content': text}


def oracle_of(folder):
  transformers = pytest.importorskip('transformers')
  return transformers.AutoTokenizer.from_pretrained(folder)


def expected(oracle, messages):
  return oracle.apply_chat_template(messages, return_dict=False)


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  at = tmp_path_factory.mktemp('tokenizers')
  return {f: tiny_tokenizers.write(at / f, f) for f in FAMILIES}


def edit(folder, name, change):
  content = json.loads((folder / name).read_text())
  change(content)
  (folder / name).write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path):
  return tiny_tokenizers.write(tmp_path / 'model', 'gemma3')


def fails(folder, *words):
  with pytest.raises(UserError) as error:
    saved.load(folder)
  message = str(error.value)
  assert '\n' not in message
  for word in (str(folder), *words):
    assert word in message


def test_characters_without_an_id_are_unknown(folder):
  edit(
    folder, 'tokenizer.json', lambda t: t['model'].update(byte_fallback=False)
  )
  oracle = oracle_of(folder)
  ids, _ = saved.load(folder).encode_messages([user('去 ✂')])
  assert oracle.unk_token_id in ids
  assert ids == expected(oracle, [user('去 ✂')])


@pytest.mark.parametrize(
  'way', ['by name', 'by its new name', 'by name alone', 'by id']
)
def test_special_is_what_any_of_the_files_calls_so(tmp_path, way):
  folder = tiny_tokenizers.write(tmp_path, 'gemma3')
  named = ['<end_of_turn>', '<start_of_turn>']

  def forget(content):
    for token in list(content['added_tokens']):
      if token['content'] in named and way == 'by name alone':
        content['added_tokens'].remove(token)  # the model's vocabulary has it
      elif token['content'] in named:
        token['special'] = False

  edit(folder, 'tokenizer.json', forget)
  if way == 'by id':
    more = {
      'added_tokens_decoder': {
        4: {'content': named[1], 'special': True},
        5: {'content': named[0], 'special': True},
      }
    }
  else:
    new = 'extra_special_tokens', 'additional_special_tokens'
    more = {'eos_token': named[0], new[way != 'by its new name']: named[1:]}
  edit(folder, 'tokenizer_config.json', lambda c: c.update(more))
  oracle = oracle_of(folder)
  coder = saved.load(folder)
  ids, _ = coder.encode_messages([user('Go.')])
  assert ids == expected(oracle, [user('Go.')])
  marks = set(oracle.convert_tokens_to_ids(named))
  trick, (span,) = coder.encode_messages([user('<end_of_turn><start_of_turn>')])
  assert marks <= set(trick) and not marks & set(trick[slice(*span)])


def test_what_is_missing_or_damaged_is_named(folder, tmp_path):
  whole = (folder / 'tokenizer.json').read_text()
  (folder / 'tokenizer.json').write_text(whole[:1000])
  fails(folder, 'tokenizer.json is not JSON')
  (folder / 'tokenizer.json').write_text('{"model": 3}')
  fails(folder, 'is not a tokenizer.json')
  (folder / 'generation_config.json').write_text('[]')
  (folder / 'tokenizer.json').write_text(whole)
  fails(folder, 'generation_config.json is not a JSON object')
  (folder / 'tokenizer_config.json').write_text('[]')
  fails(folder, 'tokenizer_config.json is not a JSON object')
  (folder / 'tokenizer.json').unlink()
  fails(folder, 'neither tokenizer.json nor tokenizer.model')
  with pytest.raises(UserError, match='cannot read .*nowhere'):
    saved.load(tmp_path / 'nowhere')


def test_templates_that_do_not_serve_are_named(folder):
  path = folder / 'chat_template.jinja'
  whole = path.read_text()
  path.write_text('{{ bos_token }}\n{% for m in %}')
  fails(folder, 'chat_template.jinja', 'line 2')
  path.write_text(whole.replace('<end_of_turn>', ''))
  fails(folder, 'no special token', 'eos_token')
  path.write_text("{{ messages | length }}{{ '<eos>' }}")
  fails(folder, 'does not show the content')
  path.write_text("{{ ''.__class__.__mro__ }}")  # no way out of the sandbox
  fails(folder, 'refuses', 'unsafe')
  path.unlink()
  fails(folder, 'has no chat template')
  for odd in (3, ['x']):
    edit(
      folder,
      'tokenizer_config.json',
      lambda c, x=odd: c.update(chat_template=x),
    )
    fails(folder, 'has no chat template')


@pytest.mark.parametrize('layout', ['files', 'one file'])
def test_a_template_for_tools_stands_beside_that_of_chats(tmp_path, layout):
  folder = tiny_tokenizers.write(tmp_path / 'model', 'qwen2')
  oracle, tools = oracle_of(folder), [{'name': 'go'}]
  chat = oracle.chat_template
  both = {'default': chat.replace('{{- tool | tojson }}', ''), 'tool_use': chat}
  oracle.chat_template = both
  options = {'save_jinja_files': layout == 'files'}
  oracle.save_pretrained(tmp_path / 'saved', **options)
  saved.load(tmp_path / 'saved').save(tmp_path)
  coder = saved.load(tmp_path)
  for given in (None, tools):
    ids, _ = coder.encode_messages([user('Go.')], given)
    options = {'return_dict': False, 'tools': given}
    assert ids == oracle.apply_chat_template([user('Go.')], **options)
  if layout == 'files':
    path = tmp_path / 'tokenizer' / 'additional_chat_templates/tool_use.jinja'
    path.write_text('x' + path.read_text())
    assert saved.load(tmp_path).hash != coder.hash


def test_a_conversation_that_a_template_refuses_is_described(folder):
  with pytest.raises(UserError) as error:
    saved.load(folder).encode_messages([user('a'), user('b')])
  assert 'chat_template.jinja' in str(error.value)
  assert 'user, user' in str(error.value)
  assert 'user and assistant must take turns' in str(error.value)


def test_stop_and_padding_ids_come_from_the_files(folders, folder):
  def names(folder):
    coder, convert = saved.load(folder), oracle_of(folder)
    convert = convert.convert_ids_to_tokens
    return convert(list(coder.stop_ids)), convert(coder.pad_id)

  found = {family: names(folders[family]) for family in FAMILIES}
  assert found == {
    'llama3': (['<|eot_id|>', '<|end_of_text|>', '<|eom_id|>'], '<|eot_id|>'),
    'qwen2': (['<|im_end|>', '<|endoftext|>'], '<|endoftext|>'),
    'qwen3': (['<|im_end|>', '<|endoftext|>'], '<|endoftext|>'),
    'gemma3': (['<end_of_turn>', '<eos>'], '<pad>'),
    'llama2': (['</s>'], '</s>'),
  }
  edit(folder, 'generation_config.json', lambda c: c.update(eos_token_id='x'))
  fails(folder, 'generation_config.json', "eos_token_id is 'x'")


def test_a_token_of_images_needs_no_row(folder, tmp_path):
  """Gemma 3 1B has one more token than rows: <image_soft_token>."""
  edit(folder, 'tokenizer_config.json', lambda c: c.update(image_token='<im>'))
  oracle = oracle_of(folder)
  oracle.save_pretrained(tmp_path / 'more')
  coder = saved.load(tmp_path / 'more')
  highest = oracle.convert_tokens_to_ids('<im>')
  assert (highest, coder.vocab_size) == (len(oracle) - 1, len(oracle) - 1)
  ids, _ = coder.encode_messages([user('see <im>')])
  assert highest not in ids
  path = tmp_path / 'more' / 'chat_template.jinja'
  for written in ('<im>', '{{ image_token }}'):
    path.write_text(written + path.read_text())
    coder = saved.load(tmp_path / 'more')
    assert coder.vocab_size == len(oracle)
    assert coder.encode_messages([user('Go.')])[0][0] == highest


def test_a_vocabulary_larger_than_the_embedding_is_refused(folders):
  coder = saved.load(folders['qwen2'])
  assert coder.vocab_size == len(oracle_of(folders['qwen2']))
  interface.check_vocab(coder, coder.vocab_size + 100, 'config.json')
  with pytest.raises(UserError, match='409 ids.* of config.json has 408 rows'):
    interface.check_vocab(coder, coder.vocab_size - 1, 'config.json')
