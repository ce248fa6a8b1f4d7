"""Real weights, where launch/smollm2.sh has made .cache/smollm2 of them."""

import pathlib

import jax
import numpy as np
import pytest

FOLDER = pathlib.Path(__file__).parents[1] / '.cache' / 'smollm2'
pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(not FOLDER.exists(), reason=f'there is no {FOLDER}'),
]
torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')

from early_experience.decoding import decode  # noqa: E402
from early_experience.model import transformer  # noqa: E402
from early_experience.tokenizers import saved  # noqa: E402
from tests import hf_case, model_case  # noqa: E402
from tests.close import assert_exact  # noqa: E402

TEXTS = ('The capital of France is', 'Two plus two is four, and three plus')
NEW = 8


@pytest.fixture(scope='module')
def both():
  """(theirs, its tokenizer, our parameters, their config, their mesh)."""
  load = lambda kind, **settings: kind.from_pretrained(FOLDER, **settings)
  model = load(transformers.AutoModelForCausalLM, dtype=torch.float32).eval()
  words = load(transformers.AutoTokenizer)
  return model, words, *hf_case.load(FOLDER)


def test_logits_are_those_of_transformers(both):
  model, words, params, cfg, mesh = both
  model = hf_case.doubled(model)
  with hf_case.float64(), jax.set_mesh(mesh), torch.no_grad():
    params, cfg = hf_case.doubled_params(params, cfg)
    for text in TEXTS:
      ids_BT = np.array([words(text)['input_ids']], np.int32)
      want_BTV = model(torch.tensor(ids_BT, dtype=torch.long)).logits.numpy()
      hidden_BTD = transformer.hidden(
        params, ids_BT, *model_case.flat(ids_BT), cfg
      )
      head_VD = transformer.output_head(params, cfg)
      assert_exact(np.asarray(hidden_BTD) @ np.asarray(head_VD).T, want_BTV)


def test_it_goes_on_as_in_transformers(both):
  model, words, params, cfg, mesh = both
  ids_BT = np.array([words(TEXTS[0])['input_ids']], np.int32)
  with jax.set_mesh(mesh):
    cache = decode.init_cache(cfg, 1, ids_BT.shape[1] + NEW + 1)
    counts_B = np.full(1, ids_BT.shape[1], np.int32)
    logits_BV, cache = decode.extend(params, cache, ids_BT, counts_B, cfg)
    ours_BM, *_ = decode.generate(
      params,
      cache,
      logits_BV,
      jax.random.key(0),
      np.ones(1, bool),
      cfg=cfg,
      vocab=cfg.vocab_size,
      stop_ids=(cfg.vocab_size,),
      max_tokens=NEW + 1,  # with its end
      temperature=0.0,
    )
  theirs_BT = model.generate(
    torch.tensor(ids_BT, dtype=torch.long),
    max_new_tokens=NEW,
    min_new_tokens=NEW,
    do_sample=False,
  )
  said = words.decode(ours_BM[0, :NEW])
  assert said == words.decode(theirs_BT[0, ids_BT.shape[1] :])
  assert said.startswith(' Paris')


def test_a_chat_is_encoded_as_its_template_says(both):
  _, words, *_ = both
  chat = [{'role': 'user', 'content': 'You see a mug 1.\nGo.'}]
  want = words.apply_chat_template(chat, add_generation_prompt=True)
  want = want['input_ids'] if not isinstance(want, list) else want
  assert saved.load(FOLDER).encode_chat(chat) == want
