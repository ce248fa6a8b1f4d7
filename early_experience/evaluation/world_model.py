"""How well a policy models the world: the outcomes of held-out branches.

One forward pass over the experience tree gives both measures. Its nll is the
teacher-forced one; and as greedy decoding goes wrong exactly where a true token
is not the likeliest after the true ones, an outcome would be decoded exactly
when all of its tokens, its end included, are the likeliest.
"""

import collections
import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from early_experience.evaluation import statistics
from early_experience.experience import render, tree
from early_experience.experience.records import Trajectory
from early_experience.model import sharding, transformer
from early_experience.model.config import ModelConfig
from early_experience.model.precision import wide
from early_experience.tokenizers.interface import Tokenizer

_ROWS = 8  # a batch, at least


def measure(
  params: dict,
  cfg: ModelConfig,
  tokenizer: Tokenizer,
  mesh: jax.sharding.Mesh,
  trajectories: Iterable[Trajectory],
  *,
  states: int,
  style: str,
  k: int = 0,
) -> dict:
  """Scores the outcomes of the expert's action and of every alternative.

  Args:
    params: of the policy.
    cfg: of the policy.
    tokenizer: of the policy.
    mesh: that holds the parameters; it must be set.
    trajectories: held-out records with alternatives.
    states: at most; which ones does not depend on the policy.
    style: `config.prepare.world_model`.
    k: of each state, the first so many alternatives; 0 = all.

  Returns:
    `states`, and over their branches: `exact_match` with its 95% interval over
    trajectories, within which outcomes are alike, of all of them, how many of
    these are the commonest one, which needs no world model, and how many
    `cfg.max_tokens` makes too long to be foretold; over the others `nll` in
    nats per token of the outcomes and their ends, and `tokens`.
  """
  chosen = _choose(list(trajectories), states)
  rows, branches, of_trajectory, all_of = [], 0, [], []
  texts = collections.Counter()
  for number, (trajectory, indices) in enumerate(chosen):
    sequences, outcomes = [], 0
    for script in _scripts(trajectory, indices, style, k or None):
      (sequence,) = tokenizer.encode_script(script)  # it has one target
      outcomes += 1
      texts[script[-1].text] += 1
      if len(sequence.ids_T) <= cfg.max_tokens:
        sequences.append(sequence)
    for row in _rows(sequences, cfg.max_tokens):
      row['branch'] = np.where(row['branch'] < 0, -1, row['branch'] + branches)
      rows.append(row)
    branches += len(sequences)
    of_trajectory += [number] * len(sequences)
    all_of.append(outcomes)
  nll, tokens, wrong = np.zeros((3, branches))
  for batch, scored in _score(params, rows, cfg, tokenizer.vocab_size, mesh):
    target = batch['branch'] >= 0
    index = batch['branch'][target]
    np.add.at(nll, index, scored['nll'][target])
    np.add.at(wrong, index, ~scored['right'][target])
    np.add.at(tokens, index, 1)
  # One too long to be read was not foretold.
  right = np.bincount(of_trajectory, wrong == 0, len(chosen))
  exact = statistics.clustered(right.tolist(), all_of)
  return {
    'states': sum(len(indices) for _, indices in chosen),
    'exact_match': {
      'count': int(right.sum()),
      'n': sum(all_of),
      'commonest': max(texts.values(), default=0),
      'too_long': sum(all_of) - branches,
      **dataclasses.asdict(exact),
    },
    'nll': float(nll.sum() / max(tokens.sum(), 1)),
    'tokens': int(tokens.sum()),
  }


def _choose(trajectories, states):
  """A fixed pseudo-random choice of states, by trajectory."""
  every = [(t, i) for t in trajectories for i in range(len(t.steps))]
  every.sort(key=lambda s: _digest(f'{s[0].task_id}/{s[1]}'))
  taken = {}
  for trajectory, index in every[:states]:
    taken.setdefault(trajectory.task_id, (trajectory, []))[1].append(index)
  return list(taken.values())


def _digest(text):
  return hashlib.sha256(text.encode()).digest()


def _scripts(trajectory, indices, style, k=None):
  """One script a branch, with only its outcome as target."""
  for i in indices:
    for past, outcome in render.predictions(trajectory, i, style, k):
      yield (*past, render.Turn('observation', outcome, 'world_model'))


def _rows(sequences, row_tokens) -> Iterator[dict[str, np.ndarray]]:
  """Trees of all branches of a trajectory, padded to rows.

  A row's `branch` says which sequence a token is a target of, else -1.
  """
  count = len(sequences)
  marked = [
    dataclasses.replace(
      sequence,
      weights_TO=(
        sequence.weights_TO.any(1)[:, None] & (np.arange(count) == i)
      ),
    )
    for i, sequence in enumerate(sequences)
  ]
  for whole in tree.merge(marked):
    for window in tree.windows(whole, row_tokens):
      spare = (0, row_tokens - len(window))
      yield {
        'tokens': np.pad(window.tokens_T, spare),
        'depth': np.pad(window.depth_T, spare),
        'back': np.pad(window.back_T, spare),
        'span': np.pad(window.span_T, spare, constant_values=1),
        'branch': np.pad(
          np.where(window.weights_TO.any(1), window.weights_TO.argmax(1), -1),
          spare,
          constant_values=-1,
        ),
      }


def _score(params, rows, cfg, vocab, mesh):
  """Yields (batch, what `_token_scores` says of its rows)."""
  ways = mesh.shape['data'] * mesh.shape['fsdp']
  size = -(-_ROWS // ways) * ways
  for start in range(0, len(rows), size):
    some = rows[start : start + size]
    batch = {
      name: np.stack([row[name] for row in some])
      for name in ('tokens', 'depth', 'back', 'span', 'branch')
    }
    padding = ((0, size - len(some)), (0, 0))
    whole = {
      name: np.pad(value, padding, constant_values=name == 'span')
      for name, value in batch.items()
      if name != 'branch'
    }
    scored = _token_scores(params, sharding.put_batch(whole, mesh), cfg, vocab)
    yield batch, {k: np.asarray(v)[: len(some)] for k, v in scored.items()}


@functools.partial(jax.jit, static_argnames=('cfg', 'vocab'))
def _token_scores(params, batch, cfg, vocab):
  """Each token's nll in nats, and whether it was the likeliest: [B, T].

  Rows of the embedding beyond the tokenizer's `vocab` ids are never decoded.
  """
  h_BTD = transformer.hidden(
    params, batch['tokens'], batch['depth'], batch['span'], cfg
  )
  head_VD = transformer.output_head(params, cfg)
  B, T = batch['tokens'].shape
  parent_BT = jnp.arange(T)[None] - batch['back']
  h_BTD = jnp.take_along_axis(h_BTD, parent_BT[..., None], axis=1)
  # Some places of all rows at a time, so that the logits are never whole.
  places = min(T, max(1, cfg.loss_chunk // B))
  spare = -T % places

  def chunks(x):
    x = jnp.pad(x, [(0, 0), (0, spare)] + [(0, 0)] * (x.ndim - 2))
    return jnp.moveaxis(x.reshape(B, -1, places, *x.shape[2:]), 1, 0)

  def score(inputs):
    h_BtD, tokens_Bt = inputs
    logits_BtV = jnp.einsum(
      'btd,vd->btv',
      h_BtD,
      head_VD,
      preferred_element_type=wide(h_BtD.dtype),
    )
    logits_BtV = transformer.capped(logits_BtV, cfg)
    # A masked sum, for the vocabulary may be split over devices.
    ids_11V = jnp.arange(cfg.vocab_size)[None, None]
    is_own_BtV = tokens_Bt[..., None] == ids_11V
    own_Bt = jnp.where(is_own_BtV, logits_BtV, 0).sum(-1)
    top_Bt = logits_BtV.max(-1)
    rest_Bt = jnp.exp(logits_BtV - top_Bt[..., None]).sum(-1)
    said_Bt = jnp.where(ids_11V < vocab, logits_BtV, -jnp.inf).max(-1)
    return top_Bt + jnp.log(rest_Bt) - own_Bt, own_Bt == said_Bt

  scored = jax.lax.map(score, (chunks(h_BTD), chunks(batch['tokens'])))
  nll_BT, right_BT = (
    jnp.moveaxis(x, 0, 1).reshape(B, -1)[:, :T] for x in scored
  )
  return {'nll': nll_BT, 'right': right_BT}
