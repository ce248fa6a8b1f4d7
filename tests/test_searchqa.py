"""SearchQA: searching, answering, scoring, and a user's files."""

import json

import pytest

from early_experience.collect import run_expert
from early_experience.envs.searchqa import fixture, index, metrics
from early_experience.envs.searchqa.environment import SearchQA
from early_experience.runtime.errors import UserError

pytest.importorskip('bm25s')
pytest.importorskip('Stemmer')


@pytest.fixture(scope='module')
def env():
  return SearchQA(data='fixture')


def start(env, split='train', place=0):
  return env.reset(env.tasks(split)[place])


@pytest.mark.parametrize(
  'answer, golden, exact, f1',
  [
    ('The  Eiffel Tower!', ['eiffel tower'], True, 1.0),
    ('Paris, France', ['Lyon', 'Paris'], False, 2 / 3),
    ('the', ['a'], True, 1.0),  # nothing is left of either
    ('the', ['Paris'], False, 0.0),
    ('1990', ['1991'], False, 0.0),
  ],
)
def test_answers_are_scored_as_squad_does(answer, golden, exact, f1):
  assert metrics.exact_match(answer, golden) is exact
  assert metrics.f1(answer, golden) == pytest.approx(f1)


def test_the_expert_solves_every_task_of_the_fixture(env):
  for split in env.splits:
    tasks = env.tasks(split)
    assert len({task.id for task in tasks}) == len(tasks) >= 8
    for task in tasks:
      trajectory, failure = run_expert(env, task, max_steps=9)
      assert failure is None and trajectory.score == 1


def test_each_hop_finds_the_passage_that_has_its_answer(env):
  for split, questions in fixture.questions().items():
    for place, question in enumerate(questions):
      start(env, split, place)
      for text, (_, answer) in zip(
        question.hops(), question.steps, strict=True
      ):
        assert answer in env.step(f'<search>{text}</search>').observation


def test_a_search_shows_three_passages_in_the_format_of_search_r1(env):
  start(env)
  turn = env.step('<search>The Balan Lantern film</search>')
  first, *others = turn.observation.splitlines()
  assert first.startswith('<information>Doc 1(Title: "The Balan Lantern") The')
  assert len(others) == 2 and others[-1].endswith('</information>')
  nothing = env.step('<search>xyzzy</search>').observation
  assert nothing == '<information>Nothing was found.</information>'


def test_what_is_no_action_is_told_so_and_costs_nothing(env):
  start(env)
  before = env.fingerprint()
  for action in ('', 'look around', '<search> </search>', '<search>open'):
    turn = env.step(action)
    assert not turn.valid and not turn.done
    assert turn.observation.startswith('Format error')
  assert env.fingerprint() == before


def test_the_first_tag_counts_whatever_stands_around_it(env):
  start(env)
  text = '<think>who?</think> <search> a\n b </search><answer>c</answer>'
  assert env.canonical(text) == '<search>a b</search>'
  assert env.step(text) == env.step('<search>a b</search>')


def test_an_answer_ends_the_episode_with_its_score(env):
  start(env)
  right = env.clone().step('<answer>the balanford.</answer>')
  part = env.clone().step('<answer>Balanford town</answer>')
  wrong = env.step('<answer>Rome</answer>')
  assert (right.done, right.success, right.score) == (True, True, 1)
  assert (part.success, part.score) == (False, pytest.approx(2 / 3))
  assert (wrong.done, wrong.success, wrong.score) == (True, False, 0)


def test_one_search_too_many_ends_the_episode():
  env = SearchQA(data='fixture', max_searches=2)
  start(env)
  turns = [env.step('<search>film</search>') for _ in range(3)]
  assert [turn.done for turn in turns] == [False, False, True]
  assert not turns[-1].success


def test_a_copy_goes_its_own_way(env):
  start(env)
  before = env.fingerprint()
  twin = env.clone()
  twin.step('<search>film</search>')
  assert env.fingerprint() == before != twin.fingerprint()


def write(path, *lines):
  path.write_text(''.join(json.dumps(line) + '\n' for line in lines))


@pytest.fixture
def folder(tmp_path):
  """Files as a user has them: MuSiQue, FlashRAG and Search-R1."""
  write(
    tmp_path / 'corpus.jsonl',
    {'id': '0', 'contents': '"Ada"\nAda was born in Bonn.'},
    {'id': '1', 'title': 'Bonn', 'text': 'Bonn lies on the Rhine. Größe: 1'},
    {'id': '2', 'contents': '"Oslo"\nOslo is a capital.'},
  )
  write(
    tmp_path / 'train.jsonl',
    {
      'id': '2hop__1_2',
      'question': 'Which river is in the town where Ada was born?',
      'answer': 'Rhine',
      'answer_aliases': ['the river Rhine'],
      'question_decomposition': [
        {'question': 'Ada >> place of birth', 'answer': 'Bonn'},
        {'question': 'river in #1', 'answer': 'Rhine'},
      ],
    },
  )
  write(
    tmp_path / 'bamboogle.jsonl',
    {
      'id': 'test/7',
      'question': 'Where?',
      'golden_answers': ['Oslo', 'Bonn'],
      'metadata': {'type': 'bridge'},
    },
  )
  return tmp_path


def test_a_users_files_are_played(folder):
  env = SearchQA(data=str(folder))
  assert env.splits == ('train', 'bamboogle')
  (task,) = env.tasks('train')
  assert task.type == '2hop'
  assert run_expert(env, task, 9)[1] is None
  (other,) = env.tasks('bamboogle')
  assert (other.id, other.type) == ('test_7', 'bridge')
  assert env.expert(env.reset(other)) is None


def test_a_saved_index_finds_what_one_in_memory_finds(folder, capsys):
  index.main([f'--data={folder}', f'--index={folder / "index"}'])
  saved = SearchQA(data=str(folder), index=str(folder / 'index'))
  made = SearchQA(data=str(folder))
  for env in (saved, made):
    start(env)
  for query in ('Rhine', 'born in Bonn', 'capital', 'nothing'):
    action = f'<search>{query}</search>'
    assert saved.step(action) == made.step(action)
  with pytest.raises(SystemExit):
    index.main([f'--data={folder}', f'--index={folder / "index"}'])
  assert 'is there already' in capsys.readouterr().err
  with open(folder / 'corpus.jsonl', 'a', encoding='utf-8') as file:
    file.write('{"contents": "new"}\n')
  with pytest.raises(UserError, match='an index of another corpus'):
    SearchQA(data=str(folder), index=str(folder / 'index'))


def test_a_rollout_of_an_agent_that_is_right_is_the_expert(folder):
  rollout = (
    '<think>a</think><search>Ada</search><information>Doc 1 <search>x</search>'
    '</information><answer>Rhine</answer>'
  )
  path = folder / 'rollouts.jsonl'
  wrong = [['assistant', '<answer>Elbe</answer>'], ['user', 'no']]
  write(
    path,
    {'id': '2hop__1_2', 'dialog_log': wrong},
    {'id': '2hop__1_2', 'trace_text': rollout},
  )
  env = SearchQA(data=str(folder), trajectories=str(path))
  trajectory, failure = run_expert(env, env.tasks('train')[0], 9)
  assert failure is None and trajectory.expert == 'demonstrations'
  made = [(step.thought, step.action) for step in trajectory.steps]
  assert made == [
    ('a', '<search>Ada</search>'),
    (None, '<answer>Rhine</answer>'),
  ]


@pytest.mark.parametrize(
  'file, line, message',
  [
    ('train.jsonl', '{"id": "a"', 'train.jsonl line 2: not a whole JSON'),
    ('train.jsonl', '[]', 'train.jsonl line 2: not a JSON object'),
    ('train.jsonl', '{"id": "a", "question": "b"}', "line 2: has no 'answer'"),
    (
      'train.jsonl',
      '{"id": "a", "question": "b", "golden_answers": []}',
      'line 2: golden answers are',
    ),
    (
      'train.jsonl',
      '{"id": "2hop__1_2", "question": "b", "answer": "c"}',
      'line 2: id 2hop__1_2 is also',
    ),
    ('corpus.jsonl', '{"id": "3"}', "corpus.jsonl line 4: has no 'title'"),
    ('corpus.jsonl', '{"contents": ""}', "line 4: 'contents' is ''"),
  ],
)
def test_a_malformed_line_is_named(folder, file, line, message):
  with open(folder / file, 'a', encoding='utf-8') as out:
    out.write(line + '\n')
  with pytest.raises(UserError, match=message) as error:
    SearchQA(data=str(folder))
  assert '\n' not in str(error.value)


def test_missing_files_are_named(tmp_path):
  with pytest.raises(UserError, match='env.kwargs.data .* corpus.jsonl'):
    SearchQA()
  write(tmp_path / 'corpus.jsonl', {'contents': 'a'})
  with pytest.raises(UserError, match='no text has a word'):
    SearchQA(data=str(tmp_path))
  write(tmp_path / 'corpus.jsonl', {'contents': 'a word'})
  with pytest.raises(UserError, match='train.jsonl: No such file'):
    SearchQA(data=str(tmp_path))
  with pytest.raises(UserError, match='max_searches'):
    SearchQA(data='fixture', max_searches=0)
  with pytest.raises(UserError, match="no split 'dev'; there are: train, test"):
    SearchQA(data='fixture').tasks('dev')
