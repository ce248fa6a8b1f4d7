"""Random groups of episodes, and the surrogate as the literature has it."""

import dataclasses
import functools
import random

import jax
import jax.numpy as jnp
import numpy as np

from early_experience.experience import render
from early_experience.model.transformer import hidden, output_head
from tests.test_agent import coder

ACTIONS = ('look', 'open box 1', 'open box 3', 'take coin from box 3')
ROW = 192


def group(seed, members=4, steps=3):
  """Records of one task: they share openings, and more by chance."""
  rng = random.Random(seed)
  return [_record(rng, seed, member, steps) for member in range(members)]


def _record(rng, seed, member, most):
  observation, steps = 'You see box 1, box 2, box 3.', []
  script = render.opening('Take the coin.', observation)
  for _ in range(rng.randint(1, most)):
    action = rng.choice(ACTIONS)
    ids = coder().encode_answer(script, 'action', action)
    if rng.random() < 0.3:  # as it may be sampled, but is never read again
      ids = [i for c in action for i in coder().encode(c)] + [ids[-1]]
    steps.append(
      {
        'observation': observation,
        'action': action,
        'thought': None,
        'valid': rng.random() < 0.8,
        'said': [_said(script, ids)],
      }
    )
    observation = f'Nothing happens. {len(action)}'
    script += render.exchange(action, observation)
  return {
    'task_id': f'task-{seed}',
    'member': member,
    'instruction': 'Take the coin.',
    'success': rng.random() < 0.5,
    'score': rng.randint(0, 4) / 4,
    'end': 'done',
    'steps': steps,
    'final_observation': observation,
  }


def _said(script, ids):
  """What was sampled; chance is the history's, as with one policy."""
  rng = random.Random(repr(script))
  limited = rng.random() < 0.5
  logps, allowed = [], []
  for i, token in enumerate(ids):
    here = random.Random(repr((script, ids[: i + 1])))
    others = random.Random(repr((script, ids[:i]))).sample(range(5, 300), 6)
    allowed.append(sorted({*others, token}) if limited else [])
    logps.append(-here.random() if i + 1 < len(ids) else 0.0)
  said = {'role': 'action', 'ids': ids, 'logps': logps}
  return said | ({'allowed': allowed} if limited else {})


@dataclasses.dataclass(frozen=True)
class Flat:
  """Every decision by itself, in a row of its own.

  Attributes:
    episode: [S], each decision's.
    tokens: [S, T].
    said: bool [S, T], the tokens that were sampled and might have been others.
    allowed: bool [S, T, V].
    advantage: [S].
    sampled: [S, T].
  """

  episode: np.ndarray
  tokens: np.ndarray
  said: np.ndarray
  allowed: np.ndarray
  advantage: np.ndarray
  sampled: np.ndarray


def flat(groups, vocab):
  """The decisions of `advantages.Groups.kept`."""
  pairs = [pair for some in groups for pair in some]
  rows = [row for pair in pairs for row in _rows(*pair)]
  count = len(rows)
  found = Flat(
    np.repeat(np.arange(len(pairs)), [len(values) for _, values in pairs]),
    np.zeros((count, ROW), np.int32),
    np.zeros((count, ROW), bool),
    np.ones((count, ROW, vocab), bool),
    np.array([value for *_, value in rows], np.float64),
    np.zeros((count, ROW)),
  )
  for s, (prompt, said, _) in enumerate(rows):
    ids = prompt + said['ids']
    found.tokens[s, : len(ids)] = ids
    for i, logp in enumerate(said['logps']):
      t = len(prompt) + i
      found.said[s, t], found.sampled[s, t] = logp < 0, logp
      if said.get('allowed'):
        found.allowed[s, t] = np.isin(np.arange(vocab), said['allowed'][i])
  return found


def _rows(record, values):
  script = render.opening(
    record['instruction'], record['steps'][0]['observation']
  )
  after = [step['observation'] for step in record['steps'][1:]]
  after.append(record['final_observation'])
  for step, outcome, value in zip(record['steps'], after, values, strict=True):
    prompt = coder().encode_prompt(script, 'action')
    yield prompt, step['said'][0], value
    script += render.exchange(step['action'], outcome)


@functools.partial(jax.jit, static_argnames='cfg')
def flat_logp(params, tokens_ST, allowed_STV, cfg):
  """Log-probabilities among what was allowed, from all logits at once."""
  place_T = jnp.arange(ROW, dtype=jnp.int32)
  depth_ST, span_ST = (
    jnp.broadcast_to(x, tokens_ST.shape) for x in (place_T, ROW - place_T)
  )
  h_STD = hidden(params, tokens_ST, depth_ST, span_ST, cfg)
  logits_STV = jnp.einsum('std,vd->stv', h_STD, output_head(params, cfg))
  before_STV = jnp.roll(logits_STV, 1, axis=1)
  logp_STV = jax.nn.log_softmax(
    jnp.where(allowed_STV, before_STV, -1e30), axis=-1
  )
  is_own_STV = tokens_ST[..., None] == jnp.arange(cfg.vocab_size)[None, None]
  return jnp.where(is_own_STV, logp_STV, 0).sum(-1)


def textbook(logp_ST, old_ST, start_ST, found, how, cap=0.0, by_token=False):
  """Minus the mean over sampled tokens of PPO's objective, token by token.

  Or with the ratio of the token's episode in the place of its own, and the mean
  over episodes of their means: GSPO (equation 5); or `by_token` GSPO-token,
  whose gradient is the token's own (equation 14).
  """
  ratio = jnp.exp(logp_ST - old_ST)
  if how.groups:
    ratio = _of_episodes(logp_ST - old_ST, found)
  if by_token:
    fixed = jax.lax.stop_gradient
    ratio = fixed(ratio) * jnp.exp(logp_ST - fixed(logp_ST))
  value = found.advantage[:, None] * jnp.ones_like(ratio)
  clipped = jnp.clip(ratio, 1 - how.clip_low, 1 + how.clip_high)
  term = jnp.minimum(ratio * value, clipped * value)
  if how.dual_clip:
    term = jnp.where(value < 0, jnp.maximum(term, how.dual_clip * value), term)
  if cap:
    term *= jnp.minimum(jnp.exp(old_ST - found.sampled), cap)
  d = start_ST - logp_ST
  kl = jnp.where(found.said, jnp.exp(d) - d - 1, 0).sum() / found.said.sum()
  if how.groups:
    of_episode = lambda x_S: _by_episode(found) @ x_S
    mean_E = of_episode(jnp.where(found.said, term, 0).sum(1))
    mean_E /= of_episode(found.said.sum(1))
    return how.kl_weight * kl - mean_E.mean()
  mean = jnp.where(found.said, term, 0).sum() / found.said.sum()
  return how.kl_weight * kl - mean


def _by_episode(found):
  """1 where a sequence is of an episode [E, S]."""
  return found.episode == np.arange(found.episode[-1] + 1)[:, None]


def _of_episodes(log_ratio_ST, found):
  """GSPO's (equation 7): exp(the mean over all tokens of an episode)."""
  is_of_ES = _by_episode(found)
  total_E = is_of_ES @ jnp.where(found.said, log_ratio_ST, 0).sum(1)
  mean_E = total_E / (is_of_ES @ found.said.sum(1))
  return jnp.exp(mean_E)[found.episode][:, None]
