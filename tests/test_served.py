"""An exported model behind real servers, asked by the stages that ask one.

Each server is tried that is installed; see real_servers.py.
"""

import json

import pytest

from early_experience import collect, convert, evaluate, explore, reflect
from early_experience.config import default
from early_experience.experience import conversation, render
from early_experience.experience.answer_format import find_format
from early_experience.language.answer import Chat
from early_experience.language.model import LanguageModel
from early_experience.runtime import files
from early_experience.tokenizers import saved
from tests import real_servers
from tests.toy_env import ToyEnv

pytest.importorskip('openai')
tokenizers = pytest.importorskip('tokenizers')
torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')
tiny_tokenizers = pytest.importorskip('tests.tiny_tokenizers')

ANSWER_TOKENS = 24
# Templates of this family name a day; without it servers take today's.
TEMPLATE = {'date_string': '7 May 2025'}
HISTORIES = (
  ('Take the coin.', ['You see box 1, box 2.'], []),
  ('Put the cup é杯 away.', ['A shelf.', 'A drawer.\n- 2 cups'], ['look']),
  ('Go.', [f'Room {i}. ' * 9 for i in range(4)], [f'go {i}' for i in range(3)]),
)


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
  """A Llama of transformers, imported, and exported again."""
  folder = tmp_path_factory.mktemp('model')
  words = tiny_tokenizers.write(folder / 'words', 'llama3')
  cfg = transformers.LlamaConfig(
    vocab_size=saved.load(words).vocab_size,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,  # the smallest that vLLM attends with on CPUs
    max_position_embeddings=real_servers.MAX_TOKENS,
    rope_parameters={'rope_type': 'default', 'rope_theta': 500_000.0},
    initializer_range=0.3,  # enough for one token to stand out
  )
  torch.manual_seed(0)
  transformers.LlamaForCausalLM(cfg).save_pretrained(folder / 'hf')
  tiny_tokenizers.write(folder / 'hf', 'llama3')
  path = folder / 'hf' / 'generation_config.json'
  # Without it transformers' server is greedy, whatever temperature it is told.
  sampled = json.loads(path.read_text()) | {'do_sample': True}
  path.write_text(json.dumps(sampled))
  convert.from_hf(folder / 'hf', folder / 'ours')
  convert.to_hf(folder / 'ours', folder / 'exported')
  return folder


@pytest.fixture(scope='module', params=real_servers.SERVERS)
def server(request, tmp_path_factory):
  """The address of a server, and the folder with the model that it serves."""
  command = real_servers.find(request.param)  # first of all: it may skip
  folder = request.getfixturevalue('exported')
  log = tmp_path_factory.mktemp('log') / 'server.log'
  with real_servers.started(command, folder / 'exported', log) as url:
    yield url, folder


@pytest.fixture
def config(server, monkeypatch):
  url, folder = server
  monkeypatch.delenv('OPENAI_API_KEY', raising=False)
  config = default()
  config.env.name = 'toy'
  config.collect.trajectories = 4
  config.explore.k = 4
  config.explore.proposers = {'openai': 1.0, 'uniform': 1.0}
  config.reflect.writer = 'openai'
  for settings in (config.explore.openai, config.reflect.openai):
    settings.base_url = url
    settings.model = str(folder / 'exported')
    settings.max_tokens = ANSWER_TOKENS
    settings.template_kwargs = TEMPLATE
  return config


def test_explore_and_reflect_are_answered(config, tmp_path):
  collect.collect_from(ToyEnv(), config, tmp_path)
  explored = explore.explore_in(ToyEnv(), config, tmp_path)
  # What random weights say never ends, and so is no action, but an answer.
  assert explored['states'] == 11
  assert set(explored['answers']['failed']) <= {'empty'}  # they may say nothing
  assert explored['answers']['requests'] == 2 * 11
  assert explored['answers']['input_tokens'] > 0
  reflected = reflect.reflect(config, tmp_path)
  assert reflected['all_states'] == 11
  assert set(reflected['answers']['failed']) <= {'empty'}
  assert sum(reflected['dropped'].values()) + reflected['rationales'] == 11


def test_the_server_says_what_our_own_decoder_says(config, server):
  chats = [
    Chat(conversation.chat(render.history(*history), find_format('plain')))
    for history in HISTORIES
  ]
  there = config.explore.openai
  there.temperature = 0.0
  here = there.copy_and_resolve_references()
  here.update(base_url='', model='', checkpoint=str(server[1] / 'ours'))
  served, own = (
    # One server shows the bytes of an unfinished character, another does not.
    [answer.text.strip().rstrip('\ufffd') for answer in model.ask(chats)]
    for model in (LanguageModel(there, 'there'), LanguageModel(here, 'here'))
  )
  assert len(set(own)) == len(chats) and all(map(len, own))
  assert served == own


def test_it_plays_as_the_same_model_plays_here(config, server, tmp_path):
  config.evaluate.policy = 'served'
  config.evaluate.splits, config.evaluate.tasks = ('test',), 4
  config.evaluate.max_steps = 2
  asked = config.evaluate.openai
  asked.update(config.explore.openai.to_dict() | {'temperature': 0.0})
  played = {}
  for name in ('there', 'here'):
    if name == 'here':
      ours = {'base_url': '', 'model': '', 'checkpoint': f'{server[1]}/ours'}
      asked.update(ours)
    config.name = name
    summary = evaluate.evaluate_in(ToyEnv, config, tmp_path)
    assert summary['answers']['requests'] == 8
    found = files.read_jsonl(tmp_path / 'evaluate' / name, 'rollouts')
    played[name] = {
      record['task_id']: [s['action'].rstrip('\ufffd') for s in record['steps']]
      for _, record in found
    }
  assert played['there'] == played['here']
  assert all(len(actions) == 2 for actions in played['here'].values())
