"""The tokenizer of a GGUF file as the files of a Hugging Face folder.

Two kinds of vocabulary are in use: byte-level BPE with merges, whose way of
cutting text into words is known by a name, and sentencepiece's BPE, whose
merges follow from the scores of its pieces.
"""

import collections
import pathlib

from early_experience.runtime import files
from early_experience.runtime.errors import UserError
from early_experience.tokenizers.interface import JSON
from early_experience.tokenizers.tokenizer_files import CONFIG, TEMPLATE

_P = 'tokenizer.ggml.'
_NORMAL, _UNKNOWN, _CONTROL, _USER, _UNUSED, _BYTE = range(1, 7)
_SPECIAL = {
  'bos_token': 'bos_token_id',
  'eos_token': 'eos_token_id',
  'pad_token': 'padding_token_id',
  'unk_token': 'unknown_token_id',
}
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = r'[^\r\n\p{L}\p{N}]?\p{L}+'
_REST = r' ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+'


def _cut(numbers):
  pattern = '|'.join([_CONTRACTIONS, _WORDS, numbers, _REST])
  return {
    'type': 'Split',
    'pattern': {'Regex': pattern},
    'behavior': 'Isolated',
    'invert': False,
  }


# How text is cut into words before it is merged, by llama.cpp's names; None:
# as GPT-2 does.
_CUTS = {
  'gpt-2': None,
  'smollm': {'type': 'Digits', 'individual_digits': True},
  'llama-bpe': _cut(r'\p{N}{1,3}'),
  'qwen2': _cut(r'\p{N}'),
}


def write(fields: dict, folder: pathlib.Path, where: str) -> None:
  """Writes tokenizer.json, tokenizer_config.json and the chat template.

  Args:
    fields: of the GGUF file.
    folder: that is there.
    where: the file, for errors.

  Raises:
    UserError: it has no tokenizer, or one of a kind that is not known.
  """
  try:
    made = _made(fields, where)
  except KeyError as error:
    raise UserError(f'{where} lacks the key {error.args[0]}') from None
  for name, content in made.items():
    if isinstance(content, str):
      files.write_atomic(folder / name, content)
    else:
      files.write_json(folder / name, content)


def _made(fields, where):
  """The content of each file, by its name."""
  kind = fields.get(f'{_P}model')
  if kind == 'gpt2':
    tokenizer = _byte_level(fields, where)
  elif kind == 'llama':
    tokenizer = _sentencepiece(fields)
  else:
    raise UserError(
      f'{where}: tokenizer {kind!r} is not supported; there are: gpt2, llama'
    )
  tokens = fields[f'{_P}tokens']
  named = {
    name: tokens[fields[_P + key]]
    for name, key in _SPECIAL.items()
    if _P + key in fields
  }
  named['tokenizer_class'] = 'PreTrainedTokenizerFast'
  named['clean_up_tokenization_spaces'] = False
  made = {JSON: tokenizer, CONFIG: named}
  if template := fields.get('tokenizer.chat_template'):
    made[TEMPLATE] = template
  return made


def _byte_level(fields, where):
  name = fields.get(f'{_P}pre')
  if name is None:
    raise UserError(
      f'{where} lacks tokenizer.ggml.pre, so that nobody knows how text is'
      ' cut: convert it anew by a newer llama.cpp'
    )
  if name not in _CUTS:
    raise UserError(
      f'{where}: tokenizer.ggml.pre = {name!r} is not supported; there are:'
      f' {", ".join(_CUTS)}'
    )
  cut = _CUTS[name]
  by_regex = cut is None or cut['type'] == 'Digits'
  level = {
    'type': 'ByteLevel',
    'add_prefix_space': False,
    'trim_offsets': True,
    'use_regex': by_regex,
  }
  steps = [level] if cut is None else [cut, level]
  return _json(
    fields,
    model={
      'type': 'BPE',
      'vocab': _vocab(fields),
      'merges': [merge.split(' ') for merge in fields[f'{_P}merges']],
      'ignore_merges': name == 'llama-bpe',
    },
    normalizer={'type': 'NFC'} if name == 'qwen2' else None,
    pre_tokenizer={'type': 'Sequence', 'pretokenizers': steps},
    decoder=level | {'use_regex': True},
  )


def _sentencepiece(fields):
  tokens, vocab = fields[f'{_P}tokens'], _vocab(fields)
  prefix = fields.get(f'{_P}add_space_prefix', True)
  unknown = tokens[fields.get(f'{_P}unknown_token_id', 0)]
  space = {
    'type': 'Replace',
    'pattern': {'String': ' '},
    'content': '\u2581',
  }
  spaces = [{'type': 'Prepend', 'prepend': '\u2581'}, space]
  decoders = [
    {'type': 'Replace', 'pattern': {'String': '\u2581'}, 'content': ' '},
    {'type': 'ByteFallback'},
    {'type': 'Fuse'},
  ]
  if prefix:
    decoders += [{'type': 'Strip', 'content': ' ', 'start': 1, 'stop': 0}]
  return _json(
    fields,
    model={
      'type': 'BPE',
      'vocab': vocab,
      'merges': _merges(fields, vocab),
      'unk_token': unknown,
      'fuse_unk': True,
      'byte_fallback': True,
    },
    normalizer={'type': 'Sequence', 'normalizers': spaces} if prefix else space,
    pre_tokenizer=None,
    decoder={'type': 'Sequence', 'decoders': decoders},
  )


def _vocab(fields):
  return {token: i for i, token in enumerate(fields[f'{_P}tokens'])}


def _merges(fields, vocab):
  """Pairs in the order in which sentencepiece joins them: by score."""
  tokens, scores = fields[f'{_P}tokens'], fields[f'{_P}scores']
  types = fields[f'{_P}token_type']
  found = collections.defaultdict(list)
  for i, token in enumerate(tokens):
    if types[i] not in (_NORMAL, _USER):
      continue
    pairs = [
      (token[:cut], token[cut:])
      for cut in range(1, len(token))
      if token[:cut] in vocab and token[cut:] in vocab
    ]
    # Of one piece, the parts that came first.
    found[-scores[i], i] = sorted(
      pairs, key=lambda pair: (vocab[pair[0]], vocab[pair[1]])
    )
  return [list(pair) for key in sorted(found) for pair in found[key]]


def _json(fields, *, model, normalizer, pre_tokenizer, decoder):
  tokens, types = fields[f'{_P}tokens'], fields[f'{_P}token_type']
  added = [
    {
      'id': i,
      'content': token,
      'single_word': False,
      'lstrip': False,
      'rstrip': False,
      'normalized': False,
      'special': types[i] == _CONTROL,
    }
    for i, token in enumerate(tokens)
    if types[i] in (_CONTROL, _USER) or (types[i] == _UNKNOWN and '<' in token)
  ]
  return {
    'version': '1.0',
    'truncation': None,
    'padding': None,
    'added_tokens': added,
    'normalizer': normalizer,
    'pre_tokenizer': pre_tokenizer,
    'post_processor': _opening(fields),
    'decoder': decoder,
    'model': {
      'dropout': None,
      'unk_token': None,
      'continuing_subword_prefix': None,
      'end_of_word_suffix': None,
      'fuse_unk': False,
      'byte_fallback': False,
      **model,
    },
  }


def _opening(fields):
  """The token that opens a text, where there is one."""
  if not fields.get(f'{_P}add_bos_token', fields[f'{_P}model'] == 'llama'):
    return None
  i = fields[f'{_P}bos_token_id']
  token = fields[f'{_P}tokens'][i]
  opens = {'SpecialToken': {'id': token, 'type_id': 0}}
  first = {'Sequence': {'id': 'A', 'type_id': 0}}
  second = {'Sequence': {'id': 'B', 'type_id': 1}}
  return {
    'type': 'TemplateProcessing',
    'single': [opens, first],
    'pair': [opens, first, second],
    'special_tokens': {token: {'id': token, 'ids': [i], 'tokens': [token]}},
  }
