"""The loss of rows of trees: sums of weighted nll, objective by objective.

Letters: B batch, T time, D embed, V vocabulary, O objectives, C tokens of a
chunk, N all tokens of a device.
"""

import functools

import jax
import jax.numpy as jnp
from flax import struct

from early_experience.model import transformer
from early_experience.model.config import ModelConfig
from early_experience.model.precision import wide
from early_experience.model.sharding import AXES, RULES, spec

_UNLIKELY = -1e30  # a logit whose share is 0, and whose differences are finite


@struct.dataclass
class Sums:
  """What may be added over microbatches, hosts and evaluation batches.

  Attributes:
    nll_O: float32 or wider, weighted negative log-likelihood in nats.
    weight_O: float32 or wider, weighted tokens. Divide by it at the very end.
  """

  nll_O: jax.Array
  weight_O: jax.Array


def sums(params: dict, batch: dict[str, jax.Array], cfg: ModelConfig) -> Sums:
  """The sums of a batch of rows.

  Args:
    params: the model's.
    batch: int32 [B, T] `tokens`, `depth`, `back`, `span` and float32
      [B, T, O] `weights`.
    cfg: static.
  """
  return weighted(batch_nll(params, batch, cfg), batch['weights'])


def weighted(nll_BT: jax.Array, weights_BTO: jax.Array) -> Sums:
  """The sums of tokens whose nll is known."""
  return Sums(
    nll_O=jnp.sum(nll_BT[:, :, None] * weights_BTO, axis=(0, 1)),
    weight_O=jnp.sum(weights_BTO, axis=(0, 1), dtype=nll_BT.dtype),
  )


def batch_nll(
  params: dict, batch: dict[str, jax.Array], cfg: ModelConfig, vocab: int = 0
) -> jax.Array:
  """Each scored token's negative log-likelihood in a batch of rows.

  Args:
    params: the model's.
    batch: see `sums`; the tokens that a policy sampled are scored too, where
      there are columns of a `surrogate`.
    cfg: static.
    vocab: ids that may be said; those of the embedding's rows beyond may not.
      0: all. Static.

  Returns:
    [B, T] nats; 0 where nothing is scored.
  """
  hidden_BTD = transformer.hidden(
    params, batch['tokens'], batch['depth'], batch['span'], cfg
  )
  scored_BT = jnp.any(batch['weights'] != 0, axis=-1)
  if 'policy' in batch:
    scored_BT |= jnp.any(batch['policy'] != 0, axis=-1)
  return token_nll(
    hidden_BTD,
    transformer.output_head(params, cfg),
    batch['tokens'],
    batch['back'],
    scored_BT,
    batch.get('allowed'),
    chunk=cfg.loss_chunk,
    softcap=cfg.logit_softcap,
    vocab=vocab if vocab < cfg.vocab_size else 0,
  )


def token_nll(
  hidden_BTD: jax.Array,
  head_VD: jax.Array,
  tokens_BT: jax.Array,
  back_BT: jax.Array,
  scored_BT: jax.Array,
  allowed_BTA: jax.Array | None = None,
  *,
  chunk: int,
  softcap: float = 0.0,
  vocab: int = 0,
) -> jax.Array:
  """Each scored token's negative log-likelihood; no whole array of logits.

  Token t is predicted at position t - back[t]: so one position predicts the
  first token of each of its branches. Only scored tokens meet the head, so
  context and padding cost nothing here, forward or backward.

  Args:
    hidden_BTD: after the final norm, in the compute dtype.
    head_VD: the unembedding; V may be split over the mesh, D is whole.
    tokens_BT: int32 ids.
    back_BT: int32 distance to the token before on the same path.
    scored_BT: bool; the others' nll is 0 by definition.
    allowed_BTA: int32; the ids among which each token was chosen, -1 for no
      more. A token whose first is -1 was free; None: all were.
    chunk: tokens of a device whose logits exist at a time, forward and
      backward: chunk * V * 4 bytes.
    softcap: logits are softcap * tanh(logits / softcap); 0: as they are.
    vocab: ids among which a free token is chosen; 0: all.

  Returns:
    [B, T] nats in float32, or wider as `hidden_BTD`.
  """
  rows, head = spec('batch'), spec('vocab')
  limits = () if allowed_BTA is None else (allowed_BTA,)
  mapped = jax.shard_map(
    functools.partial(_local_nll, static=(chunk, softcap, vocab)),
    in_specs=(rows, head, rows, rows, rows, *(rows for _ in limits)),
    out_specs=rows,
  )
  return mapped(hidden_BTD, head_VD, tokens_BT, back_BT, scored_BT, *limits)


def _local_nll(
  hidden_BTD,
  head_VD,
  tokens_BT,
  back_BT,
  scored_BT,
  allowed_BTA=None,
  *,
  static,
):
  """`token_nll` of the rows of one device, with its part of the vocabulary."""
  chunk, softcap, vocab = static
  count = tokens_BT.size
  chunk = min(chunk, count)
  # Scored tokens first. What fills the last chunk is out of range: reading it
  # gives 0, writing it nothing.
  scored_N = scored_BT.reshape(count)
  order_N = jnp.argsort(~scored_N, stable=True)
  order_N = jnp.where(jnp.arange(count) < scored_N.sum(), order_N, count)
  order_P = jnp.pad(order_N, (0, -count % chunk), constant_values=count)
  source_N = jnp.arange(count) - back_BT.reshape(count)
  # Here and not in the loops: so the head's gradient, which the loops sum in
  # a wide dtype, crosses the devices once a step.
  head_VD = jax.lax.pcast(head_VD, RULES['batch'], to='varying')
  nll_P = _ordered_nll(
    hidden_BTD.reshape(count, -1),
    head_VD.astype(wide(head_VD.dtype)),
    source_N.at[order_P].get(mode='fill', fill_value=count),
    tokens_BT.reshape(count).at[order_P].get(mode='fill', fill_value=0),
    None
    if allowed_BTA is None
    else allowed_BTA.reshape(count, -1)
    .at[order_P]
    .get(mode='fill', fill_value=-1),
    (scored_N.sum() + chunk - 1) // chunk,
    (chunk, softcap, vocab),
  )
  nll_N = jnp.zeros_like(scored_N, nll_P.dtype).at[order_P].add(nll_P)
  return nll_N.reshape(tokens_BT.shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(6,))
def _ordered_nll(
  hidden_ND, head_VD, source_P, target_P, allowed_PA, visits, static
):
  """The nll of each target; from chunk `visits` on, no number of meaning.

  The loops hold no collective, so devices may differ in `visits`. The head is
  wide for its gradient's sake; it is used in the dtype of `hidden_ND`.
  """
  saved = hidden_ND, head_VD, source_P, target_P, allowed_PA, visits
  return _save(*saved, static)[0]


def _logits(hidden_ND, head_VD, source_C, softcap):
  """Of a chunk: hidden [C, D] and logits [C, V]."""
  hidden_CD = hidden_ND.at[source_C].get(mode='fill', fill_value=0)
  logits_CV = jnp.einsum(
    'cd,vd->cv',
    hidden_CD,
    head_VD,
    preferred_element_type=wide(hidden_CD.dtype),
  )
  if softcap:
    logits_CV = softcap * jnp.tanh(logits_CV / softcap)
  return hidden_CD, logits_CV


def _is_target(target_C, size):
  """Whether each of this device's part of the vocabulary is the target."""
  first_id = jax.lax.axis_index(RULES['vocab']) * size
  return (first_id + jnp.arange(size))[None] == target_C[:, None]


def _only(allowed_CA, logits_CV, vocab):
  """Logits of what each token was chosen among; all others are unlikely."""
  size = logits_CV.shape[1]
  first_id = jax.lax.axis_index(RULES['vocab']) * size
  if vocab:
    is_said_V = first_id + jnp.arange(size) < vocab
    logits_CV = jnp.where(is_said_V[None], logits_CV, _UNLIKELY)
  if allowed_CA is None:
    return logits_CV
  place_CA = allowed_CA - first_id
  here_CA = (allowed_CA >= 0) & (place_CA >= 0) & (place_CA < size)
  put = lambda row_V, places, here: row_V.at[jnp.where(here, places, size)].set(
    True, mode='drop'
  )
  free_C1 = allowed_CA[:, :1] < 0
  is_allowed_CV = jax.vmap(put)(
    jnp.broadcast_to(free_C1, logits_CV.shape), place_CA, here_CA
  )
  return jnp.where(is_allowed_CV, logits_CV, _UNLIKELY)


def _varying(arrays):
  """Typed as what differs between devices, as loops over chunks make it."""
  return jax.lax.pcast(arrays, tuple(AXES), to='varying')


def _save(hidden_ND, head_VD, source_P, target_P, allowed_PA, visits, static):
  chunk, softcap, vocab = static
  head_VD = head_VD.astype(hidden_ND.dtype)

  def visit(i, carry):
    start = i * chunk
    take = lambda x: jax.lax.dynamic_slice_in_dim(x, start, chunk)
    _, logits_CV = _logits(hidden_ND, head_VD, take(source_P), softcap)
    allowed_CA = None if allowed_PA is None else take(allowed_PA)
    logits_CV = _only(allowed_CA, logits_CV, vocab)
    top_C = logits_CV.max(axis=-1)
    total_C = jnp.exp(logits_CV - top_C[:, None]).sum(axis=-1)
    # A masked sum: the target's logit is on one device of the `tensor` axis.
    is_target_CV = _is_target(take(target_P), len(head_VD))
    own_C = jnp.where(is_target_CV, logits_CV, 0).sum(axis=-1)
    return tuple(
      jax.lax.dynamic_update_slice_in_dim(whole, part, start, axis=0)
      for whole, part in zip(carry, (top_C, total_C, own_C), strict=True)
    )

  zeros_P = jnp.zeros(source_P.shape, wide(hidden_ND.dtype))
  start = _varying((zeros_P, zeros_P + 1, zeros_P))  # 1: it has a logarithm
  part_P, total_P, own_P = jax.lax.fori_loop(0, visits, visit, start)
  top_P = jax.lax.pmax(part_P, RULES['vocab'])
  total_P, own_P = jax.lax.psum(
    (total_P * jnp.exp(part_P - top_P), own_P), RULES['vocab']
  )
  sum_P = top_P + jnp.log(total_P)
  saved = hidden_ND, head_VD, source_P, target_P, allowed_PA, visits, sum_P
  return sum_P - own_P, saved


def _backward(static, saved, d_nll_P):
  chunk, softcap, vocab = static
  hidden_ND, head_VD, source_P, target_P, allowed_PA, visits, sum_P = saved
  sums = wide(hidden_ND.dtype)
  product = functools.partial(jnp.einsum, preferred_element_type=sums)

  def visit(i, carry):
    d_hidden_ND, d_head_VD = carry
    take = lambda x: jax.lax.dynamic_slice_in_dim(x, i * chunk, chunk)
    source_C = take(source_P)
    hidden_CD, logits_CV = _logits(hidden_ND, head_VD, source_C, softcap)
    allowed_CA = None if allowed_PA is None else take(allowed_PA)
    share_CV = jnp.exp(
      _only(allowed_CA, logits_CV, vocab) - take(sum_P)[:, None]
    )
    is_target_CV = _is_target(take(target_P), len(head_VD))
    d_CV = (share_CV - is_target_CV) * take(d_nll_P)[:, None]
    if softcap:
      d_CV *= 1 - jnp.square(logits_CV / softcap)
    d_CV = d_CV.astype(head_VD.dtype)
    d_hidden_CD = product('cv,vd->cd', d_CV, head_VD)
    return (
      d_hidden_ND.at[source_C].add(d_hidden_CD.astype(d_hidden_ND.dtype)),
      d_head_VD + product('cv,cd->vd', d_CV, hidden_CD),
    )

  zeros = jnp.zeros(hidden_ND.shape, hidden_ND.dtype)
  start = _varying((zeros, jnp.zeros(head_VD.shape, sums)))
  d_hidden_ND, d_head_VD = jax.lax.fori_loop(0, visits, visit, start)
  # Every device of `tensor` knows what its part of the vocabulary asks for.
  d_hidden_ND = jax.lax.psum(d_hidden_ND, RULES['vocab'])
  return d_hidden_ND, d_head_VD, None, None, None, None


_ordered_nll.defvjp(_save, _backward)
