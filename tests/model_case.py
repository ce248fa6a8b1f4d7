"""A model small enough to check by hand, and random trees to feed it."""

import dataclasses
import zlib

import jax
import numpy as np

from early_experience.config import default
from early_experience.model import config, sharding, table

VOCAB = 64


def make_cfg(**changes):
  model = default().model
  model.update(layers=2, embed=16, heads=4, kv_heads=2, head_dim=8, mlp=24)
  model.update(changes)
  return config.from_config(model, VOCAB)


def make_mesh(data=1, fsdp=1, tensor=1):
  settings = default().mesh
  settings.update(data=data, fsdp=fsdp, tensor=tensor)
  return sharding.make_mesh(settings)


def make_params(cfg):
  """Parameters in which no bias is 0 and no norm's scale 1, as NumPy arrays."""
  params = {}
  for path, row in table.table(cfg).items():
    rng = np.random.default_rng(zlib.crc32(path.encode()))
    centre = float(path.endswith('norm') and not cfg.norm_offset)
    params[path] = rng.normal(centre, 0.2, row.shape).astype(row.dtype)
  return jax.tree.map(jax.numpy.asarray, table.nested(params))


@dataclasses.dataclass
class Tree:
  """A random tree in depth-first order."""

  tokens: np.ndarray
  depth: np.ndarray
  span: np.ndarray
  parent: list[int]  # of the root: -1

  def path(self, node):
    """The nodes from the root to `node`."""
    nodes = []
    while node >= 0:
      nodes.insert(0, node)
      node = self.parent[node]
    return nodes


def make_tree(seed, size, tokens=None):
  rng = np.random.default_rng(seed)
  parent, depth = [-1], [0]
  for node in range(1, size):
    above = node - 1
    while parent[above] >= 0 and rng.random() < 0.4:
      above = parent[above]
    parent.append(above)
    depth.append(depth[above] + 1)
  span = np.ones(size, np.int32)
  for node in range(size - 1, 0, -1):
    span[parent[node]] += span[node]
  if tokens is None:
    tokens = rng.integers(0, VOCAB, size, dtype=np.int32)
  return Tree(tokens, np.array(depth, np.int32), span, parent)


def flat(tokens_BT):
  """Depth and span of rows that are one path each."""
  B, T = tokens_BT.shape
  steps = np.arange(T, dtype=np.int32)
  return np.tile(steps, (B, 1)), np.tile(T - steps, (B, 1))
