"""The experience tree: sequences merged by their common prefixes.

A tree is laid out in depth-first order, so that a subtree is a run of tokens
and one integer a key is the whole attention mask: query q sees key k exactly
when `k <= q < k + span[k]`. Nothing is approximated: the weighted loss and all
its gradients are those of the sequences.
"""

import dataclasses
import itertools
from collections.abc import Iterable

import numpy as np

from early_experience.runtime.errors import UserError


@dataclasses.dataclass(frozen=True)
class Sequence:
  """Tokens with a target weight each, objective by objective.

  Attributes:
    ids_T: int32 token ids.
    weights_TO: float32; all 0 is context, as the first token always is.

  Raises:
    UserError: the first token is a target, which nothing predicts.
  """

  ids_T: np.ndarray
  weights_TO: np.ndarray

  def __post_init__(self):
    if self.weights_TO[:1].any():
      raise UserError(
        'a sequence begins with a target, and nothing is read before it'
      )


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


def targets(sequence: Sequence) -> np.ndarray:
  """Starts and ends of what is scored in one piece: int [N, 2].

  That is a decision, with its thought where no header stands between, or an
  outcome.
  """
  scored_T = sequence.weights_TO.any(1)
  edges = np.flatnonzero(np.diff(scored_T, prepend=False, append=False))
  return edges.reshape(-1, 2)


def cut(sequence: Sequence, length: int) -> Sequence:
  """A sequence up to its last target that fits; a target is kept whole.

  Args:
    sequence: one that ends with a target.
    length: tokens, at most.
  """
  if len(sequence.ids_T) <= length:
    return sequence
  ends = targets(sequence)[:, 1]
  end = max(ends[ends <= length], default=0)
  return Sequence(sequence.ids_T[:end], sequence.weights_TO[:end])


def pieces(sequence: Sequence, length: int) -> list[Sequence]:
  """A text in parts of at most `length` tokens, each scored token in one.

  A part begins with the last token of the one before it.
  """
  starts = range(0, max(1, len(sequence.ids_T) - 1), length - 1)
  parts = []
  for start in starts:
    part = slice(start, start + length)
    weights_TO = sequence.weights_TO[part].copy()
    weights_TO[0] = 0  # nothing is read before it
    parts.append(Sequence(sequence.ids_T[part], weights_TO))
  return parts


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

  Where several sequences score the same token, their weights add. The longest
  path of a subtree comes first in it. So the trunk of an experience tree is one
  run of tokens, and a branch attends to little else than that and itself.
  """
  ordered, trees, start = _ordered(sequences), [], 0
  for end in range(1, len(ordered) + 1):
    if end == len(ordered) or (
      ordered[end].ids_T[0] != ordered[start].ids_T[0]
    ):
      trees.append(_merge_group(ordered[start:end]))
      start = end
  return trees


def _ordered(sequences):
  return sorted(
    (s for s in sequences if len(s.ids_T)),
    key=lambda s: s.ids_T.astype('>u4').tobytes(),
  )


def _trunk_first(lengths, shared):
  """Reorders sequences so that each subtree's longest comes first in it.

  Args:
    lengths: of sequences in lexicographic order.
    shared: [i] is the common prefix of sequences i and i + 1.

  Returns:
    Indices in an order in which subtrees are still contiguous, and with each
    the prefix that it shares with the one before.
  """
  order, pending = [], [(0, len(lengths), 0)]
  while pending:
    start, end, prefix = pending.pop()
    trunk = start + int(np.argmax(lengths[start:end]))
    order.append((trunk, prefix))
    # What a sequence shares with the trunk is the least that neighbours share
    # on the way there; equal runs of it leave the trunk at the same token.
    below = np.minimum.accumulate(shared[start:trunk][::-1])[::-1]
    above = np.minimum.accumulate(shared[trunk : end - 1])
    groups = [
      *_runs(below, shared, start),
      *_runs(above, shared, trunk + 1),
    ]
    # The last one pushed is the next one out: the deepest branch.
    pending += sorted(groups, key=lambda group: group[2])
  return order


def _runs(with_trunk, shared, start):
  """Splits a range where neighbours share no more than they do the trunk."""
  groups, first = [], 0
  for i in range(1, len(with_trunk) + 1):
    if i == len(with_trunk) or (
      with_trunk[i] != with_trunk[first]
      or shared[start + i - 1] <= with_trunk[first]
    ):
      groups.append((start + first, start + i, int(with_trunk[first])))
      first = i
  return groups


def _merge_group(ordered):
  """The tree of sequences in lexicographic order with one first token."""
  shared = np.array(
    [_common_prefix(a.ids_T, b.ids_T) for a, b in itertools.pairwise(ordered)],
    np.int32,
  )
  lengths = np.array([len(s.ids_T) for s in ordered])
  size = sum(len(s.ids_T) for s in ordered)
  tokens_T, depth_T, back_T, span_T = np.zeros((4, size), np.int32)
  weights_TO = np.zeros((size, ordered[0].weights_TO.shape[1]), np.float32)
  path, count = np.zeros(0, np.int32), 0  # nodes of the previous sequence
  for index, prefix in _trunk_first(lengths, shared):
    ids = ordered[index].ids_T
    new = np.arange(count, count + len(ids) - prefix, dtype=np.int32)
    span_T[path[prefix:]] = count - path[prefix:]
    path = np.concatenate([path[:prefix], new])
    tokens_T[new] = ids[prefix:]
    depth_T[new] = np.arange(prefix, len(ids))
    back_T[new] = 1
    if len(new):
      back_T[count] = count - path[prefix - 1] if prefix else 0
    weights_TO[path] += ordered[index].weights_TO
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
    context = ancestors(tree, first)
    end = first + row_tokens - len(context)
    taken = int(np.searchsorted(scored, end))
    last = scored[taken - 1]
    parts.append(_window(tree, context, np.arange(first, last + 1)))
    done = taken
  return parts


def ancestors(tree: Tree, node: int) -> np.ndarray:
  """The tokens before a token on its path, from the root: int32 places."""
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
