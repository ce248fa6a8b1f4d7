"""Checkpoint files: read whole and exactly, or refused by one clear line."""

import json

import jax
import ml_dtypes
import numpy as np
import pytest

from early_experience import convert
from early_experience.hf import read
from early_experience.model import table
from early_experience.runtime.errors import UserError
from tests.model_case import make_mesh

safetensors_numpy = pytest.importorskip('safetensors.numpy')

CONFIG = {
  'model_type': 'qwen3',
  'vocab_size': 40,
  'hidden_size': 16,
  'intermediate_size': 24,
  'num_hidden_layers': 2,
  'num_attention_heads': 4,
  'num_key_value_heads': 2,
  'head_dim': 8,
  'attention_bias': True,
  'eos_token_id': [3, 4],
  'max_position_embeddings': 77,
}
SINGLE, INDEX = 'model.safetensors', 'model.safetensors.index.json'
NORM, Q = 'model.norm.weight', 'model.layers.0.self_attn.q_proj.weight'


def make_tensors(dtype='float32'):
  """What a checkpoint of CONFIG holds, spelled out."""
  shapes = {
    'model.embed_tokens.weight': (40, 16),
    NORM: (16,),
    'lm_head.weight': (40, 16),
  }
  for layer in range(2):
    shapes |= {
      f'model.layers.{layer}.{name}': shape
      for name, shape in {
        'input_layernorm.weight': (16,),
        'post_attention_layernorm.weight': (16,),
        'self_attn.q_norm.weight': (8,),
        'self_attn.k_norm.weight': (8,),
        'self_attn.q_proj.weight': (32, 16),
        'self_attn.k_proj.weight': (16, 16),
        'self_attn.v_proj.weight': (16, 16),
        'self_attn.o_proj.weight': (16, 32),
        'self_attn.q_proj.bias': (32,),
        'self_attn.k_proj.bias': (16,),
        'self_attn.v_proj.bias': (16,),
        'self_attn.o_proj.bias': (16,),
        'mlp.gate_proj.weight': (24, 16),
        'mlp.up_proj.weight': (24, 16),
        'mlp.down_proj.weight': (16, 24),
      }.items()
    }
  rng = np.random.default_rng(0)
  return {
    name: rng.standard_normal(shape, np.float32).astype(dtype)
    for name, shape in shapes.items()
  }


def save(folder, tensors, config=CONFIG):
  folder.mkdir(exist_ok=True)
  (folder / 'config.json').write_text(json.dumps(config))
  safetensors_numpy.save_file(tensors, folder / SINGLE)
  return folder


def save_parts(folder, tensors, parts=3):
  """The tensors in several files, with an index; returns its content."""
  folder.mkdir(exist_ok=True)
  (folder / 'config.json').write_text(json.dumps(CONFIG))
  places = {}
  for number in range(parts):
    name = f'part-{number}.safetensors'
    some = {key: tensors[key] for key in sorted(tensors)[number::parts]}
    safetensors_numpy.save_file(some, folder / name)
    places |= dict.fromkeys(some, name)
  write_index(folder, places)
  return places


def write_index(folder, places):
  (folder / INDEX).write_text(json.dumps({'weight_map': places}))


def load(folder, sizes=(1, 1, 1), param_dtype='float32'):
  cfg = convert.config_of(folder, param_dtype)
  return read.read_params(folder, cfg, make_mesh(*sizes))


def assert_identical(a, b):
  jax.tree.map(np.testing.assert_array_equal, *jax.device_get((a, b)))


def refused(folder, match, **settings):
  with pytest.raises(UserError, match=match) as error:
    load(folder, **settings)
  assert '\n' not in str(error.value)


def test_matrices_are_laid_out_as_the_table_says(tmp_path):
  tensors = make_tensors()
  layers = load(save(tmp_path, tensors))['layers']
  q_OD, o_DO = (
    tensors[f'model.layers.1.self_attn.{name}_proj.weight'] for name in 'qo'
  )
  # Head 2, dimension 5, is row 2 * 8 + 5 of what is stored.
  np.testing.assert_array_equal(layers['q'][1][:, 2, 5], q_OD[21])
  np.testing.assert_array_equal(layers['o'][1][2, 5], o_DO[:, 21])


@pytest.mark.parametrize('dtype', ['float32', 'float16', 'bfloat16'])
def test_an_export_of_an_import_is_equal_bit_for_bit(tmp_path, dtype):
  tensors = make_tensors(dtype)
  hf = save(tmp_path / 'hf', tensors)
  (hf / 'generation_config.json').write_text('{"top_k": 7}')
  convert.from_hf(str(hf), str(tmp_path / 'ours'))
  convert.to_hf(str(tmp_path / 'ours'), str(tmp_path / 'again'))
  again = safetensors_numpy.load_file(tmp_path / 'again' / SINGLE)
  assert set(again) == set(tensors)
  for name, value in tensors.items():
    assert again[name].dtype == value.dtype
    np.testing.assert_array_equal(again[name], value)
  made = json.loads((tmp_path / 'again' / 'config.json').read_text())
  assert made['torch_dtype'] == dtype
  for key in ('eos_token_id', 'max_position_embeddings', 'model_type'):
    assert made[key] == CONFIG[key]
  copied = tmp_path / 'again' / 'generation_config.json'
  assert json.loads(copied.read_text()) == {'top_k': 7}


def test_parts_with_an_index_are_the_whole(tmp_path):
  tensors = make_tensors()
  save_parts(tmp_path / 'parts', tensors)
  whole = save(tmp_path / 'whole', tensors)
  assert_identical(load(tmp_path / 'parts'), load(whole))


def test_sharded_reading_equals_unsharded(tmp_path):
  folder = save(tmp_path, make_tensors())
  whole = load(folder)
  for sizes in ((1, 8, 1), (2, 2, 2), (1, 4, 2)):
    params = load(folder, sizes)
    assert_identical(params, whole)
    cfg = convert.config_of(folder, 'float32')
    like = table.abstract_params(cfg, make_mesh(*sizes))
    same = jax.tree.map(lambda x, y: x.sharding == y.sharding, params, like)
    assert all(jax.tree.leaves(same))
  refused(folder, 'mesh.fsdp = 3 does not divide embed = 16', sizes=(1, 3, 1))


def test_a_process_reads_only_its_own_bytes(tmp_path, monkeypatch):
  folder = save(tmp_path, make_tensors())
  counts = []

  def counted(stored, index):
    part = read_tensor(stored, index)
    counts.append(part.nbytes)
    return part

  read_tensor = read.tensor_file.read
  monkeypatch.setattr(read.tensor_file, 'read', counted)
  params = load(folder, (2, 2, 2))  # `data` holds everything twice
  shards = {
    (path, str(shard.index)): shard.data.nbytes
    for path, x in table.flat(params).items()
    for shard in x.addressable_shards
  }
  assert sum(counts) == sum(shards.values())


def test_wider_is_exact_and_narrower_is_refused(tmp_path):
  half = save(tmp_path / 'half', make_tensors('bfloat16'))
  assert_identical(
    load(half), jax.tree.map(np.float32, load(half, param_dtype='bfloat16'))
  )
  whole = save(tmp_path / 'whole', make_tensors())
  cfg = convert.config_of(whole, 'bfloat16')
  rounded = read.read_params(whole, cfg, make_mesh(), rounded=True)
  wanted = jax.tree.map(lambda x: x.astype('bfloat16'), load(whole))
  assert_identical(rounded, wanted)
  refused(
    whole,
    r'embed_tokens.weight is of dtype float32 .*param_dtype',
    param_dtype='bfloat16',
  )
  with jax.enable_x64(True):
    assert_identical(load(whole), load(whole, param_dtype='float64'))
  double = save(tmp_path / 'double', make_tensors('float64'))
  refused(double, r'float64 and would be .*float32.; set that to float64')
  tensors = make_tensors() | {Q: np.zeros((32, 16), np.int8)}
  refused(save(tmp_path / 'int', tensors), f'{Q} is of dtype I8; .*F32, F16')
  tensors = make_tensors('bfloat16') | {Q: np.zeros((32, 16), np.float16)}
  mixed = save(tmp_path / 'mixed', tensors)
  refused(mixed, f'{Q} .*float16 and would be', param_dtype='bfloat16')
  eighth = np.zeros((32, 16), ml_dtypes.float8_e4m3fn)
  tensors = make_tensors() | {Q: eighth}
  refused(save(tmp_path / 'eighth', tensors), f'{Q} is of dtype F8_E4M3')


def test_tensors_are_those_of_the_architecture(tmp_path):
  tensors = make_tensors()
  without = {key: x for key, x in tensors.items() if key != Q}
  refused(save(tmp_path / 'a', without), f'lacks tensor {Q}')
  more = tensors | {'model.layers.2.mlp.up_proj.weight': np.zeros((1, 1))}
  refused(save(tmp_path / 'b', more), 'layers.2.mlp.up_proj.weight is unknown')
  turned = tensors | {Q: np.ascontiguousarray(tensors[Q].T)}
  refused(
    save(tmp_path / 'c', turned), rf'{Q} has shape \[16, 32\].*\[32, 16\]'
  )
  turns = {'model.layers.0.self_attn.rotary_emb.inv_freq': np.zeros(4)}
  load(save(tmp_path / 'd', tensors | turns))  # what old checkpoints store


def test_a_stored_head_is_the_embedding_where_they_are_tied(tmp_path):
  tied = CONFIG | {'tie_word_embeddings': True}
  tensors = make_tensors()
  refused(save(tmp_path / 'a', tensors, tied), 'lm_head.weight is not the emb')
  tensors['lm_head.weight'] = tensors['model.embed_tokens.weight']
  same = load(save(tmp_path / 'b', tensors, tied))
  head = tensors.pop('lm_head.weight')
  assert_identical(same, load(save(tmp_path / 'c', tensors, tied)))
  del tensors['model.embed_tokens.weight']  # under the other name alone
  alone = save(tmp_path / 'd', tensors | {'lm_head.weight': head}, tied)
  assert_identical(same, load(alone))


def test_files_are_those_of_the_index(tmp_path):
  places = save_parts(tmp_path, make_tensors())
  write_index(tmp_path, places | {Q: 'gone.safetensors'})
  refused(tmp_path, 'index.json names gone.safetensors, which is not there')
  elsewhere = {'part-0.safetensors': 'part-1.safetensors'}.get(
    places[Q], 'part-0.safetensors'
  )
  write_index(tmp_path, places | {Q: elsewhere})
  refused(tmp_path, rf'{places[Q]} has tensor {Q}; .* in {elsewhere}')
  write_index(tmp_path, {key: x for key, x in places.items() if key != Q})
  refused(tmp_path, f'{Q}; .* in no file')
  write_index(tmp_path, places | {'more': places[Q]})
  refused(tmp_path, f'{places[Q]} has tensor more; it has not')
  for odd in ([], {}, {Q: 3}, {Q: [places[Q]]}):
    write_index(tmp_path, odd)
    refused(tmp_path, 'has no weight_map of tensors to files')
  write_index(tmp_path, places)
  path = tmp_path / elsewhere
  twice = safetensors_numpy.load_file(path) | {Q: np.zeros(3)}
  safetensors_numpy.save_file(twice, path)
  refused(tmp_path, f'tensor {Q} is in both .*part-.*part-')
  save(tmp_path, make_tensors())
  refused(tmp_path, 'both model.safetensors and model.safetensors.index.json')


def test_damaged_files_are_named(tmp_path):
  path = save(tmp_path, make_tensors()) / SINGLE
  data = path.read_bytes()
  path.write_bytes(data[:-10])
  refused(tmp_path, f'{SINGLE} is truncated: tensor .* ends beyond it')
  path.write_bytes(data[:100])
  refused(tmp_path, f'{SINGLE} is truncated, or is not')
  path.write_bytes(b'')
  refused(tmp_path, f'{SINGLE} is truncated, or is not')
  path.write_bytes(data[:8] + b'#' + data[9:])
  refused(tmp_path, f'{SINGLE} has a damaged header')
  twice = json.dumps({NORM: 0})[:-1] + f', "{NORM}": 0}}'
  size = len(twice).to_bytes(8, 'little')
  path.write_bytes(size + twice.encode())
  refused(tmp_path, f'damaged header: {NORM} is there twice')
  deep = b'[' * 100_000
  path.write_bytes(len(deep).to_bytes(8, 'little') + deep)
  refused(tmp_path, f'{SINGLE} has a damaged header: too many levels')


def test_no_weights_at_all(tmp_path):
  path = save(tmp_path, make_tensors()) / SINGLE
  path.rename(tmp_path / 'model-00001-of-00002.safetensors')
  refused(tmp_path, 'model-00001-of-00002.safetensors is there, but no')
  (tmp_path / 'model-00001-of-00002.safetensors').unlink()
  refused(tmp_path, 'has no weights: neither')
  (tmp_path / 'pytorch_model.bin').touch()
  refused(tmp_path, 'pytorch_model.bin is a pickle.*safetensors')


def test_large_exports_are_cut_into_files(tmp_path):
  from early_experience.hf import write

  hf = save(tmp_path / 'hf', make_tensors())
  cfg = convert.config_of(hf, 'float32')
  params = load(hf)
  out = tmp_path / 'out'
  write.write_params(params, cfg, out, 'float32', {}, file_bytes=8000)
  assert len(list(out.glob('model-*.safetensors'))) > 2
  assert all(p.stat().st_size < 12_000 for p in out.glob('model-*'))
  assert_identical(load(out), params)
  with pytest.raises(UserError, match='out is there already'):
    write.write_params(params, cfg, out, 'float32', {})


def test_nothing_is_left_of_what_fails(tmp_path):
  hf = save(tmp_path / 'hf', make_tensors())
  data = (hf / SINGLE).read_bytes()
  (hf / SINGLE).write_bytes(data[:-10])
  with pytest.raises(UserError, match='truncated'):
    convert.from_hf(str(hf), str(tmp_path / 'ours'))
  assert [path.name for path in tmp_path.iterdir()] == ['hf']
