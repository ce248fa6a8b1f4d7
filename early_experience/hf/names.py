"""Which tensor of a checkpoint holds which parameter, and how it lies there.

A checkpoint stores a matrix as [out, in], both flattened, for each layer; the
parameter table has [layer, *in, *out].
"""

import dataclasses
import math
import re

import numpy as np

from early_experience.model.config import ModelConfig
from early_experience.model.table import table

# By name in the table: the module, and how many axes a matrix takes in.
_MATRICES = {
  'q': ('self_attn.q_proj', 1),
  'k': ('self_attn.k_proj', 1),
  'v': ('self_attn.v_proj', 1),
  'o': ('self_attn.o_proj', 2),
  'gate': ('mlp.gate_proj', 1),
  'up': ('mlp.up_proj', 1),
  'down': ('mlp.down_proj', 1),
}
_NORMS = {
  'attention_norm': 'input_layernorm',
  'mlp_norm': 'post_attention_layernorm',
  'q_norm': 'self_attn.q_norm',
  'k_norm': 'self_attn.k_norm',
}
# Where branches have a norm at their end, the second name means that one.
_POST_NORMS = {
  'attention_post_norm': 'post_attention_layernorm',
  'mlp_norm': 'pre_feedforward_layernorm',
  'mlp_post_norm': 'post_feedforward_layernorm',
}
_OUTSIDE = {
  'embed': 'model.embed_tokens.weight',
  'norm': 'model.norm.weight',
  'head': 'lm_head.weight',
}
EMBED, HEAD = _OUTSIDE['embed'], _OUTSIDE['head']
# Constants that old checkpoints store; the config says the same.
_IGNORED = re.compile(r'.*\.rotary_emb\.inv_freq')


@dataclasses.dataclass(frozen=True)
class Tensor:
  """One tensor of a checkpoint.

  Attributes:
    name: in the checkpoint.
    path: of the parameter that it is, or is a layer of.
    layer: which; None where the parameter is no layer's.
    inner, outer: sizes of the parameter's axes in and out; a matrix has both.
  """

  name: str
  path: str
  layer: int | None
  inner: tuple[int, ...]
  outer: tuple[int, ...]

  @property
  def shape(self) -> tuple[int, ...]:
    """As it is stored."""
    if not self.inner:
      return self.outer if self.layer is None else (math.prod(self.outer),)
    return (math.prod(self.outer), math.prod(self.inner))

  def part(self, index: tuple[slice, ...]) -> tuple[slice, ...]:
    """The slices of the stored tensor that hold a slice of the parameter.

    Args:
      index: one slice for each axis in, then out. Of several that are
        flattened into one, the first alone may be cut.
    """
    if self.layer is None:
      return index
    cut = len(self.inner)
    groups = [(self.outer, index[cut:]), (self.inner, index[:cut])]
    return tuple(_flat(*group) for group in groups if group[0])

  def to_param(self, stored: np.ndarray) -> np.ndarray:
    """The parameter, or a slice of it, from the same of what is stored."""
    if self.layer is None:
      return stored
    if not self.inner:
      return stored.reshape(-1, *self.outer[1:])
    x = stored.reshape(-1, *self.outer[1:], stored.shape[1])
    x = x.reshape(*x.shape[:-1], -1, *self.inner[1:])
    outer = len(self.outer)
    return x.transpose(*range(outer, x.ndim), *range(outer))

  def to_stored(self, param: np.ndarray) -> np.ndarray:
    """The inverse of `to_param`, of the whole."""
    if self.inner:
      inner = len(self.inner)
      param = param.transpose(*range(inner, param.ndim), *range(inner))
    return param.reshape(self.shape)


def tensors(cfg: ModelConfig, head: bool = False) -> list[Tensor]:
  """All tensors of a checkpoint, layer by layer; adapters are none of them.

  Args:
    cfg: the architecture.
    head: whether the output head is one where it is the embedding, too.
  """
  rows, found = table(cfg), []
  for path, name in _OUTSIDE.items():
    if path in rows:
      found.append(Tensor(name, path, None, (), rows[path].shape))
  if head and cfg.tied:
    found.append(Tensor(HEAD, 'embed', None, (), rows['embed'].shape))
  for layer in range(cfg.layers):
    for path, (module, kind, inner) in _layer_names(cfg).items():
      name = f'model.layers.{layer}.{module}.{kind}'
      sizes = rows[path].shape[1:]
      found.append(Tensor(name, path, layer, sizes[:inner], sizes[inner:]))
  return found


def module(name: str) -> str:
  """What the checkpoint calls a matrix of a layer, e.g. `self_attn.q_proj`."""
  return _MATRICES[name][0]


def is_ignored(name: str) -> bool:
  """Whether a tensor says nothing that the config does not say."""
  return bool(_IGNORED.fullmatch(name))


def _layer_names(cfg):
  """By path: the module, what it is of that, and how many axes go in."""
  norms = _NORMS | _POST_NORMS if cfg.post_norms else _NORMS
  names = {f'layers/{n}': (module, 'weight', 0) for n, module in norms.items()}
  for name, (module_, inner) in _MATRICES.items():
    names[f'layers/{name}'] = (module_, 'weight', inner)
    names[f'layers/{name}_bias'] = (module_, 'bias', 0)
  rows = table(cfg)
  return {path: names[path] for path in names if path in rows}


def _flat(sizes, index):
  """One slice over flattened axes."""
  first, rest = index[0], math.prod(sizes[1:])
  for size, other in zip(sizes[1:], index[1:], strict=True):
    assert other.indices(size) == (0, size, 1), 'an inner axis is cut'
  start, stop, _ = first.indices(sizes[0])
  return slice(start * rest, stop * rest)
