"""Files of llama.cpp become the checkpoints that they were made of."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip('torch')
pytest.importorskip('gguf')

import sentencepiece  # noqa: E402
import tokenizers  # noqa: E402
from safetensors.numpy import load_file  # noqa: E402
from sentencepiece import sentencepiece_model_pb2  # noqa: E402

from early_experience import convert  # noqa: E402
from early_experience.hf import architecture  # noqa: E402
from early_experience.runtime.errors import UserError  # noqa: E402
from early_experience.tokenizers import gguf_tokenizer  # noqa: E402
from tests import gguf_case, tiny_tokenizers  # noqa: E402

ODD = [
  "Hello  world, it's 2024!\n\n\n  3 tabs\t\t1",
  'naïve café ☕ 你好 मानक 😀\r\n x',
  "I'D we'VE 12345 \t\n 6",
  '\u2581a \u2581\u2581b   c',
  '<|im_start|>user\n<s>go',
  ' leading, trailing ',
]


@pytest.mark.parametrize('case', gguf_case.CASES)
def test_weights_and_architecture_are_those_of_the_checkpoint(tmp_path, case):
  model = gguf_case.make_model(case)
  model.save_pretrained(tmp_path / 'theirs')
  gguf_case.write(model, tmp_path / 'model.gguf')
  said = convert.from_gguf(str(tmp_path / 'model.gguf'), str(tmp_path / 'ours'))
  assert f'{model.num_parameters():,} parameters' in said
  ours, theirs = tmp_path / 'ours', tmp_path / 'theirs'
  assert architecture.read(ours) == architecture.read(theirs)
  found = load_file(ours / 'model.safetensors')
  want = load_file(theirs / 'model.safetensors')
  assert found.keys() == want.keys()
  for name, array in want.items():  # Gemma's norms lose a bit beside their 1
    np.testing.assert_allclose(found[name], array, rtol=0, atol=2**-22)


def test_quantised_weights_are_those_that_llama_cpp_computes_with(tmp_path):
  model = gguf_case.make_model('llama3')
  name = 'blk.1.attn_output.weight'  # rows of 256: whole blocks of 32
  gguf_case.write(model, tmp_path / 'model.gguf', quantised=[name])
  convert.from_gguf(str(tmp_path / 'model.gguf'), str(tmp_path / 'ours'))
  found = load_file(tmp_path / 'ours' / 'model.safetensors')
  tensor = found['model.layers.1.self_attn.o_proj.weight']
  exact = model.state_dict()['model.layers.1.self_attn.o_proj.weight'].numpy()
  # A block of 32 has a scale, in 16 bits: its largest is 127 of them.
  blocks = exact.reshape(len(exact), -1, 32)
  scale = np.abs(blocks).max(axis=-1, keepdims=True) / 127
  error = np.abs(tensor.reshape(blocks.shape) - blocks)
  assert error.max() > 0
  assert (error <= 0.6 * scale).all()


@pytest.fixture(scope='module')
def pieces():
  """A sentencepiece model as Llama 2 and Gemma have: BPE, bytes, symbols."""
  made = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(tiny_tokenizers.TEXTS),
    model_writer=made,
    model_type='bpe',
    vocab_size=420,
    byte_fallback=True,
    user_defined_symbols=['<tag>'],
    normalization_rule_name='identity',
    remove_extra_whitespaces=False,
    allow_whitespace_only_pieces=True,
    hard_vocab_limit=False,
    minloglevel=2,
  )
  return made.getvalue()


@pytest.mark.parametrize('prefix', [True, False])
def test_pieces_are_those_of_sentencepiece(tmp_path, pieces, prefix):
  proto = sentencepiece_model_pb2.ModelProto.FromString(pieces)
  proto.normalizer_spec.add_dummy_prefix = prefix
  processor = sentencepiece.SentencePieceProcessor(
    model_proto=proto.SerializeToString()
  )
  fields = {
    'tokenizer.ggml.model': 'llama',
    'tokenizer.ggml.tokens': [p.piece for p in proto.pieces],
    'tokenizer.ggml.scores': [p.score for p in proto.pieces],
    'tokenizer.ggml.token_type': [p.type for p in proto.pieces],
    'tokenizer.ggml.unknown_token_id': 0,
    'tokenizer.ggml.bos_token_id': 1,
    'tokenizer.ggml.add_space_prefix': prefix,
  }
  gguf_tokenizer.write(fields, tmp_path, 'x.gguf')
  ours = tokenizers.Tokenizer.from_file(str(tmp_path / 'tokenizer.json'))
  for text in [*ODD, *tiny_tokenizers.TEXTS]:
    if '<s>' in text:  # sentencepiece never reads control symbols from text
      continue
    want = processor.encode(text)
    assert ours.encode(text).ids == [1, *want]
    assert ours.encode(text, add_special_tokens=False).ids == want
    assert ours.decode(want) == processor.decode(want)


@pytest.mark.parametrize(
  ('family', 'pre'), [('llama3', 'llama-bpe'), ('qwen2', 'qwen2')]
)
def test_bytes_are_cut_and_merged_as_the_family_does(tmp_path, family, pre):
  tiny_tokenizers.write(tmp_path, family)
  path = tmp_path / 'tokenizer.json'
  theirs = tokenizers.Tokenizer.from_file(str(path))
  content = json.loads(path.read_text('utf-8'))
  vocab = theirs.get_vocab(with_added_tokens=True)
  added = {
    t['content']: 3 if t['special'] else 4 for t in content['added_tokens']
  }
  tokens = sorted(vocab, key=vocab.get)
  fields = {
    'tokenizer.ggml.model': 'gpt2',
    'tokenizer.ggml.pre': pre,
    'tokenizer.ggml.tokens': tokens,
    'tokenizer.ggml.token_type': [added.get(t, 1) for t in tokens],
    'tokenizer.ggml.merges': [' '.join(m) for m in content['model']['merges']],
  }
  (tmp_path / 'made').mkdir()
  gguf_tokenizer.write(fields, tmp_path / 'made', 'x.gguf')
  ours = tokenizers.Tokenizer.from_file(str(tmp_path / 'made/tokenizer.json'))
  for text in [*ODD, *tiny_tokenizers.TEXTS]:
    want = theirs.encode(text, add_special_tokens=False).ids
    assert ours.encode(text, add_special_tokens=False).ids == want
    assert ours.decode(want) == theirs.decode(want)


MERGES, TYPES = 'tokenizer.ggml.merges', 'tokenizer.ggml.token_type'


def refused(tmp_path, **changes):
  gguf_case.write(
    gguf_case.make_model('qwen3'), tmp_path / 'model.gguf', **changes
  )
  with pytest.raises(UserError) as error:
    convert.from_gguf(str(tmp_path / 'model.gguf'), str(tmp_path / 'out'))
  assert not (tmp_path / 'out').exists()
  return str(error.value)


def test_what_a_file_lacks_or_nobody_knows_is_named(tmp_path):
  said = refused(tmp_path, without=['blk.1.attn_k.weight'])
  assert said.endswith('lacks tensor blk.1.attn_k.weight')
  said = refused(tmp_path, **{'general.architecture': 'falcon'})
  assert "architecture 'falcon' is not supported; there are: llama" in said
  said = refused(tmp_path, **{'tokenizer.ggml.pre': 'tekken'})
  assert "tokenizer.ggml.pre = 'tekken' is not supported" in said
  fields = {'tokenizer.ggml.model': 'gpt2', 'tokenizer.ggml.tokens': ['a']}
  with pytest.raises(UserError, match='x.gguf lacks tokenizer.ggml.pre'):
    gguf_tokenizer.write(fields | {MERGES: [], TYPES: [1]}, tmp_path, 'x.gguf')
  said = refused(tmp_path, **{'tokenizer.ggml.model': 'rwkv'})
  assert "tokenizer 'rwkv' is not supported" in said


@pytest.mark.parametrize('content', [b'', b'GGUF', b'PK\x03\x04' * 9])
def test_what_is_no_such_file_ends_in_a_line(tmp_path, content):
  path = tmp_path / 'model.gguf'
  path.write_bytes(content)
  command = ['from_gguf', f'--gguf={path}', f'--out={tmp_path}/out']
  done = subprocess.run(
    [sys.executable, '-m', 'early_experience.convert', *command],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 1
  assert done.stderr.count('\n') == 1
  assert f'{path} is damaged, or no GGUF file' in done.stderr


def test_a_cut_file_is_damaged(tmp_path):
  whole = tmp_path / 'whole.gguf'
  gguf_case.write(gguf_case.make_model('qwen3'), whole)
  path = tmp_path / 'model.gguf'
  data = whole.read_bytes()
  for length in (len(data) // 10, len(data) - 100):
    path.write_bytes(data[:length])
    with pytest.raises(UserError, match='is damaged, or no GGUF file'):
      convert.from_gguf(str(path), str(tmp_path / 'out'))
