"""SearchQA behind the environment interface."""

import copy
import pathlib
import re
from collections.abc import Generator, Sequence
from typing import Self

from early_experience.envs import retrieval
from early_experience.envs.interface import Environment, Task, Turn
from early_experience.envs.searchqa import data as records
from early_experience.envs.searchqa import fixture, metrics
from early_experience.runtime.errors import UserError

_ACTION = re.compile(r'<(search|answer)>(.*?)</\1>', re.DOTALL)
_FORMAT_ERROR = (
  'Format error: write <search>query</search> to search, or'
  ' <answer>text</answer> to answer.'
)


class SearchQA(Environment):
  """Questions that an agent answers after searching a corpus of passages.

  Actions are `<search>query</search>` and `<answer>text</answer>`; of a longer
  text the first of them counts (Search-R1). Success is an exact match, the
  score is F1, both by SQuAD's rules. The paper trains on MuSiQue, tests on it,
  and has the other three sets as out of domain (appendix B.5): questions
  written by others, in other ways.

  The official engine is a dense one (e5); here it is BM25.
  """

  name = 'searchqa'
  splits = ('train', 'test', 'hotpotqa', '2wikimultihopqa', 'bamboogle')
  licence = "the user's data (MuSiQue: CC BY 4.0); bm25s: MIT"
  needs = retrieval.NEEDS
  install = "pip install 'early_experience[searchqa]'"
  branching = 'clone'
  expert_name = 'decomposition'
  paths = ('data', 'index', 'trajectories')

  def __init__(
    self,
    *,
    data: str = '',
    index: str = '',
    trajectories: str = '',
    max_searches: int = 6,
    passages: int = 3,
  ):
    """Opens the questions and the corpus.

    Args:
      data: folder with corpus.jsonl and {split}.jsonl of questions, those of
        `train` at least; or `fixture`, a made-up world for tests.
      index: folder that `python -m early_experience.envs.searchqa.index`
        wrote; '' indexes the corpus in memory.
      trajectories: file of rollouts, of Search-R1 in the paper, to take experts
        from; '' = an expert that follows MuSiQue's decompositions.
      max_searches: one more ends the episode without an answer; the paper's
        reinforcement learning has 6.
      passages: that a search shows; 3 in Search-R1.

    Raises:
      UserError: an argument is wrong, or a file is missing or malformed.
    """
    for key, value in (('max_searches', max_searches), ('passages', passages)):
      if not isinstance(value, int) or value < 1:
        raise UserError(f'env.kwargs.{key} is {value!r}, not 1 or more')
    self._max_searches, self._passages = max_searches, passages
    if data == 'fixture':
      self.source = fixture.SOURCE
      self._corpus = records.corpus_of(fixture.passages())
      self._questions = fixture.questions()
    else:
      self._open(data, index)
    self._by_id = {
      split: {question.id: question for question in own}
      for split, own in self._questions.items()
    }
    self._experts = None
    if trajectories:
      self._experts = records.read_trajectories(pathlib.Path(trajectories))
      self.expert_name = 'demonstrations'

  def _open(self, data, index):
    folder = pathlib.Path(data)
    if not data or not (folder / records.CORPUS).exists():
      raise UserError(
        f'env.kwargs.data is {data!r}: name a folder with {records.CORPUS} (of'
        ' Search-R1: wiki-18) and questions in train.jsonl (of MuSiQue or'
        ' FlashRAG) and of other splits; or fixture, a made-up world'
      )
    self.source = f'questions and passages in {data}'
    self._corpus = records.read_corpus(folder / records.CORPUS, index)
    self._questions = {
      split: records.read_questions(folder / f'{split}.jsonl')
      for split in self.splits
      if split == 'train' or (folder / f'{split}.jsonl').exists()
    }
    self.splits = tuple(self._questions)

  def tasks(self, split: str) -> Sequence[Task]:
    self.check_split(split)
    return [Task(q.id, split, q.type) for q in self._questions[split]]

  def reset(self, task: Task) -> Turn:
    self._question = self._by_id[task.split][task.id]
    self._searches = 0
    self.instruction = (
      'Answer the question in a few words. Search for what you do not know with'
      ' <search>query</search>, and give the answer with <answer>text</answer>.'
    )
    return Turn(f'Question: {self._question.text}')

  def step(self, action: str) -> Turn:
    match = _ACTION.search(action)
    text = ' '.join(match.group(2).split()) if match else ''
    if not text:
      return Turn(_FORMAT_ERROR, valid=False)
    if match.group(1) == 'answer':
      golden = self._question.golden
      success = metrics.exact_match(text, golden)
      score = metrics.f1(text, golden)
      return Turn('The answer is given.', True, success, score)
    if self._searches == self._max_searches:
      return Turn('No more searches are allowed.', done=True)
    self._searches += 1
    return Turn(f'<information>{self._search(text)}</information>')

  def _search(self, query):
    found = self._corpus.index.search(query, self._passages)
    shown = []
    for place, number in enumerate(found, start=1):
      title, _, text = self._corpus.passage(number).partition('\n')
      shown.append(f'Doc {place}(Title: {title}) {text}')
    return '\n'.join(shown) or 'Nothing was found.'

  def clone(self) -> Self:
    return copy.copy(self)

  def fingerprint(self) -> tuple[str, int]:
    return self._question.text, self._searches

  def expert(
    self, turn: Turn
  ) -> Generator[str | tuple[str, str], Turn, None] | None:
    question = self._question
    if self._experts is not None:
      rollouts = self._experts.get(question.id, [[]])
      chosen = next(filter(self._is_right, rollouts), rollouts[0])
      return (made if made[1] else made[0] for made in chosen)
    return _decomposed(question) if question.steps else None

  def _is_right(self, rollout: list[records.Decision]) -> bool:
    match = _ACTION.search(rollout[-1][0]) if rollout else None
    golden = self._question.golden
    return bool(match) and metrics.exact_match(match.group(2), golden)

  def canonical(self, action: str) -> str:
    match = _ACTION.search(action)
    if not match:
      return ' '.join(action.split())
    kind, text = match.groups()
    return f'<{kind}>{" ".join(text.split())}</{kind}>'


def _decomposed(question: records.Question) -> Generator[str, Turn, None]:
  """Searches for each hop, then gives the golden answer."""
  for text in question.hops():
    yield f'<search>{text}</search>'
  yield f'<answer>{question.golden[0]}</answer>'
