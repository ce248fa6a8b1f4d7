"""The clipped policy gradient of GRPO, exact on merged trees.

One policy sampled all that goes through a token, so its ratio
rho = exp(logp - old) is the token's own, and with it the clip. Where sequences
with advantages A_i share it, sum_i min(rho A_i, clip(rho) A_i) is

  gain * min(rho, 1 + clip_high) - loss * max(rho, 1 - clip_low)

with the sum of its positive advantages and, as a positive number, that of its
negative ones. That is all there is to know of a token, but for how many
sampled tokens it stands for.

Letters: B batch, T time, P columns of the policy.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct
from ml_collections import ConfigDict

# Of `policy` [B, T, P] in a batch: sums over the sequences through a token.
COLUMNS = ('gain', 'loss', 'count')
_CLAMP = 20.0  # of a log-ratio, as in verl and tunix: exp stays finite


@dataclasses.dataclass(frozen=True)
class Surrogate:
  """What `config.rl` says of the objective; see there for each.

  Attributes:
    vocab: ids of the tokenizer: a policy says no others, whatever rows the
      embedding has.
  """

  vocab: int = 0
  clip_low: float = 0.2
  clip_high: float = 0.28
  dual_clip: float = 0.0
  kl_weight: float = 0.0

  def value(self, sums: 'Sums', count: jax.Array) -> jax.Array:
    """What is minimised, of a part of the batch.

    Args:
      sums: of the part.
      count: sampled tokens of the whole batch: the one normaliser.
    """
    total = self.kl_weight * sums.kl - sums.surrogate
    return total / jnp.maximum(count, 1)  # without any, the total is 0


@struct.dataclass
class Sums:
  """What may be added over microbatches and hosts.

  Attributes:
    surrogate: sum of clipped ratios times advantages.
    kl: k3 of the policy against the start, summed over sampled tokens; 0 where
      the batch has no `start`.
    clipped: the absolute advantages whose ratio is clipped, so that they have
      no gradient; of `advantage`, the sum of all.
  """

  surrogate: jax.Array
  kl: jax.Array
  clipped: jax.Array
  advantage: jax.Array


def from_config(rl: ConfigDict, vocab: int) -> Surrogate:
  """The objective of `config.rl`."""
  names = [field.name for field in dataclasses.fields(Surrogate)]
  names.remove('vocab')
  return Surrogate(vocab, **{name: rl[name] for name in names})


def sums(
  logp_BT: jax.Array, batch: dict[str, jax.Array], how: Surrogate
) -> Sums:
  """The sums of a part of a batch.

  Args:
    logp_BT: of each token under the policy that is trained.
    batch: `policy` [B, T, P]; `old` [B, T], the log-probability of each sampled
      token before the first update of the batch; and where there is KL,
      `start` [B, T], under the policy that training began with.
    how: static.
  """
  columns_BTP = batch['policy'].astype(logp_BT.dtype)
  gain_BT, loss_BT, count_BT = jnp.moveaxis(columns_BTP, -1, 0)
  log_ratio_BT = jnp.clip(logp_BT - batch['old'], -_CLAMP, _CLAMP)
  ratio_BT = jnp.exp(jnp.where(count_BT > 0, log_ratio_BT, 0))
  up_BT = jnp.minimum(ratio_BT, 1 + how.clip_high)
  down_BT = jnp.maximum(ratio_BT, 1 - how.clip_low)
  far_BT = ratio_BT < 1 - how.clip_low
  if how.dual_clip:
    down_BT = jnp.minimum(down_BT, how.dual_clip)
    far_BT |= ratio_BT > how.dual_clip
  clipped_BT = gain_BT * (ratio_BT > 1 + how.clip_high) + loss_BT * far_BT
  kl = jnp.zeros((), logp_BT.dtype)
  if 'start' in batch:
    kl = jnp.sum(count_BT * k3(logp_BT, batch['start']))
  return Sums(
    surrogate=jnp.sum(gain_BT * up_BT - loss_BT * down_BT),
    kl=kl,
    clipped=jnp.sum(clipped_BT),
    advantage=jnp.sum(gain_BT + loss_BT),
  )


def k3(logp: jax.Array, start: jax.Array) -> jax.Array:
  """An estimate of KL(policy || start) from what the policy sampled.

  exp(d) - d - 1 of d = start - logp (Schulman 2020): never negative, and
  unbiased where the policy itself sampled.
  """
  d = jnp.clip(start - logp, -_CLAMP, _CLAMP)
  return jnp.exp(d) - d - 1
