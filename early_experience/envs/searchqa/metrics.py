"""How an answer is scored: exact match and token F1, as for SQuAD."""

import collections
import re
import string
from collections.abc import Sequence

_ARTICLES = re.compile(r'\b(a|an|the)\b')
_NO_PUNCTUATION = str.maketrans('', '', string.punctuation)


def normalize(answer: str) -> str:
  """Lower case, without ASCII punctuation, English articles, extra spaces."""
  bare = answer.lower().translate(_NO_PUNCTUATION)
  return ' '.join(_ARTICLES.sub(' ', bare).split())


def exact_match(answer: str, golden: Sequence[str]) -> bool:
  """Whether an answer equals one of the golden ones, normalized.

  Source: Search-R1, `em_check`.
  """
  return normalize(answer) in map(normalize, golden)


def f1(answer: str, golden: Sequence[str]) -> float:
  """The best F1 of its words with those of a golden answer, in [0, 1].

  Source: `compute_f1` of the evaluation of SQuAD 2.0, which the paper's
  SearchQA uses (appendix B.5).
  """
  return max((_f1(answer, one) for one in golden), default=0.0)


def _f1(answer, golden):
  ours, theirs = normalize(answer).split(), normalize(golden).split()
  if not ours or not theirs:
    return float(ours == theirs)
  common = collections.Counter(ours) & collections.Counter(theirs)
  return 2 * common.total() / (len(ours) + len(theirs))
