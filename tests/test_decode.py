"""Acting: the cached decoder says what the model says of the whole text."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from early_experience.decoding import attention, decode
from early_experience.decoding.trie import Trie
from early_experience.model import table
from early_experience.model.transformer import hidden, output_head
from early_experience.runtime.errors import UserError
from tests.close import FLOAT64, assert_exact
from tests.decode_case import CAPACITY, STOP, B, Talk
from tests.model_case import VOCAB, flat, make_cfg, make_mesh, make_params
from tests.textbook import GEMMA3


@pytest.fixture(autouse=True)
def mesh():
  with jax.enable_x64(), jax.set_mesh(make_mesh()):
    yield


@pytest.fixture
def cfg(mesh):
  return make_cfg(qkv_bias=True, **GEMMA3, **FLOAT64)  # windows, and all else


@pytest.fixture
def params(cfg):
  return make_params(cfg)


def forced(params, cfg, texts):
  """Logits [B, T, V] at each token of each text, without a cache."""
  tokens_BT = np.zeros((B, CAPACITY), np.int32)
  for tokens_T, text in zip(tokens_BT, texts, strict=True):
    tokens_T[: len(text)] = text

  @jax.jit
  def run(params):
    h_BTD = hidden(params, tokens_BT, *flat(tokens_BT), cfg)
    return jnp.einsum('btd,vd->btv', h_BTD, output_head(params, cfg))

  return np.asarray(run(params))


def test_turns_of_ragged_texts_equal_teacher_forcing(params, cfg):
  talk = Talk(params, cfg)
  turns = [
    ([5, 6, 7], [8], [9, 10, 11, 12, 13, 14], [3, 3]),
    ([15], [16, 17, 18, 19], [20], [21, 22, 23, 24, 25, 26]),
    ([], [27], [], [28, 29]),
  ]
  for turn in turns:
    talk.feed(*turn)
    talk.check()
    expected_BTV = forced(params, cfg, talk.texts)
    for row, (new, text) in enumerate(zip(turn, talk.texts, strict=True)):
      if new:
        assert_exact(talk.logits_BV[row], expected_BTV[row, len(text) - 1])


def test_a_cache_is_read_block_by_block(params, cfg, monkeypatch):
  monkeypatch.setattr(attention, '_BLOCK', 5)
  talk = Talk(params, cfg, capacity=24)  # the last block is a part of one
  for turn in ([5, 6, 7, 8, 9], [10, 11, 12, 13, 14, 15], [16], [17] * 6):
    talk.feed(turn, turn[:1], turn[1:], turn[4:5])
  talk.say((True, True, True, False))
  talk.feed([18], [19], [20], [21])
  assert min(talk.lengths) < 5 and max(talk.lengths) > 20
  expected_BTV = forced(params, cfg, talk.texts)
  for row, text in enumerate(talk.texts):
    assert_exact(talk.logits_BV[row], expected_BTV[row, len(text) - 1])


def test_greedy_generation_is_the_likeliest_token_each_time(params, cfg):
  talk = Talk(params, cfg)
  talk.feed([5, 6, 7], [8], [9, 10, 11, 12], [3, 3])
  before = [len(text) for text in talk.texts]
  said = talk.say(active=(True, True, False, True))
  talk.check()
  assert said[2] == []
  expected_BTV = forced(params, cfg, talk.texts)
  for row in (0, 1, 3):
    assert said[row][-1] == STOP and len(said[row]) <= 5
    for place, token in enumerate(said[row]):
      likeliest = expected_BTV[row, before[row] - 1 + place].argmax()
      assert token == likeliest or place == 4 and token == STOP
  talk.feed([30], [31, 32], [33], [])  # and the cache goes on from there
  expected_BTV = forced(params, cfg, talk.texts)
  for row in range(3):
    last = len(talk.texts[row]) - 1
    assert_exact(talk.logits_BV[row], expected_BTV[row, last])


def test_a_thought_is_forgotten_by_setting_the_length_back(params, cfg):
  thinks, silent = Talk(params, cfg), Talk(params, cfg)
  for talk in (thinks, silent):
    talk.feed([5, 6, 7], [8], [9, 10, 11, 12], [3, 3])
  length_B = thinks.cache.length_B
  texts = [list(text) for text in thinks.texts]
  thinks.say(active=(True, False, True, True), temperature=1.0)
  assert thinks.lengths != np.asarray(length_B).tolist()
  thinks.cache = thinks.cache.replace(length_B=length_B)
  thinks.texts, thinks.unread = texts, [[] for _ in range(B)]
  for talk in (thinks, silent):
    talk.feed([4], [13, 14], [], [15])
  thinks.check()
  for row in (0, 1, 3):
    np.testing.assert_array_equal(thinks.logits_BV[row], silent.logits_BV[row])


def test_a_trie_leaves_only_its_members(params, cfg):
  members = [
    [[5, STOP], [5, 6, STOP], [7, 8, 9, STOP]],
    [[10, STOP]],
    [[11, 12, STOP], [11, 13, STOP], [14, STOP]],
    [],
  ]
  trie = Trie.build(members)
  heard = [set() for _ in members]
  for seed in range(20):
    talk = Talk(params, cfg)
    talk.feed([3], [4], [3], [4])
    said = talk.say((True, True, True, False), seed, temperature=8.0, trie=trie)
    for row in range(3):
      assert said[row] in members[row]
      heard[row].add(tuple(said[row]))
    assert said[3] == []
    talk.check()
  assert [len(row) for row in heard] == [3, 1, 3, 0]  # each can be reached


def test_a_trie_takes_the_likeliest_of_the_tokens_it_allows(params, cfg):
  talk = Talk(params, cfg)
  talk.feed([3], [4], [5], [6])
  allowed = list(range(10, 30))
  first_BV = np.asarray(talk.logits_BV)
  said = talk.say(trie=Trie.build([[[token, STOP] for token in allowed]] * B))
  for row in range(B):
    assert said[row][0] == allowed[first_BV[row, allowed].argmax()]


def test_a_trie_that_cannot_be_followed_is_refused(params, cfg):
  talk = Talk(params, cfg)
  talk.feed([3], [4], [5], [6])
  with pytest.raises(ValueError, match='6 tokens'):
    talk.say(trie=Trie.build([[[5, 5, 5, 5, 5, STOP]]] * B))
  with pytest.raises(ValueError, match='empty trie'):
    talk.say(trie=Trie.build([[[5, STOP]]] * 3 + [[]]))


@pytest.mark.parametrize('temperature', [0.0, 1.0, 100.0])
def test_rows_of_the_embedding_that_no_token_has_are_never_said(
  params, cfg, temperature
):
  talk = Talk(params, cfg)
  talk.feed([5, 6, 7], [8], [9, 10, 11, 12], [3, 3])
  talk.logits_BV = np.where(np.arange(VOCAB) < 30, talk.logits_BV, 1e9)
  said = talk.say(temperature=temperature, vocab=30, max_tokens=20)
  assert max(sum(said, [])) < 30
  assert all(said)


def test_sampling_follows_the_key_and_the_temperature(params, cfg):
  def sample(seed, temperature):
    talk = Talk(params, cfg)
    talk.feed([5, 6, 7], [8], [9, 10, 11, 12], [3, 3])
    return talk.say(seed=seed, temperature=temperature)

  assert sample(0, 2.0) == sample(0, 2.0) != sample(1, 2.0)
  assert sample(0, 1e-4) == sample(1, 1e-4) == sample(0, 0.0)


def test_a_row_with_a_key_of_its_own_samples_the_same_anywhere(params, cfg):
  keys = jax.random.split(jax.random.key(0), B)
  said = []
  for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
    texts = [[5, 6, 7], [8], [9, 10, 11, 12], [3, 3]]
    talk = Talk(params, cfg)
    talk.feed(*[texts[row] for row in order])
    rows = talk.say(seed=keys[np.array(order)], temperature=2.0)
    said.append({row: text for row, text in zip(order, rows, strict=True)})
  assert said[0] == said[1]


def test_sampled_frequencies_are_the_softmax_of_the_logits(params, cfg):
  """A model of zeros finds all tokens alike, after the first logits given."""
  logits_V = np.log([0.5, 0.3, 0.15, 0.05] + [1e-9] * (VOCAB - 4))
  rows = 2000
  tokens_BM, counts_B, *_ = decode.generate(
    jax.tree.map(jnp.zeros_like, params),
    decode.init_cache(cfg, rows, 4),
    jnp.tile(logits_V, (rows, 1)),
    jax.random.key(0),
    np.ones(rows, bool),
    cfg=cfg,
    stop_ids=(STOP,),
    vocab=VOCAB,
    max_tokens=4,
    temperature=1.0,
  )
  tokens_BM = np.asarray(tokens_BM)
  share = np.bincount(tokens_BM[:, 0], minlength=4) / rows
  np.testing.assert_allclose(share[:4], [0.5, 0.3, 0.15, 0.05], atol=0.04)
  whole_BM = tokens_BM[np.asarray(counts_B) == 4]
  assert (whole_BM[:, 1] == whole_BM[:, 2]).mean() < 3 / VOCAB


def test_a_full_cache_says_so_and_keeps_what_it_holds(params, cfg):
  talk = Talk(params, cfg)
  for _ in range(5):
    talk.feed([5, 6, 7, 8, 9, 10], [5], [5], [5])
  assert talk.lengths[0] == 30 <= talk.cache.capacity
  talk.feed([11, 12, 13], [14], [15], [16])
  assert talk.lengths[0] == 33 > talk.cache.capacity
  lengths = np.array([30, *talk.lengths[1:]], np.int32)
  talk.cache = talk.cache.replace(length_B=lengths)
  talk.texts[0] = talk.texts[0][:30]
  talk.feed([11, 12], [], [], [])  # the last that fit: nothing was damaged
  assert_exact(talk.logits_BV[0], forced(params, cfg, talk.texts)[0, 31])


def test_sharded_generation_equals_unsharded():
  cfg = make_cfg(kv_heads=4, **FLOAT64)
  trie = Trie.build([[[5, 6, STOP], [7, STOP], [8, 9, STOP]]] * 4)
  said = []
  for sizes in ((1, 1, 1), (2, 1, 4)):
    mesh = make_mesh(*sizes)
    with jax.set_mesh(mesh):
      shardings = table.param_shardings(cfg, mesh)
      talk = Talk(jax.device_put(make_params(cfg), shardings), cfg)
      talk.feed([5, 6, 7], [8], [], [3, 3])
      turns = [talk.say((True, True, False, True), temperature=1.0)]
      talk.feed([11], [12, 13], [14], [15])
      turns.append(talk.say(seed=1, temperature=1.0, trie=trie))
      said.append(turns)
  assert said[0] == said[1]


def test_rows_that_cannot_be_split_are_refused(cfg):
  with (
    jax.set_mesh(make_mesh(8)),
    pytest.raises(UserError, match='4 rows .* 8 devices'),
  ):
    decode.init_cache(cfg, B, CAPACITY)
