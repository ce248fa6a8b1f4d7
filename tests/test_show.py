"""One can read what is trained: each turn, its weight, and where it ends."""

import io
import re

import pytest

from configs import tiny
from early_experience import chats, prepare
from early_experience.collect import collect_from
from early_experience.experience import records, render
from early_experience.explore import explore_in
from early_experience.preparation import show, vocabulary
from early_experience.recipes import row_sets
from early_experience.reflect import reflect
from early_experience.runtime.errors import UserError
from tests import tiny_tokenizers
from tests.chat_case import EPISODE, WITH_TOOLS, write
from tests.toy_env import ToyEnv

ENDS = {'llama3': '<|eot_id|>', 'qwen2': '<|im_end|>', 'qwen3': '<|im_end|>'}
ENDS |= {'gemma3': '<end_of_turn>', 'llama2': '</s>'}


def settings(**changes):
  config = tiny.get_config()
  config.collect.trajectories = 3
  config.prepare.rows = row_sets(('expert', 'joint'), k=2)
  config.prepare.held_out = 0.0
  config.prepare.update(changes)
  return config


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  folder, env = tmp_path_factory.mktemp('run'), ToyEnv()
  collect_from(env, settings(), str(folder))
  explore_in(env, settings(), str(folder))
  reflect(settings(), str(folder))
  return folder


@pytest.fixture
def shown(workdir, capsys):
  def show_one(which='1', folder=workdir, **changes):
    capsys.readouterr()
    prepare.show_one(settings(**changes), str(folder), which)
    return capsys.readouterr().out

  return show_one


def texts(page, label):
  """What has a label in front, whole turns."""
  return re.findall(rf'^{label} 1 *\| (.*)$', page, re.M)


def test_each_turn_is_shown_with_what_it_is_scored_for(workdir, shown):
  page = shown()
  trajectory = next(records.read(workdir / 'reflect'))
  assert f'task {trajectory.task_id}: ' in page
  end = '«<|end|>»'
  assert set(texts(page, 'imitation')) == {
    step.action + end for step in trajectory.steps
  }
  outcomes = {trajectory.outcome(i) for i in range(len(trajectory.steps))}
  thoughts = set()
  for step in trajectory.steps:
    outcomes |= {other.observation for other in step.alternatives[:2]}
    thoughts |= {rationale.text for rationale in step.rationales}
  assert set(texts(page, 'world_model')) == {told + end for told in outcomes}
  assert {text + end for text in thoughts} < set(texts(page, 'reflection'))
  assert f'context       | «<s>»«<|task|>»{trajectory.instruction}{end}' in page
  assert not (workdir / 'prepare').exists()


def test_another_may_be_named_and_its_rows(workdir, shown):
  last = list(records.read(workdir / 'reflect'))[-1]
  page = shown(f'{last.task_id}:expert')
  assert page.startswith('rows expert (others: joint)\n')
  assert page == shown('3:expert')
  assert not texts(page, 'world_model')
  for which in ('4', '0', 'nowhere'):
    with pytest.raises(UserError, match=f'no {which!r} among 3 trajectories'):
      shown(which)


def test_its_numbers_are_those_of_the_rows(workdir, shown, tmp_path):
  pages = [shown(str(i)) for i in (1, 2, 3)]
  summary = prepare.prepare(settings(), str(workdir))
  scored = summary['rows']['joint']['scored']
  flat = [int(re.search(r'(\d+) tokens flat', page)[1]) for page in pages]
  assert sum(flat) == summary['rows']['joint']['flat_tokens']
  for name in render.OBJECTIVES:
    told = [re.search(rf'^weight: .*{name} (\d+)', p, re.M)[1] for p in pages]
    assert sum(map(int, told)) == scored[name]
  assert shown() == pages[0], 'with the tokenizer that is there'
  with pytest.raises(UserError, match='begun with other settings'):
    shown(vocab_size=300)
  (workdir / 'prepare').rename(tmp_path / 'prepare')


def test_what_does_not_fit_is_not_trained_and_not_shown(workdir, shown):
  whole = shown('1:expert')
  actions = texts(whole, 'imitation')
  length = int(re.search(r'(\d+) tokens flat', whole)[1])
  page = shown('1:expert', row_tokens=length - 1)
  assert f'{len(actions) - 1} of {len(actions)} decisions' in page
  assert texts(page, 'imitation') == actions[:-1]


@pytest.mark.parametrize('family', tiny_tokenizers.FAMILIES)
def test_of_an_imported_chat_the_answers_and_their_ends(
  tmp_path, shown, family
):
  given = str(tiny_tokenizers.write(tmp_path / 'model', family))
  write(tmp_path / 'expert.jsonl', {'messages': EPISODE})
  chats.import_chats(str(tmp_path), str(tmp_path))
  page = shown(
    folder=tmp_path, source='import', tokenizer=given, row_tokens=2048
  )
  assert 'chats-00000.jsonl line 1: ' in page
  lines = [x for x in page.splitlines() if x.startswith('imitation 1')]
  assert sum(f'«{ENDS[family]}»' in line for line in lines) == 2
  for word in ('open it', '</action>'):
    assert any(word in line for line in lines)
  assert any('<|im_end|> a cup.' in x for x in page.splitlines()), 'as text'
  with pytest.raises(
    UserError, match="'2' is no number of a chat, from 1 to 1"
  ):
    shown('2', tmp_path, source='import', tokenizer=given, row_tokens=2048)


def test_calls_of_tools_are_shown_as_they_are_written(tmp_path, shown):
  given = str(tiny_tokenizers.write(tmp_path / 'model', 'qwen2'))
  write(tmp_path / 'expert.jsonl', WITH_TOOLS)
  chats.import_chats(str(tmp_path), str(tmp_path))
  page = shown(
    folder=tmp_path, source='import', tokenizer=given, row_tokens=2048
  )
  assert re.search(r'^imitation 1 .*"name": "go"', page, re.M)
  assert re.search(r'^context .*<tool_response>', page, re.M)


def test_colours_are_for_terminals_whose_users_want_them(monkeypatch, workdir):
  terminal = io.StringIO()
  monkeypatch.delenv('NO_COLOR', raising=False)
  assert not show.in_colour(terminal)
  terminal.isatty = lambda: True
  assert show.in_colour(terminal)
  monkeypatch.setenv('NO_COLOR', '1')
  assert not show.in_colour(terminal)
  source = prepare._source(settings(), str(workdir))
  source.split(0.0, 0)
  coder = vocabulary.tokenizer(source, settings())
  group = source.pick('1', settings().prepare.rows.joint, coder)
  plain, painted = (
    list(show.lines(group, coder, 512, colour)) for colour in (False, True)
  )
  assert [re.sub('\033\\[\\d*m', '', line) for line in painted] == plain
  codes = {line.split('m')[0] for line in painted if '| ' in line}
  assert len(codes) == 4, 'one for each objective, and one for context'


def test_no_text_commands_the_terminal():
  assert show._written('a\033[2Jb\tc\nd', False) == 'a\\x1b[2Jb\\tc↵d'


def test_what_a_terminal_cannot_show_is_escaped(monkeypatch):
  raw = io.BytesIO()
  monkeypatch.setattr('sys.stdout', io.TextIOWrapper(raw, 'latin-1'))
  show.put(['«é»↵漢'])
  show.sys.stdout.flush()
  assert raw.getvalue().decode('latin-1') == '«é»\\u21b5\\u6f22\n'
