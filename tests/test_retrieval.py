"""The search engine of the environments that have one."""

import subprocess
import sys

import pytest

from early_experience.envs.retrieval import Index
from early_experience.runtime.errors import UserError
from tests import waiting

pytest.importorskip('bm25s')
pytest.importorskip('Stemmer')


@pytest.fixture(scope='module')
def index():
  texts = ['Cats sleep', 'the dog barks', 'a cat and a dog', 'birds', 'cats']
  return Index.build(texts)


@pytest.mark.parametrize(
  'query, found',
  [
    ('dogs and cats', [2, 1, 4, 0]),  # stems; rare words, then short texts
    ('BARKING', [1]),
    ('the and of', []),  # stop words alone
    ('xyzzy', []),
    ('', []),
    ('xyzzy bird', [3]),
  ],
)
def test_the_best_matches_come_first_and_no_others(index, query, found):
  assert index.search(query, 10) == found


def test_no_more_are_found_than_asked_for_and_equals_keep_their_order():
  index = Index.build(['same words', 'words words'] * 50 + ['other'])
  best, others = list(range(1, 100, 2)), list(range(0, 100, 2))
  assert index.search('words', 4) == best[:4]
  assert index.search('words', 200) == best + others
  assert len(index) == 101


def test_texts_without_words_are_refused(tmp_path):
  with pytest.raises(UserError, match='no text has a word'):
    Index.build(['the', ''])
  with pytest.raises(UserError, match='holds no index'):
    Index.load(str(tmp_path))


def test_searching_leaves_the_accelerator_alone():
  code = (
    'import sys\n'
    'from early_experience.envs.retrieval import Index\n'
    'assert Index.build(["some words"]).search("word", 1) == [0]\n'
    'assert not [m for m in sys.modules if m.startswith("jax")]\n'
    'import jax\n'  # it can be had all the same
  )
  subprocess.run(
    [sys.executable, '-c', code], check=True, timeout=waiting.SECONDS
  )
