"""Checkpoints as the hub has them, and elsewhere than they were."""

import json
import shutil

import jax
import numpy as np
import pytest

from early_experience import convert
from early_experience.hf import architecture, read
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import tokenizer_files
from tests.test_hf_config import LLAMA3_2_3B, QWEN2_5_7B, cfg_of
from tests.test_hf_config import read as fields_of
from tests.test_hf_files import (
  CONFIG,
  NORM,
  SINGLE,
  assert_identical,
  load,
  make_tensors,
  save,
  save_parts,
)

safetensors_numpy = pytest.importorskip('safetensors.numpy')
pytest.importorskip('jinja2')
tiny_tokenizers = pytest.importorskip('tests.tiny_tokenizers')

from early_experience.tokenizers import saved  # noqa: E402
from tests import test_convert  # noqa: E402
from tests.test_convert import trained  # noqa: E402, F401


@pytest.mark.parametrize(
  'changes',
  [
    {'max_window_layers': 28},
    {'max_window_layers': 0, 'sliding_window': None},
    {'max_window_layers': 0, 'layer_types': ['full_attention'] * 28},
  ],
)
def test_a_window_that_no_layer_has_changes_nothing(changes):
  whole = fields_of(QWEN2_5_7B, use_sliding_window=True, **changes)
  assert whole == fields_of(QWEN2_5_7B)


def test_a_padding_id_beyond_the_embedding_is_not_exported():
  cfg = cfg_of(fields_of(LLAMA3_2_3B))
  for pad, there in ((128255, True), (128256, False)):
    written = architecture.write(cfg, {'pad_token_id': pad}, 'float32')
    assert ('pad_token_id' in written) == there


@pytest.mark.parametrize('lacking', ['', 'lm_head', 'model.embed_tokens'])
def test_a_tied_head_is_exported_where_it_was_stored(tmp_path, lacking):
  """The embedding always is: other loaders look for no other name."""
  tensors = make_tensors('bfloat16')
  tensors['lm_head.weight'] = tensors['model.embed_tokens.weight']
  some = {
    name: tensors[name] for name in tensors if name != f'{lacking}.weight'
  }
  tied = CONFIG | {'tie_word_embeddings': True}
  convert.from_hf(str(save(tmp_path / 'hf', some, tied)), str(tmp_path / 'o'))
  convert.to_hf(str(tmp_path / 'o'), str(tmp_path / 'again'))
  again = safetensors_numpy.load_file(tmp_path / 'again' / SINGLE)
  embedding = {'model.embed_tokens.weight': tensors['lm_head.weight']}
  assert set(again) == set(some | embedding)
  for name, value in (some | embedding).items():
    np.testing.assert_array_equal(again[name], value)


def test_a_model_saved_without_its_head_has_shorter_names(tmp_path):
  tied = CONFIG | {'tie_word_embeddings': True}
  tensors = make_tensors()
  del tensors['lm_head.weight']
  short = {name.removeprefix('model.'): x for name, x in tensors.items()}
  assert_identical(
    load(save(tmp_path / 'a', short, tied)),
    load(save(tmp_path / 'b', tensors, tied)),
  )


def test_parameters_are_known_wherever_and_in_whatever_files_they_are(tmp_path):
  tensors = make_tensors()
  one = save(tmp_path / 'one', tensors)
  save_parts(tmp_path / 'parts', tensors)
  assert read.content(one) == read.content(tmp_path / 'parts')
  other = tensors | {NORM: tensors[NORM] + 1}
  assert read.content(save(tmp_path / 'other', other)) != read.content(one)


def test_a_template_that_wants_a_clock_has_one_day_for_ever(tmp_path):
  """Here, and where transformers has a clock of its own."""
  transformers = pytest.importorskip('transformers')
  words = tiny_tokenizers.write(tmp_path / 'words', 'qwen2')
  path = words / 'chat_template.jinja'
  asks = "{{ strftime_now('%A, %d %b %Y at %-d/%-m/%y') }}"
  path.write_text(asks + path.read_text())
  with pytest.raises(UserError, match='set config.prepare.date, or change'):
    saved.load(words)
  with pytest.raises(UserError, match="date = '31 May' is no day such as"):
    saved.load(words, template_kwargs={'strftime_now': '31 May'})
  ours = saved.load(words, template_kwargs={'strftime_now': '2026-05-07'})
  ours.save(tmp_path)
  messages = [{'role': 'user', 'content': 'Go.'}]
  ids, _ = ours.encode_messages(messages)
  (tmp_path / 'out').mkdir()
  tokenizer_files.export(tmp_path / 'tokenizer', tmp_path / 'out')
  (tmp_path / 'out' / 'config.json').write_text('{"model_type": "qwen2"}')
  there = transformers.AutoTokenizer.from_pretrained(tmp_path / 'out')
  assert there.apply_chat_template(messages, return_dict=False) == ids
  text = there.apply_chat_template(messages, tokenize=False)
  assert text.startswith('Thursday, 07 May 2026 at 7/5/26')


def test_padding_that_was_added_beyond_the_embedding_is_another_id(tmp_path):
  plain = saved.load(tiny_tokenizers.write(tmp_path / 'plain', 'llama3'))
  more = tiny_tokenizers.write(tmp_path / 'more', 'llama3')
  path = more / 'tokenizer.json'
  about = json.loads(path.read_text())
  token = about['added_tokens'][0]
  new = {'id': plain.vocab_size, 'content': '[PAD]'}
  about['added_tokens'].append(token | new)
  path.write_text(json.dumps(about))
  path = more / 'tokenizer_config.json'
  path.write_text(
    json.dumps(json.loads(path.read_text()) | {'pad_token': '[PAD]'})
  )
  found = saved.load(more)
  assert found.vocab_size == plain.vocab_size
  assert found.pad_id < plain.vocab_size


def test_adapters_are_exported_beside_a_base_that_was_moved(trained, tmp_path):  # noqa: F811
  folder, _ = trained
  workdir = folder.parent.parent
  convert.to_hf(folder, tmp_path / 'before')
  hf = (workdir / 'hf').rename(tmp_path / 'elsewhere')
  try:
    with pytest.raises(UserError, match='/hf is not there, .*convert: --base'):
      convert.to_hf(folder, tmp_path / 'out')
    with pytest.raises(UserError, match='nowhere does not exist, and .* gone'):
      convert.to_hf(folder, tmp_path / 'out', base=str(tmp_path / 'nowhere'))
    other = test_convert.save(tmp_path / 'other', 'qwen3')
    path = other / 'model.safetensors'
    path.write_bytes(path.read_bytes()[:-2] + b'xx')
    with pytest.raises(UserError, match='other holds other parameters than'):
      convert.to_hf(folder, tmp_path / 'out', base=str(other))
    convert.to_hf(folder, tmp_path / 'out', base=str(hf))
  finally:
    hf.rename(workdir / 'hf')
  one, two = (
    safetensors_numpy.load_file(tmp_path / x / 'model.safetensors')
    for x in ('before', 'out')
  )
  jax.tree.map(np.testing.assert_array_equal, one, two)
  copy = shutil.copytree(workdir, tmp_path / 'copy')
  workdir.rename(tmp_path / 'gone')
  try:  # in one tree, it is found by itself
    convert.to_hf(copy / 'train' / 'name', tmp_path / 'moved')
  finally:
    (tmp_path / 'gone').rename(workdir)
