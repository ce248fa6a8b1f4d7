"""A chat tokenizer through `prepare`, and an agent that acts with it."""

import jax
import pytest

from configs import tiny
from early_experience.collect import collect_from
from early_experience.evaluation.agent import Agent, Decoding
from early_experience.evaluation.rollouts import Request
from early_experience.experience import loader, render, rows
from early_experience.explore import explore_in
from early_experience.model import table
from early_experience.prepare import prepare
from early_experience.recipes import row_sets
from early_experience.reflect import reflect
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import saved
from tests import tiny_tokenizers
from tests.toy_env import ToyEnv
from tests.training_case import mesh_of, model_of

ACTIONS = ('open box 1', 'take coin from box 3', 'look')


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  folder, env = tmp_path_factory.mktemp('run'), ToyEnv()
  collect_from(env, settings(''), str(folder))
  explore_in(env, settings(''), str(folder))
  reflect(settings(''), str(folder))
  return folder


def settings(folder, **changes):
  config = tiny.get_config()
  config.collect.trajectories = 3
  config.init.hf = str(folder)
  config.prepare.rows = row_sets(('joint',), k=2)
  config.prepare.row_tokens = 2048
  config.prepare.held_out = 0.0
  config.prepare.update(changes)
  return config


@pytest.mark.parametrize('family', ['llama3', 'qwen3'])
def test_prepare_takes_the_tokenizer_of_the_checkpoint(
  workdir, tmp_path, family
):
  given = tiny_tokenizers.write(tmp_path / 'model', family)
  options = {
    'answer_format': 'tags',
    'template_kwargs': {'enable_thinking': False},
  }
  made = {}
  for layout in ('flat', 'tree'):
    if (workdir / 'prepare').exists():
      (workdir / 'prepare').rename(tmp_path / 'before')
    config = settings(given, layout=layout, **options)
    summary = prepare(config, str(workdir))
    made[layout] = summary['rows']['joint']
  assert made['flat']['scored'] == made['tree']['scored']
  assert min(made['tree']['scored'].values()) > 0
  coder = saved.load(workdir / 'prepare')
  assert coder.hash == summary['tokenizer']['hash']
  assert coder.hash == saved.load(given, **options).hash
  source = loader.open_rows(str(workdir), 'joint').source
  row = rows.decode(source[0])
  ends = row['tokens'] == coder.stop_ids[0]
  assert (row['weights'][ends].sum(1) > 0).any()
  (workdir / 'prepare').rename(tmp_path / 'after')


def test_prepare_names_a_tokenizer_that_is_not_there(workdir, tmp_path):
  with pytest.raises(UserError, match='nowhere'):
    prepare(settings(tmp_path / 'nowhere'), str(workdir))


def make(folder, style, **decoding):
  coder = saved.load(folder, answer_format=style)
  # Some checkpoints round their embedding up.
  cfg = model_of(coder.vocab_size + 7, max_tokens=512)
  mesh = mesh_of((1, 1, 1))
  with jax.set_mesh(mesh):
    init = jax.jit(
      lambda key: table.init_params(key, cfg),
      out_shardings=table.param_shardings(cfg, mesh),
    )
    params = init(jax.random.key(0))
  how = Decoding(max_action_tokens=40, max_thought_tokens=12, **decoding)
  return Agent(params, cfg, coder, mesh, how, slots=2)


@pytest.mark.parametrize(
  ('family', 'style'), [('qwen3', 'tags'), ('gemma3', 'plain')]
)
def test_an_agent_acts_by_the_template(tmp_path, family, style):
  folder = tiny_tokenizers.write(tmp_path, family)
  past = render.opening('Take the coin.', 'You see box 1 and box 3.')
  past += render.exchange('open box 1', 'It is empty.')
  request = Request('a/0', past, ACTIONS)
  agent = make(folder, style, constrained=True, think=True)
  decision, _ = agent.act([request, None])
  assert decision.action in ACTIONS
  coder = agent.tokenizer
  # It has read the prompt of training, its thought included.
  told = past
  if decision.thought:
    told += (render.Turn('thought', decision.thought),)
  prompt = coder.encode_prompt(told, 'action')
  answer = coder.encode_answer(told, 'action', decision.action)
  held, (said, _) = agent._contexts.held[0], agent._contexts.said[0]
  assert held + said[-1:] == prompt + answer  # its end is not read yet
  free = make(folder, style)
  decision, _ = free.act([request, None])
  assert isinstance(decision.action, str) and decision.thought is None
  assert free._contexts.said[0][0][-1] in coder.stop_ids
