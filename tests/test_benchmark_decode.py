"""Our decoder and transformers answer the same prompts in one run."""

import pytest

pytest.importorskip('torch')
pytest.importorskip('transformers')

from configs import tiny  # noqa: E402
from early_experience.benchmark import decode  # noqa: E402
from early_experience.runtime.errors import UserError  # noqa: E402

LENGTHS = {'episodes': 1, 'turns': 2, 'opening': 20, 'observation': 6}


def settings():
  config = tiny.get_config()
  config.model.vocab_size = 64
  return config


def test_both_say_the_same_and_are_timed(capsys):
  found = decode.run(settings(), [2], answer=4, **LENGTHS)
  assert found[2]['alike'] == 1
  assert found[2]['compile_seconds'] > 0
  for name in ('ours', 'transformers'):
    for turn in ('first', 'later'):
      figures = found[2][name][turn]
      seconds = 2 * 4 / figures['rate']  # of two answers of four tokens
      assert 0 < figures['first'] < seconds
      assert figures['going_on'] > figures['rate'] * 0.5
  printed = capsys.readouterr().out
  assert 'batch 2: compiled in' in printed
  assert printed.count('times better') == 6


def test_an_answer_has_a_token_after_its_first():
  with pytest.raises(UserError, match='--answer'):
    decode.run(settings(), [1], answer=1, **LENGTHS)
