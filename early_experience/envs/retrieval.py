"""Keyword search over texts, for the environments that have a search engine.

BM25 by the bm25s library with what pyserini gives Lucene by default (k1 0.9, b
0.4, Porter stems, Lucene's English stop words). Ranks come close to those of
the official engines and are not the same: Lucene rounds the lengths of texts,
and Search-R1's default engine is a dense one.
"""

import logging
import pathlib
import sys
from collections.abc import Iterable

import numpy as np

from early_experience.runtime import files
from early_experience.runtime.errors import UserError

NEEDS = ('bm25s', 'Stemmer')
_STOP_WORDS = (
  'a an and are as at be but by for if in into is it no not of on or such that'
  ' the their then there these they this to was will with'
)


class Index:
  """A searchable index of numbered texts.

  Args:
    engine: a bm25s index.
  """

  def __init__(self, engine):
    self._engine = engine

  @classmethod
  def build(cls, texts: Iterable[str]) -> 'Index':
    """Indexes texts in memory; their numbers are their positions.

    Raises:
      UserError: there is not one word to index.
    """
    words = _words(list(texts))
    if not any(words):
      raise UserError('there is nothing to search: no text has a word in it')
    engine = _bm25s().BM25(method='lucene', k1=0.9, b=0.4, backend='numpy')
    engine.index(words, show_progress=False)
    return cls(engine)

  @classmethod
  def load(cls, folder: str) -> 'Index':
    """Opens a saved index; its arrays stay on disk, for processes to share.

    Raises:
      UserError: the folder holds none.
    """
    if not (pathlib.Path(folder) / 'params.index.json').exists():
      raise UserError(f'{folder} holds no index; see env.kwargs.index')
    return cls(_bm25s().BM25.load(folder, mmap=True, show_progress=False))

  def save(self, folder: str) -> None:
    """Writes a new folder.

    Raises:
      UserError: it is there already, or cannot be written.
    """
    with files.new_folder(folder) as made:
      self._engine.save(str(made), show_progress=False)

  def __len__(self) -> int:
    return int(self._engine.scores['num_docs'])

  def search(self, query: str, k: int) -> list[int]:
    """Numbers of the texts that match best, the best first.

    At most k, and none that shares no word with the query. Equal ones come in
    the order of their numbers, so that an answer is the same everywhere.
    """
    known = self._engine.vocab_dict
    words = [word for word in _words([query])[0] if word in known]
    if not words:
      return []
    scores = self._engine.get_scores(words)
    matching = np.flatnonzero(scores > 0)
    if len(matching) > k:
      least = np.partition(scores[matching], -k)[-k]
      matching = np.flatnonzero(scores >= max(least, np.nextafter(0, 1)))
    order = np.argsort(-scores[matching], kind='stable')
    return [int(number) for number in matching[order][:k]]


def _words(texts):
  import Stemmer

  return _bm25s().tokenize(
    texts,
    stopwords=_STOP_WORDS.split(),
    stemmer=Stemmer.Stemmer('porter'),
    token_pattern=r'(?u)\b\w+\b',
    return_ids=False,
    show_progress=False,
  )


def _bm25s():
  """The library, imported without JAX.

  With JAX at hand it runs JAX as it is imported, and each worker process would
  take hold of the accelerator that trains.
  """
  if 'bm25s' not in sys.modules:
    jax = sys.modules.get('jax')
    sys.modules['jax'] = None  # is not to be found
    try:
      import bm25s  # noqa: F401
    finally:
      if jax is None:
        del sys.modules['jax']
      else:
        sys.modules['jax'] = jax
    logging.getLogger('bm25s').setLevel(logging.WARNING)
  return sys.modules['bm25s']
