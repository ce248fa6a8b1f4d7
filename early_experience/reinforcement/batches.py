"""Rows to batches, with what the trainer says of each sampled token."""

import dataclasses

import jax
import numpy as np

from early_experience.experience.render import OBJECTIVES
from early_experience.training import surrogate

# What rows of a policy have beside others, and what these have instead.
_ABSENT = {
  'policy': 0,
  'old': 0,
  'start': 0,
  'allowed': -1,
  'group': 0,
  'member': 0,
  'advantage': 0,
}
_FIELDS = ('tokens', 'depth', 'back', 'span', 'weights', *_ABSENT)


@dataclasses.dataclass
class Scores:
  """Sums over the sampled tokens of an iteration, before its updates.

  Attributes:
    count: of the tokens.
    surprise: minus their log-probability, under the policy that samples: its
      mean is an estimate of the entropy.
    gap: absolute difference of log-probability, sampler against trainer.
    most: of those.
    kl: k3 of the policy against the start.
    capped: tokens whose importance weight was cut.
    has_start: whether `kl` is known.
  """

  count: float = 0.0
  surprise: float = 0.0
  gap: float = 0.0
  most: float = 0.0
  kl: float = 0.0
  capped: float = 0.0
  has_start: bool = False

  def line(self) -> dict:
    """Means a sampled token, for the log."""
    mean = lambda total: total / self.count if self.count else None
    return {
      'entropy': mean(self.surprise),
      'gap': mean(self.gap),
      'gap_max': self.most,
      'kl': mean(self.kl) if self.has_start else None,
      'importance_capped': mean(self.capped),
    }


def add_scores(
  rows: list[dict],
  old_BT: jax.Array,
  start_BT: jax.Array | None,
  cap: float,
  scores: Scores,
) -> None:
  """Adds `old` and `start` to rows, and weighs their advantages.

  The sampler's numbers are the trainer's but for rounding. What is left of it
  weighs each advantage by min(exp(old - sampled), cap), as a constant: so it is
  in the columns of these, and nowhere else.

  Args:
    rows: of `rows.make`.
    old_BT: log-probabilities under the policy that is to be trained.
    start_BT: under the start; None where it is not kept.
    cap: of the weights; 0: no weights.
    scores: are added to.
  """
  old_BT = np.asarray(old_BT)
  start_BT = None if start_BT is None else np.asarray(start_BT)
  for i, row in enumerate(rows):
    count_T = row['policy'][:, 2]
    is_said_T = count_T > 0
    row['old'] = old_BT[i]
    gap_T = np.where(is_said_T, row['old'] - row['sampled'], 0)
    scores.count += float(count_T.sum())
    scores.surprise -= float((count_T * row['sampled']).sum())
    scores.gap += float((count_T * np.abs(gap_T)).sum())
    scores.most = max(scores.most, float(np.abs(gap_T).max()))
    if start_BT is not None:
      row['start'] = start_BT[i]
      kl_T = surrogate.k3(row['old'], row['start'])
      scores.kl += float((count_T * np.asarray(kl_T)).sum())
      scores.has_start = True
    if cap:
      weight_T = np.exp(np.minimum(gap_T, np.log(cap)))
      scores.capped += float((count_T * (gap_T > np.log(cap))).sum())
      row['policy'] = row['policy'].copy()
      row['policy'][:, :2] *= weight_T[:, None]
      if 'advantage' in row:
        row['advantage'] = row['advantage'] * weight_T[:, None]


def stack(rows: list[dict], size: int, scored: bool = True) -> dict:
  """A batch of rows, filled up with empty ones.

  Args:
    rows: of a policy first; others may follow.
    size: rows of the batch.
    scored: whether the objectives are asked for, and not the policy alone.
  """
  fields = [field for field in _FIELDS if field in rows[0]]
  batch = {}
  for field in fields:
    first = rows[0][field]
    absent = _ABSENT.get(field, 0)
    missing = np.full_like(first, 1 if field == 'span' else absent)
    some = [row.get(field, missing) for row in rows]
    batch[field] = np.stack(some + [missing] * (size - len(rows)))
  if not scored:
    batch['weights'] = np.zeros_like(batch['weights'])
  return batch


def rounded(parts: int) -> int:
  """At least so many: of 4 to 8 sizes an octave, so that few are compiled."""
  step = 1 << max(0, parts.bit_length() - 3)
  return -(-parts // step) * step


def tokens(made: list) -> dict:
  """Tokens of an iteration's rows, for the log."""
  flat = sum(one.flat_tokens for one in made)
  trees = sum(one.tree_tokens for one in made)
  return {
    'tokens_flat': flat,
    'tokens_tree': trees,
    'tokens_ratio': flat / max(1, trees),
    'tokens_rows': sum(one.packed_tokens for one in made),
    'rows': sum(len(one.rows) for one in made),
    'observations_overlong': sum(one.overlong for one in made),
  }


def of_updates(values: list[dict]) -> dict:
  """What the updates of an iteration say, for the log."""
  total = lambda key: sum(float(value[key]) for value in values)
  policy = [value['policy'] for value in values]
  advantage = sum(float(one.advantage) for one in policy)
  clipped = sum(float(one.clipped) for one in policy)
  line = {
    'loss': total('loss') / len(values),
    'grad_norm': total('grad_norm') / len(values),
    'lr': float(values[-1]['lr']),
    'updates': len(values),
    'clipped': clipped / advantage if advantage else None,
  }
  for i, name in enumerate(OBJECTIVES):
    nll = sum(float(value['nll'][i]) for value in values)
    weight = sum(float(value['weight'][i]) for value in values)
    line[f'{name}/nll'] = nll / weight if weight else None
    line[f'{name}/tokens'] = weight
  return line
