"""Tiny tokenizers with the structure of the families that are supported.

Vocabularies are trained on a few sentences; the chat templates are our own, and
do what makes each family's template peculiar: see `tiny_templates.py`.
"""

import json
import pathlib

from tokenizers import (
  AddedToken,
  Regex,
  Tokenizer,
  decoders,
  models,
  normalizers,
  pre_tokenizers,
  processors,
  trainers,
)

from tests.tiny_templates import TEMPLATES

FAMILIES = tuple(TEMPLATES)

TEXTS = [
  'You are in the middle of a room. You see a cabinet 1 and a drawer 2.',
  'Your task is to: put a clean cup on the shelf.',
  'go to cabinet 1\nopen drawer 2\ntake cup 1 from shelf 1\n',
  'The cup is not in the cabinet, so I look in the drawer.\n\n',
  'Thought:\nI need the cup.\n\nAction:\ntake cup 1 from shelf 1',
  '<think>I need the cup.</think>\n<action>go to shelf 1</action>',
  'user assistant system model ipython [INST] [/INST] <<SYS>> é漢字🙂',
] * 4

_SPLIT = (
  r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
  r'| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+'
)

_LLAMA3 = [
  '<|begin_of_text|>',
  '<|end_of_text|>',
  '<|start_header_id|>',
  '<|end_header_id|>',
  '<|eom_id|>',
  '<|eot_id|>',
  '<|python_tag|>',
]
_QWEN = ['<|endoftext|>', '<|im_start|>', '<|im_end|>']
_TOOL = ['<tool_call>', '</tool_call>']
_THINK = ['<tool_response>', '</tool_response>', '<think>', '</think>']

# What tokenizer_config.json and generation_config.json say.
_CONFIGS = {
  'llama3': (
    {'bos_token': '<|begin_of_text|>', 'eos_token': '<|eot_id|>'},
    ['<|end_of_text|>', '<|eom_id|>', '<|eot_id|>'],
  ),
  'qwen2': (
    {'bos_token': None, 'eos_token': '<|im_end|>', 'pad_token': _QWEN[0]},
    ['<|im_end|>', '<|endoftext|>'],
  ),
  'qwen3': (
    {'bos_token': None, 'eos_token': '<|im_end|>', 'pad_token': _QWEN[0]},
    ['<|im_end|>', '<|endoftext|>'],
  ),
  'gemma3': (
    {
      'bos_token': '<bos>',
      'eos_token': {'content': '<eos>', '__type': 'AddedToken'},
      'pad_token': '<pad>',
      'unk_token': '<unk>',
    },
    ['<eos>', '<end_of_turn>'],
  ),
  'llama2': (
    {'bos_token': '<s>', 'eos_token': '</s>', 'unk_token': '<unk>'},
    '</s>',  # one id, not a list
  ),
}


def write(folder, family: str, vocab_size: int = 420) -> pathlib.Path:
  """Writes the tokenizer files of a checkpoint; returns the folder.

  Args:
    folder: created.
    family: one of `FAMILIES`.
    vocab_size: about, special tokens aside.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  made = _MAKERS[family](vocab_size)
  made.save(str(folder / 'tokenizer.json'))
  special, stops = _CONFIGS[family]
  about = {'tokenizer_class': 'PreTrainedTokenizerFast', **special}
  about['clean_up_tokenization_spaces'] = False
  if family == 'llama2':  # as older checkpoints have it
    about['chat_template'] = TEMPLATES[family]
  else:
    (folder / 'chat_template.jinja').write_text(TEMPLATES[family])
  _write_json(folder / 'tokenizer_config.json', about)
  ids = (
    made.token_to_id(stops)
    if isinstance(stops, str)
    else [made.token_to_id(stop) for stop in stops]
  )
  _write_json(folder / 'generation_config.json', {'eos_token_id': ids})
  return folder


def _write_json(path, value):
  path.write_text(json.dumps(value, indent=1))


def _byte_level(vocab_size, special, plain=(), normalizer=None, bos=None):
  """GPT-like: a split by a pattern, then byte pairs; specials come last."""
  made = Tokenizer(models.BPE())
  if normalizer:
    made.normalizer = normalizer
  made.pre_tokenizer = pre_tokenizers.Sequence(
    [
      pre_tokenizers.Split(pattern=Regex(_SPLIT), behavior='isolated'),
      pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
  )
  made.decoder = decoders.ByteLevel()
  trainer = trainers.BpeTrainer(
    vocab_size=vocab_size,
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    show_progress=False,
  )
  made.train_from_iterator(TEXTS, trainer)
  made.add_special_tokens(
    [AddedToken(t, special=True, normalized=False) for t in special]
  )
  made.add_tokens(
    [AddedToken(t, special=False, normalized=False) for t in plain]
  )
  parts = [processors.ByteLevel(trim_offsets=True)]
  if bos:
    parts.append(
      processors.TemplateProcessing(
        single=f'{bos} $A',
        pair=f'{bos} $A {bos} $B',
        special_tokens=[(bos, made.token_to_id(bos))],
      )
    )
  made.post_processor = processors.Sequence(parts)
  return made


def _sentencepiece_like(vocab_size, special, plain, prepend):
  """Spaces as U+2581, byte fallback; specials come first in the model."""
  learner = Tokenizer(models.BPE())
  learner.normalizer = normalizers.Replace(' ', '▁')
  learner.pre_tokenizer = pre_tokenizers.Split('▁', 'merged_with_next')
  learner.train_from_iterator(
    TEXTS, trainers.BpeTrainer(vocab_size=vocab_size - 256, show_progress=False)
  )
  learned = json.loads(learner.to_str())['model']
  pieces = [*special, *(f'<0x{i:02X}>' for i in range(256))]
  pieces += [*plain]
  pieces += [p for p in learned['vocab'] if p not in pieces]
  made = Tokenizer(
    models.BPE(
      vocab={piece: i for i, piece in enumerate(pieces)},
      merges=[tuple(m) for m in learned['merges']],
      byte_fallback=True,
      fuse_unk=True,
      unk_token='<unk>',
    )
  )
  steps = [normalizers.Prepend('▁')] if prepend else []
  steps.append(normalizers.Replace(' ', '▁'))
  made.normalizer = normalizers.Sequence(steps)
  steps = [decoders.Replace('▁', ' '), decoders.ByteFallback(), decoders.Fuse()]
  if prepend:
    steps.append(decoders.Strip(' ', 1, 0))
  made.decoder = decoders.Sequence(steps)
  made.add_special_tokens(
    [AddedToken(t, special=True, normalized=False) for t in special]
  )
  made.add_tokens(
    [AddedToken(t, special=False, normalized=False) for t in plain]
  )
  bos = '<s>' if prepend else '<bos>'
  made.post_processor = processors.TemplateProcessing(
    single=f'{bos} $A',
    pair=f'{bos} $A {bos} $B',
    special_tokens=[(bos, made.token_to_id(bos))],
  )
  return made


_MAKERS = {
  'llama3': lambda size: _byte_level(size, _LLAMA3, bos=_LLAMA3[0]),
  'qwen2': lambda size: _byte_level(size, _QWEN, _TOOL, normalizers.NFC()),
  'qwen3': lambda size: _byte_level(
    size, _QWEN, _TOOL + _THINK, normalizers.NFC()
  ),
  'gemma3': lambda size: _sentencepiece_like(
    size,
    ['<pad>', '<eos>', '<bos>', '<unk>', '<start_of_turn>', '<end_of_turn>'],
    ['\n\n'],
    prepend=False,
  ),
  'llama2': lambda size: _sentencepiece_like(
    size, ['<unk>', '<s>', '</s>'], [], prepend=True
  ),
}
