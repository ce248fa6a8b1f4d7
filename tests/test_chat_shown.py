"""What a template shows of a record, and where its weight lies."""

import numpy as np
import pytest

from early_experience.experience import render, tree
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import saved
from tests import tiny_tokenizers
from tests.chat_case import EPISODE, WITH_TOOLS, parsed

# As ChatML and the first Llama 3 were: no tools, no calls, whoever speaks.
BASIC = {
  'qwen2': """{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n'
  + m.content + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt
  %}{{ '<|im_start|>assistant\\n' }}{% endif %}""",
  'llama3': """{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>'
  + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}
  {%- endfor %}{% if add_generation_prompt %}{{
  '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}""",
}


@pytest.fixture(scope='module')
def coders(tmp_path_factory):
  at, made = tmp_path_factory.mktemp('tokenizers'), {}
  for family in tiny_tokenizers.FAMILIES:
    made[family] = saved.load(tiny_tokenizers.write(at / family, family))
  for family, text in BASIC.items():
    folder = tiny_tokenizers.write(at / f'basic {family}', family)
    (folder / 'chat_template.jinja').write_text(text, encoding='utf-8')
    made[folder.name] = saved.load(folder)
  return made


SHOWS_NO_TOOLS = ('gemma3', 'llama2', 'basic qwen2', 'basic llama3')


@pytest.mark.parametrize('family', SHOWS_NO_TOOLS)
@pytest.mark.parametrize(
  ('lost', 'value'),
  [
    ('tools', {'messages': EPISODE, 'tools': WITH_TOOLS['tools']}),
    (
      'calls of tools',  # of an answer that is not learnt
      {
        'messages': [
          *WITH_TOOLS['messages'][:2],
          WITH_TOOLS['messages'][2] | {'weight': 0},
          *EPISODE[3:],
        ]
      },
    ),
  ],
  ids=['tools', 'calls'],
)
def test_what_a_template_does_not_show_is_refused(coders, family, lost, value):
  coder = coders[family]
  with pytest.raises(UserError, match=f'chat template leaves out {lost}'):
    coder.encode_record(parsed(value))


def test_turns_that_a_template_passes_over_are_refused(tmp_path):
  folder = tiny_tokenizers.write(tmp_path / 'model', 'qwen2')
  deaf = BASIC['qwen2'].replace('in messages', 'in messages if m.role in asks')
  asks = "{% set asks = ['user', 'assistant'] %}"
  path = folder / 'chat_template.jinja'
  path.write_text(asks + deaf, encoding='utf-8')
  coder = saved.load(folder)
  with pytest.raises(UserError, match='what a message of role system says'):
    coder.encode_record(parsed({'messages': EPISODE}))
  with pytest.raises(UserError, match='what a message of role system says'):
    coder.encode_script(
      render.world_model_prefix('instructed')
      + render.opening('Go.', 'Here.')
      + render.exchange('go', 'There.', 'world_model')
    )


@pytest.mark.parametrize('family', tiny_tokenizers.FAMILIES)
def test_the_end_of_every_answer_carries_weight(coders, family):
  coder = coders[family]
  answers = ['one', 'two\n\n2', '', '漢']
  said = [EPISODE[0]]
  for answer in answers:
    said += [{'role': 'user', 'content': f'And {answer}?'}]
    said += [{'role': 'assistant', 'content': answer}]
  sequences = coder.encode_record(parsed({'messages': said}))
  ends = [
    coder.decode(s.ids_T[a : b - 1].tolist()).strip()
    for s in sequences
    for a, b in tree.targets(s)
    if s.ids_T[b - 1] == coder.stop_ids[0]
    and not set(s.ids_T[a : b - 1].tolist()) & set(coder.stop_ids)
  ]
  assert sorted(ends) == sorted(answers)
  past, script = (), ()
  for answer in answers:
    past += (render.Turn('observation', f'And {answer}?'),)
    act = answer.replace('\n\n', '\n')  # a blank line would end a thought
    script += past[-1:] + (render.Turn('action', act, 'imitation'),)
  sequences = coder.encode_script(script)
  assert len([t for s in sequences for t in tree.targets(s)]) == len(answers)
  for sequence in sequences:
    ends = sequence.ids_T[tree.targets(sequence)[:, 1] - 1]
    assert set(ends.tolist()) == {coder.stop_ids[0]}


def test_an_answer_without_a_prompt_is_no_target(coders):
  """A template without a start: its first token would have no prediction."""
  hello = [{'role': 'assistant', 'content': 'Hello.'}, *EPISODE[1:3]]
  chat = parsed({'messages': hello})
  assert chat.scored == (2,)
  (sequence,) = coders['basic qwen2'].encode_record(chat)
  (target,) = tree.targets(sequence)
  whole, spans = coders['basic qwen2'].encode_messages(hello)
  assert sequence.ids_T.tolist() == whole[: len(sequence.ids_T)]
  assert tuple(target) == (spans[2][0], spans[2][1] + 1)
  with pytest.raises(UserError, match='begins with a target'):
    tree.Sequence(np.arange(2), np.ones((2, 3), np.float32))
