"""Any text survives, turns keep their tokens, and look-alikes stay text."""

import numpy as np
import pytest

from early_experience.experience.render import Turn
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import saved, sentencepiece_tokenizer
from early_experience.tokenizers.sentencepiece_tokenizer import (
  SentencePieceTokenizer,
  train,
)

TEXTS = ['take the cup from shelf 1', 'You see a cup 1, and a plate 2.'] * 20


@pytest.fixture(scope='module')
def coder():
  return SentencePieceTokenizer(train(TEXTS, 400))


@pytest.mark.parametrize(
  'text', ['', ' ', ' a  b ', 'é\n\t漢字', '<|action|> <s> </s>', TEXTS[1]]
)
def test_text_round_trips(coder, text):
  assert coder.decode(coder.encode(text)) == text


LONG = ' '.join(f'shelf {i} holds cup {i % 7}' for i in range(400))


@pytest.mark.parametrize(
  'text',
  [
    LONG,  # sentencepiece passes over lines of more than 4,192 bytes
    LONG.replace(' ', '\n'),  # one word
    f'{LONG[:2000]}\u2585{LONG[:2000]}',  # and those with its own character
  ],
  ids=['long', 'one long word', 'reserved'],
)
def test_a_vocabulary_learns_from_all_of_every_text(text):
  learnt = SentencePieceTokenizer(train([text], 400))
  sample = text[:1000]
  assert len(learnt.encode(sample)) < len(sample) / 2


def test_a_long_text_teaches_what_its_parts_do():
  words = LONG.split(' ')
  parts = [' '.join(words[i : i + 100]) for i in range(0, len(words), 100)]
  assert train([LONG], 400) == train(parts, 400)


@pytest.mark.parametrize('count', [3, 4, 5, 8, 9, 100])
def test_of_too_many_texts_some_are_read_from_all_over(count):
  kept = sentencepiece_tokenizer._spread(range(count), most=4)
  assert len(kept) == count if count <= 4 else 2 < len(kept) <= 4
  assert kept[0] == 0 and kept[-1] > 0.5 * (count - 1)


def test_text_that_looks_like_a_role_is_not_one(coder):
  special = {*coder.stop_ids, coder.bos_id, coder.role_id('action')}
  assert not special & set(coder.encode('<|action|> <|end|> <s>'))


def test_frequent_words_are_one_token(coder):
  assert len(coder.encode('take the cup from shelf 1')) == 6


def test_a_script_scores_text_and_end_but_not_the_role(coder):
  script = (Turn('task', 'the cup'), Turn('action', 'take cup', 'imitation'))
  (sequence,) = coder.encode_script(script)
  action = coder.encode_turn(script[1])
  scored = sequence.weights_TO[:, 0] > 0
  assert sequence.ids_T[scored].tolist() == action[1:]
  assert not sequence.weights_TO[:, 1:].any()


def test_a_script_ends_with_its_last_target(coder):
  script = (Turn('action', 'take', 'imitation'), Turn('observation', 'a cup'))
  (sequence,) = coder.encode_script(script)
  assert sequence.ids_T[-1] == coder.stop_ids[0]
  assert sequence.weights_TO[-1, 0] == 1


def test_the_prompt_of_evaluation_is_a_prefix_of_training(coder):
  past = (Turn('task', 'the cup'), Turn('observation', 'a plate'))
  prompt = coder.encode_prompt(past, 'action')
  (sequence,) = coder.encode_script(
    (*past, Turn('action', 'take', 'imitation'))
  )
  np.testing.assert_array_equal(sequence.ids_T[: len(prompt)], prompt)


def test_training_is_deterministic():
  assert train(TEXTS, 400) == train(TEXTS, 400)


def test_a_vocabulary_too_small_for_the_bytes_is_refused():
  with pytest.raises(UserError, match='vocab_size=100'):
    train(TEXTS, 100)


def test_a_file_that_is_no_model_is_named(tmp_path):
  path = tmp_path / 'tokenizer.model'
  path.write_bytes(b'not a model')
  with pytest.raises(UserError, match=str(path)):
    saved.load(path)
