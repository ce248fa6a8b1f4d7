"""The clipped policy gradient of GRPO, exact on merged trees.

One policy sampled all that goes through a token, so its ratio
rho = exp(logp - old) is the token's own, and with it the clip. Where sequences
with advantages A_i share it, sum_i min(rho A_i, clip(rho) A_i) is

  gain * min(rho, 1 + clip_high) - loss * max(rho, 1 - clip_low)

with the sum of its positive advantages and, as a positive number, that of its
negative ones. That is all there is to know of a token, but for how many
sampled tokens it stands for.

The ratio may be that of all which was sampled in an episode instead (GSPO,
arXiv 2507.18071): s = exp(mean of logp - old over its tokens). Then a token has
one for each member of its group, by whose columns it knows its episodes; these
need not be paths, nor in one row or part of the batch. Each token bears

  s * exp(logp - stop_gradient(logp))

and its own advantage, which is GSPO-token there (section 4.3): where all of an
episode has one advantage, its mean over the tokens has value and gradient of
min(s A, clip(s) A). All episodes weigh alike (equation 5), however long.

Letters: B batch, T time, P columns of the policy, N groups of the batch, M
members of a group.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import struct
from ml_collections import ConfigDict

from early_experience.model.sharding import spec

# Of `policy` [B, T, P] in a batch: sums over the sequences through a token.
COLUMNS = ('gain', 'loss', 'count')
_CLAMP = 20.0  # of a log-ratio, as in verl and tunix: exp stays finite


@dataclasses.dataclass(frozen=True)
class Surrogate:
  """What `config.rl` says of the objective; see there for each.

  Attributes:
    vocab: ids of the tokenizer: a policy says no others, whatever rows the
      embedding has.
    groups: of a batch, at most, where ratios are those of episodes; 0: they are
      the tokens' own.
  """

  vocab: int = 0
  groups: int = 0
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


@struct.dataclass
class Episodes:
  """What may be added likewise, of each member of each group.

  Attributes:
    log_ratio_NM: sum of logp - old over what it sampled.
    count_NM: tokens.
  """

  log_ratio_NM: jax.Array
  count_NM: jax.Array


def from_config(rl: ConfigDict, vocab: int) -> Surrogate:
  """The objective of `config.rl`."""
  names = {field.name for field in dataclasses.fields(Surrogate)}
  names -= {'vocab', 'groups'}
  groups = rl.tasks if rl.ratio == 'sequence' else 0
  return Surrogate(vocab, groups, **{name: rl[name] for name in names})


def episodes(
  logp_BT: jax.Array, batch: dict[str, jax.Array], how: Surrogate
) -> Episodes:
  """The episodes' ratios, as far as a part of a batch has their tokens.

  Args:
    logp_BT: of each token under the policy that is trained.
    batch: as for `sums`.
    how: static; with `groups`.
  """
  member_BTM = batch['member'].astype(logp_BT.dtype)
  group_BTN = jax.nn.one_hot(batch['group'], how.groups, dtype=logp_BT.dtype)
  log_ratio_BT1 = _log_ratio(logp_BT, batch)[..., None]
  add = functools.partial(
    jnp.einsum, 'btn,btm->bnm', precision=jax.lax.Precision.HIGHEST
  )
  return Episodes(
    log_ratio_NM=add(group_BTN, member_BTM * log_ratio_BT1).sum(0),
    count_NM=add(group_BTN, member_BTM).sum(0),
  )


def sums(
  logp_BT: jax.Array,
  batch: dict[str, jax.Array],
  how: Surrogate,
  whole: Episodes | None = None,
) -> Sums:
  """The sums of a part of a batch.

  Args:
    logp_BT: of each token under the policy that is trained.
    batch: `policy` [B, T, P]; `old` [B, T], the log-probability of each sampled
      token before the first update of the batch; and where there is KL,
      `start` [B, T], under the policy that training began with. For ratios of
      episodes `group` int [B, T], the number of each token's group, `member`
      [B, T, M], 1 where a member sampled the token, and `advantage` [B, T, M].
    how: static.
    whole: the episodes' ratios over all of the batch; None: this is all of it.
  """
  columns_BTP = batch['policy'].astype(logp_BT.dtype)
  gain, loss, count_BT = jnp.moveaxis(columns_BTP, -1, 0)  # [B, T]
  log_ratio = _log_ratio(logp_BT, batch)
  if how.groups:  # [B, T, M]
    whole = whole or episodes(logp_BT, batch, how)
    log_ratio = _of_episodes(log_ratio, batch, whole)
    advantage_BTM = batch['advantage'].astype(logp_BT.dtype)
    advantage_BTM *= _shares(batch, whole)
    gain, loss = jnp.maximum(advantage_BTM, 0), jnp.maximum(-advantage_BTM, 0)
  ratio = jnp.exp(log_ratio)
  up = jnp.minimum(ratio, 1 + how.clip_high)
  down = jnp.maximum(ratio, 1 - how.clip_low)
  far = ratio < 1 - how.clip_low
  if how.dual_clip:
    down = jnp.minimum(down, how.dual_clip)
    far |= ratio > how.dual_clip
  clipped = gain * (ratio > 1 + how.clip_high) + loss * far
  kl = jnp.zeros((), logp_BT.dtype)
  if 'start' in batch:
    kl = jnp.sum(count_BT * k3(logp_BT, batch['start']))
  return Sums(
    surrogate=jnp.sum(gain * up - loss * down),
    kl=kl,
    clipped=jnp.sum(clipped),
    advantage=jnp.sum(gain + loss),
  )


def _log_ratio(logp_BT, batch):
  """Of each sampled token; 0 of all others."""
  log_ratio_BT = jnp.clip(logp_BT - batch['old'], -_CLAMP, _CLAMP)
  return jnp.where(batch['policy'][..., 2] > 0, log_ratio_BT, 0)


def _of_episodes(log_ratio_BT, batch, whole):
  """The values of the episodes' [B, T, M], with the tokens' own gradients."""
  mean_NM = whole.log_ratio_NM / jnp.maximum(whole.count_NM, 1)
  mean_BTM = _at_tokens(jax.lax.stop_gradient(mean_NM), batch)
  own_BT = log_ratio_BT - jax.lax.stop_gradient(log_ratio_BT)
  return mean_BTM + own_BT[..., None]


def _shares(batch, whole):
  """What a token of each episode weighs [B, T, M]; on average, one.

  The normaliser counts tokens: so all of an episode together weigh as those of
  one of mean length.
  """
  count_NM = whole.count_NM
  mean = jnp.sum(count_NM) / jnp.maximum(jnp.sum(count_NM > 0), 1)
  return _at_tokens(mean / jnp.maximum(count_NM, 1), batch)


def _at_tokens(value_NM, batch):
  """What is known of each member of each group, at each token: [B, T, M]."""
  return value_NM.at[batch['group']].get(out_sharding=spec('batch', None, None))


def k3(logp: jax.Array, start: jax.Array) -> jax.Array:
  """An estimate of KL(policy || start) from what the policy sampled.

  exp(d) - d - 1 of d = start - logp (Schulman 2020): never negative, and
  unbiased where the policy itself sampled.
  """
  d = jnp.clip(start - logp, -_CLAMP, _CLAMP)
  return jnp.exp(d) - d - 1
