"""FLOPs of an update by formula, and what chips can do at most."""

import math

from early_experience.model import table
from early_experience.model.config import ModelConfig

# Dense bfloat16 FLOP/s of one chip as its vendor states it
# (cloud.google.com/tpu/docs, nvidia.com data sheets), by jax's device_kind.
PEAK_FLOPS = {
  'TPU v4': 275e12,
  'TPU v5 lite': 197e12,
  'TPU v5e': 197e12,
  'TPU v5': 459e12,
  'TPU v5p': 459e12,
  'TPU v6 lite': 918e12,
  'TPU v6e': 918e12,
  'NVIDIA A100-SXM4-40GB': 312e12,
  'NVIDIA A100-SXM4-80GB': 312e12,
  'NVIDIA H100 80GB HBM3': 989e12,
  'NVIDIA H200': 989e12,
}


def model_flops(
  cfg: ModelConfig,
  rows: int,
  row_tokens: int,
  scored: float | None = None,
  visited: float = 1.0,
) -> float:
  """FLOPs of one update, forward and backward, by formula.

  For each token: 6 a trained weight of the layers, 4 a frozen one (it has no
  gradient), and 12 L N H T of attention over rows of T, masked or not, as is
  customary (PaLM, arXiv 2204.02311, appendix B). For each scored token, and no
  other: as much for the V D weights of the output head. Recomputation is not
  counted.

  Args:
    cfg: the architecture.
    rows: of the batch.
    row_tokens: T.
    scored: tokens of the batch that are targets; None: all.
    visited: share of the T * T scores that attention counts for.
  """
  head, layers = 0, 0
  for path, row in table.table(cfg).items():
    flops = (6 if row.trained else 4) * math.prod(row.shape)
    if path.startswith('layers/'):
      layers += flops
    elif path == ('embed' if cfg.tied else 'head'):
      head = flops
  attention = 12 * cfg.layers * cfg.heads * cfg.head_dim * row_tokens
  attention *= visited
  tokens = rows * row_tokens
  scored = tokens if scored is None else scored
  return float(layers + attention) * tokens + float(head) * scored
