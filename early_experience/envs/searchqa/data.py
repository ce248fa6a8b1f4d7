"""A user's questions, passages and trajectories; each line is checked."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Callable

import numpy as np

from early_experience.envs.retrieval import Index
from early_experience.runtime import files
from early_experience.runtime.errors import UserError

CORPUS = 'corpus.jsonl'
_OFFSETS, _ABOUT = 'offsets.npy', 'corpus.json'
_UNSAFE = re.compile(r'[^\w.-]')
_INFORMATION = re.compile(r'<information>.*?</information>', re.DOTALL)
# A thought, and the action that follows it.
_DECISION = re.compile(
  r'(?:<think>(.*?)</think>\s*)?(<(search|answer)>.*?</\3>)', re.DOTALL
)
Decision = tuple[str, str]  # an action and its thought, '' where there is none


@dataclasses.dataclass(frozen=True)
class Question:
  """One question.

  Attributes:
    id: unique in its file, safe in a file name.
    text: the question.
    golden: answers that count as right.
    type: what reports group by: how many hops, or what the file says.
    steps: (question, answer) of each hop where they are known; `#1` in a
      question stands for the answer of the first.
  """

  id: str
  text: str
  golden: tuple[str, ...]
  type: str
  steps: tuple[tuple[str, str], ...] = ()

  def hops(self) -> list[str]:
    """The questions of the hops, with earlier answers in their places."""
    texts = []
    for place, (text, _) in enumerate(self.steps):
      for number in range(place, 0, -1):
        text = text.replace(f'#{number}', self.steps[number - 1][1])
      texts.append(text)
    return texts


@dataclasses.dataclass(frozen=True)
class Corpus:
  """Passages that can be searched.

  Attributes:
    index: finds numbers of passages.
    passage: the contents of a number: a line with the title, then the text.
  """

  index: Index
  passage: Callable[[int], str]


def read_questions(path: pathlib.Path) -> list[Question]:
  """Reads questions, one JSON object a line.

  As MuSiQue has them (`id`, `question`, `answer`, `answer_aliases`,
  `question_decomposition`), or FlashRAG (`golden_answers`, and what else a set
  has in `metadata`).

  Raises:
    UserError: the file is missing, or a line is no question; the message
      names the line.
  """
  found, seen = [], {}
  for where, value in files.read_objects(path):
    question = to_question(where, value)
    if question.id in seen:
      raise UserError(f'{where}: id {question.id} is also {seen[question.id]}')
    seen[question.id] = where
    found.append(question)
  return found


def to_question(where: str, value: dict) -> Question:
  """One question from its JSON object; `where` is for errors."""
  if isinstance(value.get('metadata'), dict):
    value = value['metadata'] | value
  text = _text(where, value, 'question')
  if 'golden_answers' in value:
    golden = value['golden_answers']
  else:
    aliases = value.get('answer_aliases') or []
    golden = [_text(where, value, 'answer'), *aliases]
  if not (
    isinstance(golden, list) and golden and all(type(g) is str for g in golden)
  ):
    raise UserError(f'{where}: golden answers are {golden!r}, no list of texts')
  steps = []
  for step in value.get('question_decomposition') or []:
    if not isinstance(step, dict):
      raise UserError(f'{where}: question_decomposition has no object {step!r}')
    steps.append((_text(where, step, 'question'), _text(where, step, 'answer')))
  name = _text(where, value, 'id')
  return Question(
    id=_UNSAFE.sub('_', name),
    text=text,
    golden=tuple(golden),
    type=_type(value, name, steps),
    steps=tuple(steps),
  )


def read_corpus(path: pathlib.Path, index: str) -> Corpus:
  """Opens the passages, one JSON object a line.

  As Search-R1 has them: `contents`, its first line the title; or `title` and
  `text`.

  Args:
    path: of the passages.
    index: a folder that `save_index` wrote; '' reads and indexes them now.

  Raises:
    UserError: a file is missing, a line is no passage, or the index is not of
      these passages.
  """
  if not index:
    return corpus_of([contents(*line) for line in files.read_objects(path)])
  about = files.read_json(pathlib.Path(index) / _ABOUT)
  if not path.exists():
    raise UserError(f'{path} does not exist')
  if about['bytes'] != path.stat().st_size:
    raise UserError(f'{index} is an index of another corpus than {path}')
  offsets = np.load(pathlib.Path(index) / _OFFSETS, mmap_mode='r')

  def passage(number):
    with open(path, 'rb') as file:
      file.seek(int(offsets[number]))
      line = file.readline()
    return contents(f'{path} passage {number}', json.loads(line))

  return Corpus(Index.load(str(pathlib.Path(index) / 'bm25')), passage)


def corpus_of(passages: list[str]) -> Corpus:
  """Passages that are in memory."""
  return Corpus(Index.build(passages), passages.__getitem__)


def save_index(path: pathlib.Path, index: str) -> int:
  """Indexes passages once, for every process; returns how many they are."""
  texts = [contents(*line) for line in files.read_objects(path)]
  with open(path, 'rb') as file:
    lengths = [len(line) for line in file]
  with files.new_folder(index) as folder:
    Index.build(texts).save(folder / 'bm25')
    np.save(folder / _OFFSETS, np.cumsum([0, *lengths])[:-1])
    files.write_json(folder / _ABOUT, {'bytes': path.stat().st_size})
  return len(texts)


def contents(where: str, value: dict) -> str:
  """A passage's title line and text from its JSON object."""
  if 'contents' in value:
    return _text(where, value, 'contents')
  return f'{_text(where, value, "title")}\n{_text(where, value, "text")}'


def read_trajectories(path: pathlib.Path) -> dict[str, list[list[Decision]]]:
  """Reads an agent's rollouts: what it thought and did about each question.

  One JSON object a line: `id` of the question, and `trace_text`, all that was
  written, or `dialog_log`, its ["assistant" | "user", text] turns. There may be
  several of a question.

  Raises:
    UserError: the file is missing, or a line has no action; the message names
      the line.
  """
  found = {}
  for where, value in files.read_objects(path):
    name = _UNSAFE.sub('_', _text(where, value, 'id'))
    if 'dialog_log' in value:
      try:
        turns = [text for role, text in value['dialog_log'] if role != 'user']
        text = ''.join(turns)
      except (TypeError, ValueError):
        raise UserError(
          f'{where}: dialog_log holds no pairs of texts'
        ) from None
    else:
      text = _text(where, value, 'trace_text')
    text = _INFORMATION.sub('', text)
    made = _DECISION.findall(text)
    if not made:
      raise UserError(f'{where}: no <search> and no <answer> in it')
    decisions = [(action, ' '.join(th.split())) for th, action, _ in made]
    found.setdefault(name, []).append(decisions)
  return found


def _type(value, name, steps):
  if steps:
    return f'{len(steps)}hop'
  if hops := re.match(r'\dhop', name):  # MuSiQue's names say it
    return hops.group(0)
  kind = value.get('type')
  return kind if isinstance(kind, str) and kind else 'question'


def _text(where, value, key):
  if key not in value:
    raise UserError(f'{where}: has no {key!r}')
  text = value[key]
  if isinstance(text, int) and key == 'id':
    text = str(text)
  if not isinstance(text, str) or not text.strip():
    raise UserError(f'{where}: {key!r} is {text!r:.60}, no text')
  return text
