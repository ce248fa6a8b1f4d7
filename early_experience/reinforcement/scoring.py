"""What the trainer says of each token that a policy sampled."""

import functools

import jax
from jax.sharding import Mesh, PartitionSpec

from early_experience.model import sharding
from early_experience.model.config import ModelConfig
from early_experience.reinforcement import batches
from early_experience.training import loss


class Scorer:
  """Scores rows of episodes.

  Args:
    cfg: of the model.
    vocab: ids of the tokenizer.
    mesh: that holds the parameters.
    size: rows at a time, over all devices.
    cap: of importance weights; 0: none.
  """

  def __init__(
    self, cfg: ModelConfig, vocab: int, mesh: Mesh, size: int, cap: float
  ):
    self._logp = functools.partial(token_logp, cfg=cfg, vocab=vocab)
    self._mesh, self._size, self._cap = mesh, size, cap

  def add(
    self,
    rows: list[dict],
    params: dict,
    start: dict | None,
    scores: batches.Scores,
  ) -> None:
    """Adds to rows what a policy, and the start, say of each token.

    Args:
      rows: of `rows.make`.
      params: that are to be trained.
      start: those of the start; None where they are not kept.
      scores: are added to.
    """
    for first in range(0, len(rows), self._size):
      some = rows[first : first + self._size]
      batch = batches.stack(some, self._size, scored=False)
      batch = sharding.put_batch(batch, self._mesh)
      old_BT = self._logp(params, batch)
      start_BT = None if start is None else self._logp(start, batch)
      batches.add_scores(some, old_BT, start_BT, self._cap, scores)


@functools.partial(jax.jit, static_argnames=('cfg', 'vocab'))
def token_logp(params: dict, batch: dict, cfg: ModelConfig, vocab: int):
  """What the policy says of each token that was sampled, [B, T]; whole."""
  logp_BT = -loss.batch_nll(params, batch, cfg, vocab)
  return jax.reshard(logp_BT, PartitionSpec())  # so every process has it
