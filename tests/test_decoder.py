"""Our own decoder on a checkpoint answers chats as an endpoint does."""

import functools

import jax
import numpy as np
import pytest

from early_experience import collect, explore
from early_experience.config import default, endpoint
from early_experience.decoding import decode
from early_experience.experience import conversation, records, render
from early_experience.experience.answer_format import find_format
from early_experience.language.answer import Answer, Chat, Failure
from early_experience.language.model import LanguageModel
from early_experience.model import table
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import saved
from early_experience.training import initial
from early_experience.training.checkpoint import Checkpoints
from tests.toy_env import ToyEnv
from tests.training_case import mesh_of, model_of

tiny_tokenizers = pytest.importorskip('tests.tiny_tokenizers')

MAX_TOKENS = 160  # of a prompt and its answer
HISTORIES = (
  ('Take the coin.', ['You see box 1, box 2.'], []),
  ('Put the cup é杯 away.', ['A shelf.', 'A drawer.'], ['look']),
  ('Go.', ['Room 1.', 'Room 2.', 'Room 3.'], ['go on', 'go on']),
)


def write(folder, seed=0):
  """A checkpoint of a Llama as `convert from_hf` writes it."""
  (folder / 'tokenizer').mkdir(parents=True)
  tiny_tokenizers.write(folder / 'tokenizer', 'llama3')
  words = saved.load(folder / 'tokenizer')
  cfg, mesh = model_of(words.vocab_size, layers=1), mesh_of((1,) * 3)
  with jax.set_mesh(mesh):
    init = jax.jit(
      # Sharper than a fresh model, which is at a tie nearly everywhere.
      lambda key: jax.tree.map(lambda x: 2 * x, table.init_params(key, cfg)),
      out_shardings=table.param_shardings(cfg, mesh),
    )
    params = init(jax.random.key(seed))
    with Checkpoints(folder / initial.FOLDER, cfg, words.hash, 1) as kept:
      kept.save_params(params)
  return folder


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
  return write(tmp_path_factory.mktemp('model') / 'ours')


def ask(checkpoint, chats, **changes):
  config = endpoint(temperature=0.0, max_tokens=12)
  config.update(
    checkpoint=str(checkpoint), concurrency=8, context_tokens=MAX_TOKENS
  )
  config.update(changes)
  return LanguageModel(config, 'config.x').ask(chats)


def chats_of(*samples):
  scripts = [render.history(*history) for history in HISTORIES]
  return [
    Chat(conversation.chat(script, find_format('plain')), sample=sample)
    for script in scripts
    for sample in samples or (0,)
  ]


def test_an_answer_is_what_the_policy_of_the_checkpoint_would_say(checkpoint):
  words = saved.load(checkpoint / 'tokenizer')
  mesh = mesh_of((1,) * 3)
  cfg = model_of(words.vocab_size, layers=1)
  with jax.set_mesh(mesh):
    params = initial.policy(checkpoint, cfg, mesh)
    for history, answer in zip(
      HISTORIES, ask(checkpoint, chats_of()), strict=True
    ):
      prompt = words.encode_prompt(render.history(*history), 'action')
      cache = decode.init_cache(cfg, 1, MAX_TOKENS)
      logits_BV, cache = decode.extend(
        params,
        cache,
        np.pad(prompt, (0, MAX_TOKENS - len(prompt)))[None],
        np.array([len(prompt)]),
        cfg=cfg,
      )
      ids_BM, count_B, *_ = decode.generate(
        params,
        cache,
        logits_BV,
        jax.random.key(0),
        np.array([True]),
        cfg=cfg,
        stop_ids=words.stop_ids,
        vocab=words.vocab_size,
        max_tokens=13,
        temperature=0.0,
      )
      ids = ids_BM[0, : count_B[0] - 1].tolist()
      assert answer.text == words.decode(ids).strip()
      assert answer.truncated == (len(ids) == 12)
      assert answer.input_tokens == len(prompt)
      assert answer.output_tokens == len(ids)


def test_samples_depend_on_the_chat_and_the_seed_alone(checkpoint):
  chats = chats_of(0, 1, 2)
  together = ask(checkpoint, chats, temperature=1.0)
  assert len({answer.text for answer in together}) > len(HISTORIES)
  alone = ask(checkpoint, chats[4:5], temperature=1.0)
  assert alone == together[4:5]
  few = ask(checkpoint, chats[::-1], temperature=1.0, concurrency=2)
  assert few == together[::-1]
  others = ask(checkpoint, chats, temperature=1.0, seed=1)
  assert others != together
  mixed = ask(checkpoint, chats, temperatures=(0.0, 1.0))
  assert mixed[1::3] == together[1::3]
  assert [a.text for a in mixed[::3]] == [
    a.text for a in ask(checkpoint, chats_of())
  ]


def test_what_the_model_cannot_read_has_a_reason(checkpoint):
  long = Chat([{'role': 'user', 'content': 'You see a box. ' * 50}])
  fine, failure = ask(checkpoint, [chats_of()[0], long])
  assert isinstance(fine, Answer)
  assert isinstance(failure, Failure) and failure.reason == 'too long'
  assert failure.detail.endswith(f'an answer, of {MAX_TOKENS}')
  (only,) = ask(checkpoint, [long])
  assert only == failure, 'and it ends no run'


def test_a_folder_that_is_trained_anew_is_another_model(checkpoint, tmp_path):
  name = functools.partial(_name, tmp_path)
  assert name(checkpoint) == name(checkpoint)
  assert name(checkpoint) != name(write(tmp_path / 'ours', seed=1))


def _name(tmp_path, checkpoint):
  config = endpoint(temperature=0.0, max_tokens=4)
  config.checkpoint = str(checkpoint)
  return LanguageModel(config, 'config.x', tmp_path).name


def test_explore_asks_it_in_place_of_an_endpoint(checkpoint, tmp_path, capsys):
  config = default()
  config.env.name = 'toy'
  config.collect.trajectories = 2
  config.explore.k = 2
  config.explore.proposers = {'openai': 1.0}
  config.explore.openai.update(
    checkpoint=str(checkpoint),
    max_tokens=12,
    concurrency=8,
    context_tokens=MAX_TOKENS,
  )
  collect.collect_from(ToyEnv(), config, tmp_path)
  summary = explore.explore_in(ToyEnv(), config, tmp_path)
  states = sum(len(t.steps) for t in records.read(tmp_path / 'explore'))
  assert summary['answers']['requests'] == 2 * states
  assert summary['answers']['input_tokens'] > 0
  assert ' answers of ours ' in capsys.readouterr().out


def test_bad_settings_end_in_one_line(checkpoint, tmp_path):
  with pytest.raises(UserError, match='nothing has no tokenizer beside it'):
    ask(tmp_path / 'nothing', [])
  with pytest.raises(UserError, match='config.x has a checkpoint beside model'):
    ask(checkpoint, [], model='tiny')
  tiny_tokenizers.write(tmp_path / 'half' / 'tokenizer', 'llama3')
  with pytest.raises(UserError, match='holds no checkpoints'):
    ask(tmp_path / 'half', [])
