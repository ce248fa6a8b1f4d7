"""The experience tree: sequences merged by their common prefixes.

A tree is laid out in depth-first order, so that a subtree is a run of tokens
and one integer a key is the whole attention mask: query q sees key k exactly
when `k <= q < k + span[k]`. Nothing is approximated: the weighted loss and all
its gradients are those of the sequences.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np

from early_experience.errors import UserError


@dataclasses.dataclass(frozen=True)
class Sequence:
  """Tokens with a target weight each, objective by objective.

  Attributes:
    ids_T: int32 token ids.
    weights_TO: float32; all 0 is context.
  """

  ids_T: np.ndarray
  weights_TO: np.ndarray


@dataclasses.dataclass(frozen=True)
class Tree:
  """Tokens in depth-first order. All three integers are relative.

  Attributes:
    tokens_T: int32 token ids.
    weights_TO: float32 target weights.
    depth_T: int32 position from the root: the position id.
    back_T: int32 distance to the previous token on the path; 0 at a root,
      which nothing can predict.
    span_T: int32 tokens in the subtree, this one included.
  """

  tokens_T: np.ndarray
  weights_TO: np.ndarray
  depth_T: np.ndarray
  back_T: np.ndarray
  span_T: np.ndarray

  def __len__(self):
    return len(self.tokens_T)


def flat(sequence: Sequence) -> Tree:
  """A sequence by itself, as a tree without branches."""
  length = len(sequence.ids_T)
  depth_T = np.arange(length, dtype=np.int32)
  return Tree(
    sequence.ids_T,
    sequence.weights_TO,
    depth_T,
    (depth_T > 0).astype(np.int32),
    length - depth_T,
  )


def absorb(sequences: Iterable[Sequence]) -> list[Sequence]:
  """Adds each sequence that begins another one to it: the best flat form.

  An episode's actions and its observations, scored by two datasets, are then
  one sequence. The result is in lexicographic order.
  """
  kept: list[Sequence] = []
  for sequence in _ordered(sequences)[::-1]:
    length = len(sequence.ids_T)
    if kept and _common_prefix(kept[-1].ids_T, sequence.ids_T) == length:
      weights_TO = kept[-1].weights_TO.copy()
      weights_TO[:length] += sequence.weights_TO
      kept[-1] = Sequence(kept[-1].ids_T, weights_TO)
    else:
      kept.append(sequence)
  return kept[::-1]


def merge(sequences: Iterable[Sequence]) -> list[Tree]:
  """Merges sequences by common prefix into one tree for each first token.

  Where several sequences score the same token, their weights add.
  """
  # In lexicographic order neighbours share the longest prefixes, and the new
  # suffixes one after the other are the tree in depth-first order.
  ordered = _ordered(sequences)
  trees, start = [], 0
  for end in range(1, len(ordered) + 1):
    if end == len(ordered) or (
      ordered[end].ids_T[0] != ordered[start].ids_T[0]
    ):
      trees.append(_merge_ordered(ordered[start:end]))
      start = end
  return trees


def _ordered(sequences):
  return sorted(
    (s for s in sequences if len(s.ids_T)),
    key=lambda s: s.ids_T.astype('>u4').tobytes(),
  )


def _merge_ordered(ordered):
  size = sum(len(s.ids_T) for s in ordered)
  tokens_T, depth_T, back_T, span_T = np.zeros((4, size), np.int32)
  weights_TO = np.zeros((size, ordered[0].weights_TO.shape[1]), np.float32)
  path = np.zeros(0, np.int32)  # nodes of the previous sequence
  ids, count = np.zeros(0, np.int32), 0
  for sequence in ordered:
    shared = _common_prefix(ids, sequence.ids_T)
    ids = sequence.ids_T
    new = np.arange(count, count + len(ids) - shared, dtype=np.int32)
    span_T[path[shared:]] = count - path[shared:]
    path = np.concatenate([path[:shared], new])
    tokens_T[new] = ids[shared:]
    depth_T[new] = np.arange(shared, len(ids))
    back_T[new] = 1
    if len(new):
      back_T[count] = count - path[shared - 1] if shared else 0
    weights_TO[path] += sequence.weights_TO
    count += len(new)
  span_T[path] = count - path
  return Tree(
    tokens_T[:count],
    weights_TO[:count],
    depth_T[:count],
    back_T[:count],
    span_T[:count],
  )


def _common_prefix(a, b):
  length = min(len(a), len(b))
  differs = np.flatnonzero(a[:length] != b[:length])
  return int(differs[0]) if differs.size else length


def windows(tree: Tree, row_tokens: int) -> list[Tree]:
  """Cuts a tree into trees of at most `row_tokens`, losing nothing.

  Each target is scored in one window; the path that leads to it is repeated
  there with weight 0.

  Raises:
    UserError: a path to a target is itself longer than a row.
  """
  if len(tree) <= row_tokens:
    return [tree]
  scored = np.flatnonzero(tree.weights_TO.any(1))
  longest = int(tree.depth_T[scored].max()) + 1
  if longest > row_tokens:
    raise UserError(
      f'a path of {longest} tokens does not fit into a row of {row_tokens}'
    )
  parts, done = [], 0
  while done < len(scored):
    first = scored[done]
    context = _ancestors(tree, first)
    end = first + row_tokens - len(context)
    taken = int(np.searchsorted(scored, end))
    last = scored[taken - 1]
    parts.append(_window(tree, context, np.arange(first, last + 1)))
    done = taken
  return parts


def _ancestors(tree, node):
  path = []
  while tree.back_T[node]:
    node -= tree.back_T[node]
    path.append(node)
  return np.array(path[::-1], np.int32)


def _window(tree, context, block):
  """The nodes of a block with the ancestors of its first, which suffice."""
  kept = np.concatenate([context, block])
  weights_TO = tree.weights_TO[kept]
  weights_TO[: len(context)] = 0
  parents = np.searchsorted(kept, kept - tree.back_T[kept])
  ends = np.searchsorted(kept, kept + tree.span_T[kept])
  places = np.arange(len(kept))
  return Tree(
    tree.tokens_T[kept],
    weights_TO,
    tree.depth_T[kept],
    np.where(tree.back_T[kept] == 0, 0, places - parents).astype(np.int32),
    (ends - places).astype(np.int32),
  )
