"""The loss of rows of trees: sums of weighted nll, objective by objective.

Letters: B batch, T time, D embed, V vocabulary, O objectives, C tokens of a
chunk, N all tokens of a device.
"""

import jax
import jax.numpy as jnp
from flax import struct

from early_experience.model import transformer
from early_experience.model.config import ModelConfig
from early_experience.model.sharding import RULES, spec


@struct.dataclass
class Sums:
  """What may be added over microbatches, hosts and evaluation batches.

  Attributes:
    nll_O: float32, weighted negative log-likelihood in nats.
    weight_O: float32, weighted tokens. Divide by it only at the very end.
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
  hidden_BTD = transformer.hidden(
    params, batch['tokens'], batch['depth'], batch['span'], cfg
  )
  nll_BT = token_nll(
    hidden_BTD,
    transformer.output_head(params, cfg),
    batch['tokens'],
    batch['back'],
    chunk=cfg.loss_chunk,
  )
  weights_BTO = batch['weights']
  return Sums(
    nll_O=jnp.sum(nll_BT[:, :, None] * weights_BTO, axis=(0, 1)),
    weight_O=jnp.sum(weights_BTO, axis=(0, 1)),
  )


def token_nll(
  hidden_BTD: jax.Array,
  head_VD: jax.Array,
  tokens_BT: jax.Array,
  back_BT: jax.Array,
  *,
  chunk: int,
) -> jax.Array:
  """Each token's negative log-likelihood, without a whole array of logits.

  Token t is predicted at position t - back[t]: so one position predicts the
  first token of each of its branches.

  Args:
    hidden_BTD: after the final norm, in the compute dtype.
    head_VD: the unembedding; V may be split over the mesh, D is whole.
    tokens_BT: int32 ids.
    back_BT: int32 distance to the token before on the same path.
    chunk: tokens of a device whose logits exist at a time, forward and
      backward: chunk * V * 4 bytes.

  Returns:
    float32 [B, T] nats.
  """
  rows, head = spec('batch'), spec('vocab')
  mapped = jax.shard_map(
    lambda *args: _local_nll(*args, chunk),
    in_specs=(rows, head, rows, rows),
    out_specs=rows,
  )
  return mapped(hidden_BTD, head_VD, tokens_BT, back_BT)


def _local_nll(hidden_BTD, head_VD, tokens_BT, back_BT, chunk):
  """`token_nll` of the rows of one device, with its part of the vocabulary."""
  # Here and not in the loop below: so the head's gradient crosses the devices
  # once a step, not once a chunk. It is summed over the chunks in float32.
  head_VD = jax.lax.pcast(head_VD, RULES['batch'], to='varying')
  head32_VD = head_VD.astype(jnp.float32)
  first_id = jax.lax.axis_index(RULES['vocab']) * len(head_VD)
  ids_V = first_id + jnp.arange(len(head_VD))

  @jax.checkpoint
  def nll(carry, inputs):
    hidden_CD, tokens_C = inputs
    logits_CV = jnp.einsum(
      'cd,vd->cv',
      hidden_CD,
      head32_VD.astype(hidden_CD.dtype),
      preferred_element_type=jnp.float32,
    )
    largest_C = jax.lax.stop_gradient(logits_CV).max(axis=-1)
    largest_C = jax.lax.pmax(largest_C, RULES['vocab'])
    total_C = jnp.exp(logits_CV - largest_C[:, None]).sum(axis=-1)
    # A masked sum: the target's logit is on one device of the `tensor` axis.
    is_target_CV = ids_V[None] == tokens_C[:, None]
    target_C = jnp.where(is_target_CV, logits_CV, 0).sum(axis=-1)
    total_C, target_C = jax.lax.psum((total_C, target_C), RULES['vocab'])
    return carry, largest_C + jnp.log(total_C) - target_C

  count = tokens_BT.size
  chunk = min(chunk, count)
  padding = -count % chunk
  source_N = jnp.arange(count) - back_BT.reshape(count)
  hidden_ND = hidden_BTD.reshape(count, -1)[source_N]
  hidden_ND = jnp.pad(hidden_ND, ((0, padding), (0, 0)))
  tokens_N = jnp.pad(tokens_BT.reshape(count), (0, padding))
  chunks = (
    hidden_ND.reshape(-1, chunk, hidden_ND.shape[-1]),
    tokens_N.reshape(-1, chunk),
  )
  _, nll_MC = jax.lax.scan(nll, None, chunks)
  return nll_MC.reshape(-1)[:count].reshape(tokens_BT.shape)
