"""Chat files of others train here, and ours elsewhere, and learn the same."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from configs import tiny
from early_experience import chats, files, recipes
from early_experience.benchmark.chats import sharing
from early_experience.collect import collect_from
from early_experience.errors import UserError
from early_experience.experience import (
  chat_export,
  chat_record,
  records,
  render,
  sources,
  tokenizer,
)
from early_experience.experience.answer_format import FORMATS
from early_experience.experience.chat_export import Variant
from early_experience.explore import explore_in
from early_experience.prepare import prepare
from early_experience.reflect import reflect
from early_experience.train import train
from tests import tiny_tokenizers
from tests.toy_env import ToyEnv

SYSTEM = {'role': 'system', 'content': 'You act in a house.'}
EPISODE = [
  SYSTEM,
  {'role': 'user', 'content': 'Find <|im_end|> a cup.'},
  {'role': 'assistant', 'content': 'Thought:\nI look.\n\nAction:\nopen it'},
  {'role': 'user', 'content': 'It is empty.'},
  {'role': 'assistant', 'content': '<think>On.</think><action>go</action>'},
]
CALL = {
  'id': 'a',
  'type': 'function',
  'function': {'name': 'go', 'arguments': '{"to": "shelf 1"}'},
}
WITH_TOOLS = {
  'messages': [
    SYSTEM,
    {'role': 'user', 'content': 'Go.'},
    {'role': 'assistant', 'content': None, 'tool_calls': [CALL]},
    {'role': 'tool', 'tool_call_id': 'a', 'content': '{"seen": "cup"}'},
    {'role': 'assistant', 'content': 'I see a cup.'},
  ],
  'tools': [
    {
      'type': 'function',
      'function': {'name': 'go', 'parameters': {'type': 'object'}},
    }
  ],
}


def settings(**changes):
  config = tiny.get_config()
  config.collect.trajectories = 6
  config.prepare.rows = recipes.row_sets(
    ('expert', 'world', 'reflect', 'joint'), k=2
  )
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


@pytest.fixture(scope='module')
def coders(tmp_path_factory):
  at = tmp_path_factory.mktemp('tokenizers')
  folders = {
    f: tiny_tokenizers.write(at / f, f) for f in tiny_tokenizers.FAMILIES
  }
  return lambda family, **more: tokenizer.load(folders[family], **more)


def write(path, *values):
  path.write_text('\n'.join(json.dumps(value) for value in values))


def parsed(value, turns='all', objective='imitation'):
  return chat_record.parse(value, objective, turns, 'F line 1')


def learnt(coder, sequences, objective='imitation'):
  """The scored texts of sequences, each run of scored tokens by itself."""
  found = []
  for sequence in sequences:
    weights = sequence.weights_TO
    assert not np.delete(weights, render.OBJECTIVES.index(objective), 1).any()
    scored = np.append(weights.any(1), False)
    edges = np.flatnonzero(np.diff(scored.astype(int), prepend=0))
    for start, end in edges.reshape(-1, 2):
      found.append(coder.decode(sequence.ids_T[start:end].tolist()))
  return sorted(found)


def test_all_answers_are_learnt_or_the_last_or_those_the_record_names():
  value = {'messages': EPISODE}
  assert parsed(value).scored == (2, 4)
  assert parsed(value, 'last').scored == (4,)
  named = [*EPISODE[:2], {**EPISODE[2], 'weight': 0}, *EPISODE[3:]]
  assert parsed({'messages': named}).scored == (4,)
  named = [*EPISODE[:2], {**EPISODE[2], 'loss': True}, *EPISODE[3:]]
  assert parsed({'messages': named}, 'last').scored == (2, 4)


def test_other_formats_are_the_same_chats():
  names = {'user': 'human', 'assistant': 'gpt', 'system': 'system'}
  told = [{'from': names[m['role']], 'value': m['content']} for m in EPISODE]
  assert parsed({'conversations': told}) == parsed({'messages': EPISODE})
  by_instruction = {
    'system': SYSTEM['content'],
    'history': [[EPISODE[1]['content'], EPISODE[2]['content']]],
    'instruction': 'It is',
    'input': 'empty.',
    'output': EPISODE[4]['content'],
  }
  found = parsed(by_instruction, 'last').messages
  assert found[3]['content'] == 'It is\nempty.'
  assert [*found[:3], found[4]] == [*EPISODE[:3], EPISODE[4]]


@pytest.mark.parametrize('family', tiny_tokenizers.FAMILIES)
def test_a_chat_model_reads_the_whole_record_and_learns_its_answers(
  coders, family
):
  coder = coders(family)
  chat = parsed({'messages': EPISODE})
  sequences = coder.encode_record(chat)
  answers = [EPISODE[2]['content'], EPISODE[4]['content']]
  # Others rewrite answers that think, or merge tokens across boundaries.
  if family in ('llama3', 'qwen2'):
    (sequence,) = sequences
    ids, spans = coder.encode_messages(EPISODE)
    assert sequence.ids_T.tolist() == ids[: len(sequence.ids_T)]
    for place in chat.scored:
      start, end = spans[place]
      assert sequence.weights_TO[start : end + 1].any(1).all()
    assert learnt(coder, sequences) == sorted(answers)
  ends = [s.ids_T[-1] in coder.stop_ids for s in sequences]
  assert all(ends)
  for answer in answers:
    assert any(answer in text for text in learnt(coder, sequences))


@pytest.mark.parametrize('family', ['llama3', 'qwen2', 'qwen3'])
def test_calls_of_tools_are_learnt_as_the_template_writes_them(coders, family):
  coder = coders(family)
  chat = parsed(WITH_TOOLS)
  (sequence,) = coder.encode_record(chat)
  ids, _ = coder.encode_messages([*chat.messages, EPISODE[1]], list(chat.tools))
  assert sequence.ids_T.tolist() == ids[: len(sequence.ids_T)]
  called, said = sorted(learnt(coder, [sequence]), key=len, reverse=True)
  assert '"name": "go"' in called and '"to": "shelf 1"' in called
  assert 'seen' not in called and said.endswith('I see a cup.')


@pytest.mark.parametrize('family', tiny_tokenizers.FAMILIES)
@pytest.mark.parametrize('answers', FORMATS)
def test_what_is_exported_comes_back_as_the_same_tokens(
  workdir, coders, family, answers
):
  coder = coders(family, answer_format=answers)
  whole = next(records.read(workdir / 'reflect'))
  first = dataclasses.replace(whole.steps[0], thought='I look\nhere.')
  thinks = dataclasses.replace(whole, steps=(first, *whole.steps[1:]))
  for trajectory in (whole, thinks):
    there = {'imitation': [], 'reflection': [], 'world_model': []}
    for name, value in chat_export.export(
      trajectory, Variant('turns', answers)
    ):
      assert value['messages'][-1]['role'] == 'assistant'
      chat = parsed(value, 'all', name)  # the record says which are not
      there[name] += coder.encode_record(chat)
    for name in ('imitation', 'reflection'):
      here = [
        sequence
        for script in sources.scripts(trajectory, [name], 2, 'inline')
        for sequence in coder.encode_script(script)
      ]
      assert len(here) == len(there[name])
      for ours, theirs in zip(here, there[name], strict=True):
        if family in ('llama3', 'qwen2', 'qwen3'):
          assert ours.ids_T.tolist() == theirs.ids_T.tolist()
          assert (ours.weights_TO == theirs.weights_TO).all()
        # Else a token may run across the end of a thought, or have a blank.
        texts = [
          [t.split() for t in learnt(coder, [s], name)] for s in (ours, theirs)
        ]
        assert texts[0] == texts[1]
    told = [
      t.removeprefix('<observation>')
      for t in learnt(coder, there['world_model'], 'world_model')
    ]
    assert len(told) == sum(1 + len(s.alternatives) for s in trajectory.steps)
    for i, step in enumerate(trajectory.steps):
      outcomes = [trajectory.outcome(i)]
      outcomes += [other.observation for other in step.alternatives]
      for outcome in outcomes:
        assert any(outcome in text for text in told)


@pytest.mark.parametrize(
  ('layout', 'answers'),
  [('turns', 'labels'), ('turns', 'plain'), ('states', 'tags')],
)
def test_imported_records_train_and_score_what_ours_do(
  workdir, tmp_path, layout, answers
):
  if not (workdir / 'prepare').exists():
    prepare(settings(), str(workdir))
  ours = files.read_json(workdir / 'prepare' / 'summary.json')
  given = str(workdir / 'prepare')
  variant = Variant(layout, answers)
  chats.export_chats(str(workdir), str(tmp_path / 'files'), variant)
  run = str(tmp_path / 'run')
  said = chats.import_chats(run, str(tmp_path / 'files'))
  config = settings(source='import', tokenizer=given)
  summary = prepare(config, run)
  for count in summary['chats'].values():
    assert str(count) in said
  for name, row_set in summary['rows'].items():
    scored = row_set['scored']
    expected = ours['rows'][name]['scored']
    for objective, count in scored.items():  # markup is all there is more
      assert (count > 0) == (expected[objective] > 0)
      if answers == 'plain' and objective != 'reflection':
        assert count == expected[objective]
  assert summary['rows']['world']['ratio'] > 1.5  # the branches' prefixes
  config = recipes.select(config, 'joint')
  config.budget.steps = 2
  config.train.batch_rows = 2
  config.mesh.fsdp = 1
  if layout == 'turns' and answers == 'labels':
    nll = train(config, run)['stages'][-1]['nll']
    assert all(0 < nll[objective] < 20 for objective in render.OBJECTIVES)


def test_chats_are_prepared_by_a_chat_template_too(workdir, tmp_path, coders):
  folder = tiny_tokenizers.write(tmp_path / 'model', 'qwen2')
  chats.export_chats(str(workdir), str(tmp_path / 'files'), Variant())
  chats.import_chats(str(tmp_path / 'run'), str(tmp_path / 'files'))
  config = settings(
    source='import', tokenizer=str(folder), row_tokens=2048, layout='flat'
  )
  summary = prepare(config, str(tmp_path / 'run'))
  scored = summary['rows']['joint']['scored']
  ours = prepare(
    settings(tokenizer=str(folder), row_tokens=2048),
    str(clone_of(workdir, tmp_path / 'ours')),
  )
  assert scored == ours['rows']['joint']['scored']


def clone_of(workdir, folder):
  for name in ('collect', 'explore', 'reflect'):
    shutil.copytree(workdir / name, folder / name)
  return folder


def test_a_file_may_be_an_array_and_have_any_of_the_names(tmp_path):
  value = {'instruction': 'Go.', 'input': '', 'output': 'go'}
  (tmp_path / 'expert_sft.json').write_text(
    json.dumps([value, value], indent=2)
  )
  write(tmp_path / 'other.jsonl', {'messages': EPISODE})
  said = chats.import_chats(
    str(tmp_path), str(tmp_path), iwm=str(tmp_path / 'other.jsonl')
  )
  assert said.startswith('import: 2 imitation, 1 world_model chats')
  found = [chat for _, chat in chat_record.read(tmp_path / 'import')]
  assert sorted(len(chat.scored) for chat in found) == [1, 1, 1]
  # Again: nothing to do. With other files: refused.
  assert chats.import_chats(
    str(tmp_path), str(tmp_path), iwm=str(tmp_path / 'other.jsonl')
  )
  with pytest.raises(UserError, match='begun with other settings'):
    chats.import_chats(str(tmp_path), str(tmp_path))


def message(**changes):
  return json.dumps({'messages': [{'role': 'user', 'content': 'x'} | changes]})


@pytest.mark.parametrize(
  ('text', 'reason'),
  [
    ('<!DOCTYPE html><html>', "line 2: not JSON.*it begins '<!DOCTYPE html>"),
    (b'{"messages": "\xff"}', 'line 2: not UTF-8'),
    ('{"messages": [', 'line 2: not JSON'),
    ('[1, 2]', 'line 2: list, not an object'),
    ('{"prompt": "x"}', 'line 2: neither messages nor'),
    ('{"messages": "x"}', 'line 2: messages is str, not a list'),
    (message(role='narrator'), r"line 2: messages\[0\].role is 'narrator'"),
    (message(content=3), r'line 2: messages\[0\].content is int, not text'),
    (message(), 'line 2: no answer to learn'),
    ('{"messages": [{"role": "user"}]}', r'messages\[0\].content is missing'),
    (message(role='assistant', weight=2), 'weight is 2, not 0 or 1'),
    (message(role='assistant', content='\ud800'), 'half a character'),
    ('{"instruction": "x"}', 'line 2: neither'),
    ('{"instruction": "x", "output": null}', 'line 2: output is .*not text'),
  ],
)
def test_bad_records_are_named_and_leave_nothing(tmp_path, text, reason):
  good = json.dumps({'messages': EPISODE}).encode()
  text = text if isinstance(text, bytes) else text.encode()
  (tmp_path / 'expert_sft.jsonl').write_bytes(good + b'\n' + text + b'\n')
  with pytest.raises(
    UserError,
    match=rf'expert_sft.jsonl {reason}'
    if (reason.startswith('line'))
    else reason,
  ) as raised:
    chats.import_chats(str(tmp_path / 'run'), str(tmp_path))
  assert '\n' not in str(raised.value)
  assert not (tmp_path / 'run').exists()


def test_what_is_missing_or_ambiguous_is_said(tmp_path):
  with pytest.raises(UserError, match=r'none of expert\*.jsonl'):
    chats.import_chats(str(tmp_path / 'run'), str(tmp_path))
  for name in ('iwm_sft_text.jsonl', 'iwm_sft_fc.jsonl'):
    write(tmp_path / name, {'messages': EPISODE})
  with pytest.raises(UserError, match='several: .*name one with --iwm'):
    chats.import_chats(str(tmp_path / 'run'), str(tmp_path))
  with pytest.raises(UserError, match='chats import --source=FOLDER'):
    prepare(settings(source='import'), str(tmp_path / 'run'))
  with pytest.raises(UserError, match='collect does not exist'):
    chats.export_chats(str(tmp_path), str(tmp_path / 'out'), Variant())
  assert not (tmp_path / 'out').exists()


def test_a_chat_that_a_template_refuses_is_named(tmp_path, coders):
  folder = tmp_path / 'model'
  tiny_tokenizers.write(folder, 'gemma3')
  twice = [EPISODE[1], EPISODE[1], EPISODE[2]]
  write(tmp_path / 'expert.jsonl', {'messages': twice})
  chats.import_chats(str(tmp_path / 'run'), str(tmp_path))
  config = settings(
    source='import',
    tokenizer=str(folder),
    rows=recipes.row_sets(('expert',), 0),
  )
  with pytest.raises(UserError, match='import/chats-00000.jsonl line 1: '):
    prepare(config, str(tmp_path / 'run'))


def test_an_empty_answer_is_learnt_too():
  value = {'instruction': 'x', 'output': ''}
  assert parsed(value).messages[-1] == {'role': 'assistant', 'content': ''}


def test_the_benchmark_compares_files_with_records(capsys):
  config = tiny.get_config()
  config.benchmark.update(trajectories=2, k=2)
  result = sharing(config)
  assert set(result) == {'records', 'turns', 'states'}
  for row_sets in result.values():
    assert row_sets['world']['ratio'] > 1.5
  assert (
    result['states']['joint']['ratio'] < result['records']['joint']['ratio']
  )
  assert 'K=2; tokens flat, as trees, ratio:' in capsys.readouterr().out
