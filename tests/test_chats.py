"""Chat files of others train here, and ours elsewhere, and learn the same."""

import dataclasses
import shutil

import numpy as np
import pytest

from configs import tiny
from early_experience import chats, recipes
from early_experience.benchmark.chats import sharing
from early_experience.collect import collect_from
from early_experience.experience import chat_export, records, render
from early_experience.experience.answer_format import FORMATS
from early_experience.experience.chat_export import Variant
from early_experience.explore import explore_in
from early_experience.preparation import trajectories
from early_experience.prepare import prepare
from early_experience.reflect import reflect
from early_experience.runtime import files
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import saved
from early_experience.train import train
from tests import tiny_tokenizers
from tests.chat_case import EPISODE, WITH_TOOLS, parsed, write
from tests.toy_env import ToyEnv


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
  return lambda family, **more: saved.load(folders[family], **more)


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


def test_calls_of_tools_are_learnt_behind_an_empty_block_of_thoughts(coders):
  coder = coders('qwen3', template_kwargs={'enable_thinking': False})
  chat = parsed({'messages': WITH_TOOLS['messages'][:3]})
  *asked, call = chat.messages
  (sequence,) = coder.encode_record(chat)
  prompt = coder.encode_chat(asked)
  assert sequence.ids_T.tolist()[: len(prompt)] == prompt
  (called,) = learnt(coder, [sequence])
  assert called.startswith('\n<tool_call>') and '"to": "shelf 1"' in called


@pytest.mark.parametrize('family', ['gemma3', 'llama2'])
def test_a_template_that_leaves_calls_out_is_refused(coders, family):
  said = {'messages': WITH_TOOLS['messages'][:3]}
  with pytest.raises(UserError, match='leaves out calls of tools'):
    coders(family).encode_record(parsed(said))


def test_what_is_said_beside_calls_is_learnt_or_refused(coders):
  """As a reflection is in the authors' files of tau-bench."""
  *before, call = WITH_TOOLS['messages'][:3]
  said = parsed({'messages': [*before, call | {'content': 'I <|im_end|> go.'}]})
  (text,) = learnt(coders('qwen2'), coders('qwen2').encode_record(said))
  assert text.startswith('I <|im_end|> go.') and '"name": "go"' in text
  with pytest.raises(UserError, match='what is said beside calls of tools'):
    coders('llama3').encode_record(said)


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
        for script in trajectories.scripts(trajectory, [name], 2, 'inline')
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
  config.train.batch_rows = 8
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
