"""The command: checkpoints with their tokenizers there and back, in a line."""

import json
import re
import shutil
import sys

import jax
import numpy as np
import pytest

from early_experience import config as config_lib
from early_experience import convert
from early_experience.hf import read
from early_experience.model import table
from early_experience.model.config import from_config
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import tokenizer_files
from early_experience.training import initial, optimizer, train_step
from early_experience.training.checkpoint import Checkpoints, Position
from tests import test_hf_files as hf_files
from tests.model_case import make_mesh

safetensors_numpy = pytest.importorskip('safetensors.numpy')
pytest.importorskip('jinja2')
tiny_tokenizers = pytest.importorskip('tests.tiny_tokenizers')

from early_experience.tokenizers import chat_template, saved  # noqa: E402

CONFIG = hf_files.CONFIG | {'vocab_size': 512}
KWARGS = {'enable_thinking': False, 'more': {'a': [None, 'é "']}}


def save(folder, family, config=CONFIG):
  """A checkpoint with a tokenizer; its embedding has a row for each id."""
  tensors = hf_files.make_tensors('bfloat16')
  for name in ('model.embed_tokens.weight', 'lm_head.weight'):
    few = tensors[name]
    tensors[name] = np.resize(few, (config['vocab_size'], few.shape[1]))
  hf_files.save(folder, tensors, config)
  tiny_tokenizers.write(folder, family)
  return folder


def run(monkeypatch, capsys, *argv):
  """(exit code, lines of stdout, lines of stderr)"""
  monkeypatch.setattr(sys, 'argv', ['convert', *map(str, argv)])
  code = 0
  try:
    convert.main()
  except SystemExit as error:
    code = error.code
  said = capsys.readouterr()
  return code, said.out.splitlines(), said.err.splitlines()


def test_there_and_back(tmp_path, monkeypatch, capsys):
  hf, ours, again = (
    save(tmp_path / 'hf', 'qwen3'),
    tmp_path / 'o',
    tmp_path / 'a',
  )
  asked = ('from_hf', f'--hf={hf}', f'--out={ours}')
  code, out, err = run(monkeypatch, capsys, *asked)
  assert (code, err) == (0, []) and 'parameters in float32' in out[0]
  more = (f'--checkpoint={ours}', f'--out={again}')
  assert run(monkeypatch, capsys, 'to_hf', *more)[0] == 0
  assert {p.name for p in hf.iterdir()} == {p.name for p in again.iterdir()}
  for path in hf.iterdir():
    if path.name not in ('model.safetensors', 'config.json'):
      assert (again / path.name).read_bytes() == path.read_bytes()
  before, after = (
    safetensors_numpy.load_file(f / 'model.safetensors') for f in (hf, again)
  )
  jax.tree.map(np.testing.assert_array_equal, before, after)


@pytest.mark.parametrize(
  'argv, message',
  [
    ([], 'required: command; usage: python -m early_experience.convert'),
    (['from_hf', '--hf=H'], 'required: --out; usage: .* from_hf'),
    (['from_hf', '--hf=none', '--out=O'], 'none/config.json does not exist'),
    (
      ['from_hf', f'--hf={__file__}', '--out=O'],
      'cannot read .*test_convert.py/config.json: Not a directory',
    ),
    (['to_hf', '--checkpoint=none', '--out=O'], 'none.* holds no checkpoints'),
    (['to_hf', '--checkpoint=H', '--out=O', '--dtype=int8'], "'int8'"),
    (
      ['to_hf', '--checkpoint=H', '--out=O', '--adapters', '--dtype=bfloat16'],
      'adapters are float32, not --dtype=bfloat16',
    ),
  ],
)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, capsys, argv, message):
  monkeypatch.chdir(tmp_path)
  code, _, err = run(monkeypatch, capsys, *argv)
  assert code == 1
  (line,) = err
  assert line.startswith('error: ')
  assert re.search(message, line), line
  assert list(tmp_path.iterdir()) == []


def test_an_embedding_has_a_row_for_each_id(tmp_path):
  hf = save(tmp_path / 'hf', 'qwen3', CONFIG | {'vocab_size': 40})
  with pytest.raises(UserError, match=r'tokenizer has \d+ ids, .*has 40 rows'):
    convert.from_hf(hf, tmp_path / 'ours')
  assert not (tmp_path / 'ours').exists()
  (hf / 'chat_template.jinja').write_text('{% oops')
  with pytest.raises(UserError, match=f'^{hf}/chat_template.jinja: '):
    convert.from_hf(hf, tmp_path / 'ours')


def test_a_base_model_has_no_chat_template(tmp_path):
  hf = save(tmp_path / 'hf', 'qwen3')
  (hf / 'chat_template.jinja').unlink()
  convert.from_hf(hf, tmp_path / 'ours')
  assert (tmp_path / 'ours' / 'tokenizer' / 'tokenizer.json').exists()


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """train/NAME of adapters, in a workdir; and all parameters by path."""
  workdir = tmp_path_factory.mktemp('workdir')
  hf = save(workdir / 'hf', 'qwen3')
  words = saved.load(hf, template_kwargs=KWARGS)
  words.save(workdir / 'prepare')
  config = config_lib.default()
  config.init.hf = str(hf)
  config.model.update(
    lora_rank=2, lora_targets=('v', 'up'), param_dtype='bfloat16'
  )
  folder = workdir / 'train' / 'name'
  cfg, source = initial.resolve(config, words, folder)
  mesh = make_mesh()
  tx = optimizer.make_optimizer(config_lib.stage(), cfg, 'float32')
  with jax.set_mesh(mesh):
    params = initial.params(source, cfg, mesh, seed=0)
    flat = table.flat(params)
    for path in flat:
      if path.endswith('lora_b'):
        flat[path] = flat[path] + 0.5
    state = train_step.new_state(table.nested(flat), cfg, tx, mesh)
    with Checkpoints(
      folder / 'checkpoints', cfg, words.hash, keep=1, source=source
    ) as checkpoints:
      checkpoints.save(state, Position())
  return folder, {path: np.asarray(x) for path, x in flat.items()}


def test_a_training_is_exported_as_its_source_was(trained, tmp_path):
  folder, flat = trained
  convert.to_hf(folder, tmp_path / 'out')
  tensors = safetensors_numpy.load_file(tmp_path / 'out' / 'model.safetensors')
  assert {x.dtype.name for x in tensors.values()} == {'bfloat16'}
  name = 'model.layers.1.mlp.up_proj.weight'
  a_DR, b_RF = (flat[f'layers/up_lora_{side}'][1] for side in 'ab')
  scale = config_lib.model().lora_alpha / 2
  want_DF = flat['layers/up'][1].astype(np.float32) + scale * a_DR @ b_RF
  np.testing.assert_array_equal(
    tensors[name], want_DF.T.astype(tensors[name].dtype)
  )
  made = json.loads((tmp_path / 'out' / 'config.json').read_text())
  assert made['max_position_embeddings'] == CONFIG['max_position_embeddings']
  turn_end, *_ = saved.load(folder.parent.parent / 'hf').stop_ids
  assert made['eos_token_id'] == [*CONFIG['eos_token_id'], turn_end]


@pytest.mark.parametrize('stops', ['{"eos_token_id": 404, "top_k": 7}', ''])
def test_a_server_ends_the_turns_of_a_base_model(tmp_path, stops):
  hf = save(tmp_path / 'hf', 'qwen3', CONFIG | {'eos_token_id': 404})
  generation = 'generation_config.json'
  (hf / generation).write_text(stops)
  if not stops:
    (hf / generation).unlink()
  convert.from_hf(hf, tmp_path / 'train' / 'name')
  words = saved.load(hf)
  words.save(tmp_path / 'prepare')
  shutil.rmtree(tmp_path / 'train' / 'name' / 'tokenizer')
  convert.to_hf(tmp_path / 'train' / 'name', tmp_path / 'out')
  made = json.loads((tmp_path / 'out' / generation).read_text())
  assert made['eos_token_id'] == [404, words.stop_ids[0]]
  assert made.get('top_k') == (7 if stops else None)


def test_a_server_renders_what_training_saw(trained, tmp_path):
  folder, _ = trained
  convert.to_hf(folder, tmp_path / 'out')
  source = folder.parent.parent / 'prepare' / 'tokenizer'
  messages = [{'role': 'user', 'content': 'Go.'}]
  there, here = map(chat_template.load, (tmp_path / 'out', source))
  asked = {'add_generation_prompt': True}
  want = here.render(messages, **asked, **KWARGS)
  assert there.render(messages, **asked) == want
  assert here.render(messages, **asked) != want
  text = (tmp_path / 'out' / 'chat_template.jinja').read_text()
  assert text.startswith('{%- set enable_thinking = false %}\n')
  more = chat_template.ChatTemplate(
    text.splitlines()[1] + "{{ more['a'] | join('|') }}", {}, ''
  )
  assert more.render([]) == 'None|é "'


@pytest.mark.parametrize(
  'family, kind',
  [('llama3', 'PreTrainedTokenizerFast'), ('llama2', 'LlamaTokenizer')],
)
def test_a_server_reads_the_tokens_of_training(tmp_path, family, kind):
  """Llama 3's template asks for the day; transformers makes Llama 2 anew."""
  transformers = pytest.importorskip('transformers')
  hf = tiny_tokenizers.write(tmp_path / 'hf', family)
  about = json.loads((hf / 'tokenizer_config.json').read_text())
  about |= {'tokenizer_class': kind, 'legacy': False}
  (hf / 'tokenizer_config.json').write_text(json.dumps(about))
  words = saved.load(hf)
  words.save(tmp_path)
  (tmp_path / 'out').mkdir()
  tokenizer_files.export(tmp_path / 'tokenizer', tmp_path / 'out')
  (tmp_path / 'out' / 'config.json').write_text('{"model_type": "llama"}')
  messages = [{'role': 'user', 'content': 'Go.'}]
  there = transformers.AutoTokenizer.from_pretrained(tmp_path / 'out')
  ids = there.apply_chat_template(messages, return_dict=False)
  assert ids == words.encode_messages(messages)[0]


def test_a_template_in_the_config_is_given_it_too(tmp_path):
  words = tiny_tokenizers.write(tmp_path / 'words', 'llama2')
  (words / 'chat.json').write_text('{"template_kwargs": {"x": 1}}')
  (tmp_path / 'out').mkdir()
  tokenizer_files.export(words, tmp_path / 'out')
  made = json.loads((tmp_path / 'out' / 'tokenizer_config.json').read_text())
  assert made['chat_template'].startswith('{%- set x = 1 %}\n')


def test_adapters_alone(trained, tmp_path):
  folder, flat = trained
  convert.to_hf(folder, tmp_path / 'out', adapters=True)
  path = tmp_path / 'out' / 'adapter_model.safetensors'
  tensors = safetensors_numpy.load_file(path)
  name = 'base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight'
  np.testing.assert_array_equal(tensors[name], flat['layers/v_lora_a'][0].T)
  assert len(tensors) == 2 * 2 * 2
  about = json.loads((tmp_path / 'out' / 'adapter_config.json').read_text())
  assert about['base_model_name_or_path'].endswith('hf')
  assert about['target_modules'] == ['v_proj', 'up_proj']


def test_adapters_name_a_base_that_is_what_they_stand_beside(trained, tmp_path):
  folder, _ = trained
  native = tmp_path / 'native'
  convert.from_hf(folder.parent.parent / 'hf', native, 'bfloat16')
  mine = shutil.copytree(folder, tmp_path / 'train' / 'name')
  path = mine / 'checkpoints' / 'architecture.json'
  about = json.loads(path.read_text())
  about['source']['checkpoint'] = str(native)
  path.write_text(json.dumps(about))

  def base(out):
    said = convert.to_hf(mine, tmp_path / out, adapters=True)
    made = json.loads((tmp_path / out / 'adapter_config.json').read_text())
    return made['base_model_name_or_path'], said

  assert base('copied')[0].endswith('hf')
  shutil.rmtree(native / 'tokenizer')  # as where a training wrote it
  found, said = base('trained')
  assert found is None and 'an export of what they were trained' in said


def test_the_tokenizer_is_found_from_everywhere(trained, tmp_path, monkeypatch):
  folder, _ = trained
  monkeypatch.chdir(folder.parent)
  assert 'without' not in convert.to_hf(folder.name, tmp_path / 'out')
  assert (tmp_path / 'out' / 'tokenizer.json').exists()


def test_a_model_of_a_seed_is_a_llama(tmp_path):
  model = config_lib.model()
  model.update(layers=1, embed=12, heads=2, kv_heads=2, head_dim=4, mlp=8)
  assert jax.device_count() == 8  # which do not share 12 evenly
  cfg, mesh = from_config(model, 30), make_mesh()
  with jax.set_mesh(mesh):
    params = table.make_params(jax.random.key(0), cfg, mesh)
    with Checkpoints(tmp_path / 'o' / 'checkpoints', cfg, '', 1) as checkpoints:
      checkpoints.save_params(params)
  said = convert.to_hf(tmp_path / 'o', tmp_path / 'hf', dtype='bfloat16')
  assert said.endswith('a model in bfloat16, without a tokenizer')
  made = json.loads((tmp_path / 'hf' / 'config.json').read_text())
  assert made['architectures'] == ['LlamaForCausalLM']
  assert made['max_position_embeddings'] == cfg.max_tokens
  with jax.set_mesh(mesh):
    back = read.read_params(tmp_path / 'hf', cfg, mesh)
  rounded = jax.tree.map(
    lambda x: x.astype('bfloat16').astype('float32'), params
  )
  jax.tree.map(np.testing.assert_array_equal, back, rounded)
