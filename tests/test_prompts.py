"""Prompts are files; each slot of each is filled by those who use it."""

import importlib.resources

import pytest

from early_experience import summarise
from early_experience.experience.answer_format import find_format
from early_experience.exploration import served
from early_experience.exploration.proposers import Context
from early_experience.language import prompts
from early_experience.reflection import openai_writer
from early_experience.runtime.errors import UserError


def test_every_prompt_is_named_by_its_version_and_used():
  files = importlib.resources.files(prompts).iterdir()
  names = {f.name[:-4] for f in files if f.name.endswith('.txt')}
  acting = {'act-1', 'react-1', 'long-1', 'options-1', 'proposer-1'}
  assert names == acting | {summarise.PROMPT, openai_writer.PROMPT}
  assert all(name.rpartition('-')[2].isdigit() for name in names)


def test_a_slot_that_is_not_filled_is_an_error():
  with pytest.raises(KeyError, match='outcome'):
    prompts.fill('summary-1', instruction='', observation='', action='')


def test_a_dollar_in_a_text_is_a_dollar():
  slots = {'instruction': '$action', 'observation': '$5', 'action': '${x}'}
  text = prompts.fill('summary-1', outcome='Cost: $9', **slots)
  for said in ('$5', '${x}', '$9', '\n$action\n'):
    assert said in text


class Model:
  where = 'config.explore.openai'


def opening(admissible, **how):
  context = Context('t', 0, 'Go.', ('A room.',), (), admissible)
  proposer = served.Served(Model(), find_format('plain'), **how)
  (chat,) = proposer.chats([context], 1)
  return chat.messages[0]


def test_the_proposers_prompt_lists_what_can_be_done_where_it_is_known():
  listed = opening(('go on', 'go back'), prompt='proposer-1')
  assert listed['role'] == 'system'
  assert '- go on\n- go back\n' in listed['content']
  unlisted = opening(None, prompt='proposer-1')
  assert unlisted['role'] == 'system'
  assert 'would accept' not in unlisted['content']
  assert opening(None)['role'] == 'user'


def test_a_prompt_that_there_is_not_ends_in_one_line():
  with pytest.raises(
    UserError, match="openai.prompt is 'proposer', not one of: .*proposer-1, "
  ):
    opening(None, prompt='proposer')
  with pytest.raises(UserError, match='openai has both system and prompt'):
    opening(None, prompt='proposer-1', system='Go on.')


def test_a_prompts_name_is_part_of_the_request():
  context = Context('t', 0, 'Go.', ('A room.',), (), None)
  proposer = served.Served(Model(), find_format('plain'), prompt='proposer-1')
  first, second = proposer.chats([context], 2)
  assert first.prompt == 'proposer-1' and first.messages is second.messages
  assert (first.sample, second.sample) == (0, 1)
