"""What each row of a batch may generate, as the edges of a trie."""

import dataclasses

import numpy as np

_EDGES = 64  # padded to as many, or 4, 16, ... times: few compiled shapes


@dataclasses.dataclass(frozen=True)
class Trie:
  """For each row of a batch, the token sequences that it may generate.

  Edge e of row b leads from node `parent_BE` by `token_BE` to `child_BE`; node
  0 is the root; unused edges are -1. Host arrays, int32.
  """

  parent_BE: np.ndarray
  token_BE: np.ndarray
  child_BE: np.ndarray
  longest: int  # tokens of the longest sequence

  @classmethod
  def build(cls, members: list[list[list[int]]]) -> 'Trie':
    """The tries of a batch.

    Args:
      members: for each row its sequences of ids, each with the stop id last and
        nowhere else. Only an inactive row may have none.
    """
    rows = [_edges(sequences) for sequences in members]
    most = max([len(row) for row in rows] + [1])
    width = _EDGES
    while width < most:
      width *= 4
    edges_B3E = np.full((len(rows), 3, width), -1, np.int32)
    for edges_3E, row in zip(edges_B3E, rows, strict=True):
      edges_3E[:, : len(row)] = np.array(row, np.int32).reshape(-1, 3).T
    longest = max((len(ids) for ids in sum(members, [])), default=0)
    return cls(*np.moveaxis(edges_B3E, 1, 0), longest)


def _edges(sequences):
  child = {}
  for sequence in sequences:
    node = 0
    for token in sequence:
      node = child.setdefault((node, token), len(child) + 1)
  return [(node, token, to) for (node, token), to in child.items()]
