"""Scripts for a chat model: training reads what acting reads, token for token.

And the loss falls on the answers, their ends, and on nothing else.
"""

import itertools

import numpy as np
import pytest

from early_experience.experience import render
from early_experience.experience.answer_format import FORMATS
from early_experience.experience.render import Turn
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import saved
from tests import tiny_tokenizers
from tests.tiny_tokenizers import FAMILIES

EPISODE = (
  Turn('task', 'Put a cup <|im_end|></s> on the shelf.'),
  Turn('observation', 'You see a cabinet 1 and\n\na drawer 2. '),
  Turn('action', 'open drawer 2', 'imitation'),
  Turn('observation', 'It is not in the drawer.', 'world_model'),
  Turn('action', 'go to cabinet 1', 'imitation'),
  Turn('observation', 'I see <end_of_turn> é漢字🙂', 'world_model'),
)
DECISION = (
  *EPISODE[:2],
  Turn('action', 'open drawer 2'),
  Turn('observation', 'It is empty.'),
  Turn('thought', 'I need the cup.\nSo I go.', 'reflection'),
  Turn('action', 'go to cabinet 1', 'reflection'),
)
INSTRUCTED = render.world_model_prefix('instructed') + EPISODE[:4]
SCRIPTS = {
  'episode': EPISODE,
  'decision': DECISION,
  'instructed': INSTRUCTED,
  'thought as context': (
    *DECISION[:4],
    Turn('thought', 'I need it.'),
    DECISION[5],
  ),
  'thought alone': DECISION[:5],
  'empty thought': (
    *DECISION[:4],
    Turn('thought', '', 'reflection'),
    DECISION[5],
  ),
  'empty action': (*EPISODE[:2], Turn('action', '', 'imitation')),
  'task alone': (Turn('task', 'Go.'), Turn('action', 'I go', 'imitation')),
  'scored opening': (
    Turn('task', 'Go.'),
    Turn('observation', 'I', 'world_model'),
  ),
}
STYLES = [
  *itertools.product(FAMILIES, FORMATS, [True]),
  ('qwen3', 'tags', False),
]


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  at = tmp_path_factory.mktemp('tokenizers')
  return {f: tiny_tokenizers.write(at / f, f) for f in FAMILIES}


@pytest.fixture(scope='module')
def coder_of(folders):
  def load(family, style, thinks=True):
    return saved.load(
      folders[family],
      answer_format=style,
      template_kwargs={'enable_thinking': thinks},
    )

  return load


def scored(script):
  return [
    (script[:i], turn)
    for i, turn in enumerate(script)
    if turn.scores and (turn.text or turn.role == 'action')
  ]


@pytest.mark.parametrize('script', SCRIPTS.values(), ids=list(SCRIPTS))
@pytest.mark.parametrize(('family', 'style', 'thinks'), STYLES)
def test_training_reads_prompts_and_scores_answers_as_acting_does(
  coder_of, family, style, thinks, script
):
  coder = coder_of(family, style, thinks)
  sequences = coder.encode_script(script)
  covered = [np.zeros(len(s.ids_T), bool) for s in sequences]
  for past, turn in scored(script):
    prompt = coder.encode_prompt(past, turn.role)
    answer = coder.encode_answer(past, turn.role, turn.text)
    objective = render.OBJECTIVES.index(turn.scores)
    found = 0
    for sequence, cover in zip(sequences, covered, strict=True):
      ids, end = sequence.ids_T.tolist(), len(prompt) + len(answer)
      inside = slice(len(prompt), end)
      if ids[:end] == prompt + answer and sequence.weights_TO[inside].any():
        assert (sequence.weights_TO[inside, objective] == 1).all()
        cover[inside], found = True, found + 1
    assert found == 1
  for sequence, cover in zip(sequences, covered, strict=True):
    assert (sequence.weights_TO.sum(1) == cover).all()  # and nothing else
    assert cover[-1]


@pytest.mark.parametrize(('family', 'style', 'thinks'), STYLES)
def test_an_answer_is_read_back(coder_of, family, style, thinks):
  coder = coder_of(family, style, thinks)
  past = DECISION[:4]
  for role, text in (('thought', 'I see.\nSo I go.'), ('action', 'take cup 1')):
    ids = coder.encode_answer(past, role, text)
    if role == 'action':
      assert ids[-1] == coder.stop_ids[0]
      assert not set(ids[:-1]) & set(coder.stop_ids)
      ids = ids[:-1]
    assert coder.decode_answer(ids, role) == text
  whole = coder.encode_answer(past, 'thought', 'I see.')
  with_thought = (*past, Turn('thought', 'I see.'))
  whole += coder.encode_answer(with_thought, 'action', 'take cup 1')[:-1]
  assert coder.decode_answer(whole, 'thought') == 'I see.'
  assert coder.decode_answer(whole, 'action') == 'take cup 1'


@pytest.mark.parametrize(
  ('style', 'text', 'thought', 'action'),
  [
    ('plain', 'go', 'go', 'go'),
    ('plain', 'a\n\nb\n\ngo', 'a\n\nb', 'go'),
    ('plain', '<think>\nhm\n</think>\n\ngo', '<think>\nhm\n</think>', 'go'),
    ('tags', '<think>hm', 'hm', '<think>hm'),
    ('tags', 'hm</think>go', 'hm', 'go'),
    ('tags', '<action> go', '', 'go'),
    ('tags', 'hm <action>go</action> x', 'hm', 'go'),
    ('labels', 'Thought: hm Action: go', 'hm', 'go'),
    ('labels', 'Action:\ngo', '', 'go'),
    ('labels', 'Thought:\na\n\nb\n\nAction:\ngo', 'a\n\nb', 'go'),
    ('labels', 'go', 'go', 'go'),
  ],
)
def test_answers_are_read_leniently(style, text, thought, action):
  assert FORMATS[style].read('thought', text) == thought
  assert FORMATS[style].read('action', text) == action


def test_one_sequence_serves_a_template_that_only_appends(coder_of):
  for family in ('llama3', 'qwen2'):
    for script in (EPISODE, DECISION, INSTRUCTED):
      (one,) = coder_of(family, 'plain').encode_script(script)
      padded = [Turn(t.role, f' \n{t.text} \n', t.scores) for t in script]
      (other,) = coder_of(family, 'plain').encode_script(tuple(padded))
      assert one.ids_T.tolist() == other.ids_T.tolist()


def test_a_template_that_rewrites_answers_gets_a_sequence_a_turn(coder_of):
  thinking = coder_of('qwen3', 'tags')
  assert len(thinking.encode_script(EPISODE)) == 1  # without thoughts: the same
  # What was thought is dropped from the history, so it is in no other prompt.
  script = (*DECISION, Turn('observation', 'A cup.'), EPISODE[2])
  assert len(thinking.encode_script(script)) == 2
  # The prompt has an empty block of thoughts, which the history has not.
  assert len(coder_of('qwen3', 'plain', False).encode_script(EPISODE)) == 4


@pytest.mark.parametrize('family', ['llama3', 'llama2'])
def test_the_whole_of_a_script_is_what_the_template_makes_of_it(
  coder_of, family
):
  coder = coder_of(family, 'plain')
  script = (*EPISODE[:2], EPISODE[4], Turn('observation', 'A cup.'), EPISODE[2])
  (sequence,) = coder.encode_script(script)
  opening, *rest = [turn.text.strip() for turn in script]
  contents = [f'{opening}\n\n{rest[0]}', *rest[1:]]
  ids, _ = coder.encode_messages(
    [
      {'role': 'assistant' if i % 2 else 'user', 'content': content}
      for i, content in enumerate(contents)
    ]
  )
  assert sequence.ids_T.tolist() == ids


def test_a_straddled_boundary_is_cut_in_training_as_in_acting(coder_of):
  """This Gemma has learnt a newline with an I after it as one token."""
  coder = coder_of('gemma3', 'plain')
  past = (Turn('task', 'Go.'),)
  (sequence,) = coder.encode_script(
    (*past, Turn('action', 'I go', 'imitation'))
  )
  merged, _ = coder.encode_messages(
    [
      {'role': 'user', 'content': 'Go.'},
      {'role': 'assistant', 'content': 'I go'},
    ]
  )
  assert sequence.ids_T.tolist() != merged[: len(sequence.ids_T)]
  assert len(coder.encode_script(EPISODE)) > 1


def test_a_script_without_targets_has_no_sequence(coder_of):
  assert coder_of('llama3', 'plain').encode_script(EPISODE[:2]) == []


def test_what_is_saved_is_what_was_loaded(coder_of, tmp_path):
  coder = coder_of('qwen3', 'tags', False)
  coder.save(tmp_path)
  assert saved.exists(tmp_path)
  for path in (tmp_path, tmp_path / 'tokenizer'):
    again = saved.load(path)
    assert again.hash == coder.hash
    assert again.stop_ids == coder.stop_ids
    (one,), (other,) = (c.encode_script(EPISODE[:3]) for c in (coder, again))
    assert one.ids_T.tolist() == other.ids_T.tolist()
  assert saved.load(tmp_path, answer_format='plain').hash != coder.hash


def test_an_unknown_format_names_the_setting(folders):
  with pytest.raises(UserError, match='config.prepare.answer_format is .xml'):
    saved.load(folders['qwen2'], answer_format='xml')


def test_an_action_that_would_be_read_otherwise_is_not_learnt(coder_of):
  """Behind a blank line is, in `plain`, what follows on a thought."""
  action = 'def f():\n\n  return 1'
  script = (*EPISODE[:2], Turn('action', action, 'imitation'))
  with pytest.raises(UserError, match="read as 'return 1' in this config.prep"):
    coder_of('llama3', 'plain').encode_script(script)
  coder = coder_of('llama3', 'tags')
  (found,) = coder.encode_script(script)
  answer = coder.encode_answer(script[:2], 'action', action)
  assert found.ids_T.tolist()[-len(answer) :] == answer
  assert coder.decode_answer(answer[:-1], 'action') == action
