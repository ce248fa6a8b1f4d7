"""Acting: a KV cache kept across turns, and generation in one device loop.

Letters: B batch, T fed tokens, M generated tokens, S cache capacity, E edges of
a trie, N query heads, K key heads, H head size, V vocabulary.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from early_experience.decoding.trie import Trie
from early_experience.model import rope
from early_experience.model.attention import attend
from early_experience.model.config import ModelConfig
from early_experience.model.precision import wide
from early_experience.model.sharding import check_rows, spec
from early_experience.model.transformer import (
  block,
  capped,
  embed,
  final_norm,
  gathered_layer,
  output_head,
  reaches,
)


@struct.dataclass
class Cache:
  """Keys and values of what each row has been fed: an array for each layer.

  `length_B` counts the tokens of a row and is the next one's position. Setting
  it back (`cache.replace(length_B=...)`) forgets what came after. A row that is
  fed beyond the capacity loses the rest, and its length tells: where
  `length_B > capacity`, what the row says from then on means nothing.
  """

  k: tuple[jax.Array, ...]  # L times [B, K, S, H]
  v: tuple[jax.Array, ...]
  length_B: jax.Array  # int32

  @property
  def capacity(self) -> int:
    """Tokens a row can hold."""
    return self.k[0].shape[2]


def init_cache(cfg: ModelConfig, batch: int, capacity: int) -> Cache:
  """An empty cache of `capacity` tokens a row, in `cfg.dtype`.

  Raises:
    UserError: the rows cannot be split evenly over the mesh.
  """
  check_rows(batch, jax.sharding.get_abstract_mesh())
  shape = (batch, cfg.kv_heads, capacity, cfg.head_dim)
  split = spec('batch', 'kv_heads', None, None)

  def empty():
    return tuple(
      jnp.zeros(shape, cfg.dtype, out_sharding=split) for _ in range(cfg.layers)
    )

  length_B = jnp.zeros(batch, jnp.int32, out_sharding=spec('batch'))
  return Cache(empty(), empty(), length_B)


def extend(
  params: dict,
  cache: Cache,
  tokens_BT: jax.Array,
  counts_B: jax.Array,
  cfg: ModelConfig,
) -> tuple[jax.Array, Cache]:
  """Feeds row b its first `counts_B[b]` tokens; a count of 0 changes nothing.

  Args:
    params: of the model.
    cache: its keys and values are given up to the result; its length is not.
    tokens_BT: int32; what is beyond a row's count does not matter.
    counts_B: int32, tokens to feed.
    cfg: static.

  Returns:
    Logits [B, V] after each row's last fed token (meaningless where the
    count is 0), and the cache.
  """
  logits_BV, k, v, length_B = _extend(
    params, cache.k, cache.v, cache.length_B, tokens_BT, counts_B, cfg=cfg
  )
  return logits_BV, Cache(k, v, length_B)


def generate(
  params: dict,
  cache: Cache,
  logits_BV: jax.Array,
  key: jax.Array,
  active_B: np.ndarray,
  *,
  cfg: ModelConfig,
  stop_ids: tuple[int, ...],
  vocab: int,
  max_tokens: int,
  temperature: float,
  trie: Trie | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array, Cache]:
  """Lets the active rows go on until they say a stop id, which is fed too.

  Args:
    params: of the model.
    cache: its keys and values are given up to the result; its length is not.
    logits_BV: after what each row was fed last, from `extend`.
    key: one PRNG key, or one for each row [B]: then what a row samples does not
      depend on where it stands in the batch.
    active_B: bool; the other rows change in nothing and get a count of 0.
    cfg: static.
    stop_ids: each ends a row. The first is forced as the last of `max_tokens`.
    vocab: ids of the tokenizer; the embedding may have rows beyond, which are
      never said.
    max_tokens: tokens a row may generate, the stop included.
    temperature: of sampling; 0 takes the likeliest.
    trie: what each row may say; None: anything.

  Returns:
    tokens [B, M] int32 (what is beyond the count is a stop id), counts [B]
    int32 with the stop included, the log-probabilities [B, M] with which the
    tokens were sampled, and the cache. A log-probability is that of the
    distribution sampled from, its temperature and the trie included: 0 of what
    was forced, and where the likeliest is taken.

  Raises:
    ValueError: an active row may say nothing, or more than `max_tokens`.
  """
  if trie is not None:
    if trie.longest > max_tokens:
      raise ValueError(f'{trie.longest} tokens a member, {max_tokens} allowed')
    if (np.asarray(active_B) & (trie.parent_BE[:, 0] < 0)).any():
      raise ValueError('an active row has an empty trie')
  tokens_BM, counts_B, logp_BM, k, v, length_B = _generate(
    params,
    cache.k,
    cache.v,
    cache.length_B,
    logits_BV,
    key,
    active_B,
    temperature,
    trie and (trie.parent_BE, trie.token_BE, trie.child_BE),
    cfg=cfg,
    stop_ids=stop_ids,
    vocab=vocab,
    max_tokens=max_tokens,
    greedy=temperature == 0,
  )
  return tokens_BM, counts_B, logp_BM, Cache(k, v, length_B)


@functools.partial(jax.jit, static_argnames='cfg', donate_argnames=('k', 'v'))
def _extend(params, k, v, length_B, tokens_BT, counts_B, *, cfg):
  length_B, tokens_BT, counts_B = map(_rows, (length_B, tokens_BT, counts_B))
  layers = _layers(params, cfg)
  return _feed(params, layers, k, v, length_B, tokens_BT, counts_B, cfg)


@functools.partial(
  jax.jit,
  static_argnames=('cfg', 'stop_ids', 'vocab', 'max_tokens', 'greedy'),
  donate_argnames=('k', 'v'),
)
def _generate(
  params,
  k,
  v,
  length_B,
  logits_BV,
  key,
  active_B,
  temperature,
  edges,
  *,
  cfg,
  stop_ids,
  vocab,
  max_tokens,
  greedy,
):
  B = len(logits_BV)
  keys_B = _rows(key if key.ndim else jax.random.split(key, B))
  edges = jax.tree.map(_rows, edges)
  layers = _layers(params, cfg)

  def choose(scores_BX, step):
    """The places chosen, and their log-probabilities."""
    if greedy:
      place_B = scores_BX.argmax(-1).astype(jnp.int32)
      return place_B, jnp.zeros_like(scores_BX[:, 0])
    draw = lambda key, scores: jax.random.categorical(
      jax.random.fold_in(key, step), scores / temperature
    )
    place_B = jax.vmap(draw)(keys_B, scores_BX).astype(jnp.int32)
    logp_BX = jax.nn.log_softmax(scores_BX / temperature)
    return place_B, _pick(logp_BX, place_B[:, None])[:, 0]

  def choose_edge(logits_BV, node_B, step):
    parent_BE, token_BE, child_BE = edges
    scores_BE = jnp.where(
      parent_BE == node_B[:, None], _pick(logits_BV, token_BE), -jnp.inf
    )
    edge_B, logp_B = choose(scores_BE, step)
    edge_B1 = edge_B[:, None]
    token_B, child_B = (_pick(x, edge_B1)[:, 0] for x in (token_BE, child_BE))
    return token_B, logp_B, child_B

  def say(state):
    step, logits_BV, node_B, running_B, said, counts_B, *cache = state
    if edges is None:
      token_B, logp_B = choose(logits_BV[:, :vocab], step)
    else:
      token_B, logp_B, node_B = choose_edge(logits_BV, node_B, step)
    free_B = running_B & (step < max_tokens - 1)
    token_B = jnp.where(free_B, token_B, stop_ids[0])
    said = tuple(
      jax.lax.dynamic_update_slice_in_dim(x_BM, x_B[:, None], step, axis=1)
      for x_BM, x_B in zip(
        said, (token_B, jnp.where(free_B, logp_B, 0)), strict=True
      )
    )
    fed_B = running_B.astype(jnp.int32)
    logits_BV, *cache = _feed(
      params, layers, *cache, token_B[:, None], fed_B, cfg
    )
    running_B &= ~jnp.isin(token_B, jnp.array(stop_ids))
    counts_B += fed_B
    return step + 1, logits_BV, node_B, running_B, said, counts_B, *cache

  def going_on(state):
    step, _, _, running_B, *_ = state
    return (step < max_tokens) & running_B.any()

  zeros_B = _rows(jnp.zeros(B, jnp.int32))
  said = (
    _rows(jnp.full((B, max_tokens), stop_ids[0], jnp.int32)),
    _rows(jnp.zeros((B, max_tokens), logits_BV.dtype)),
  )
  running_B = _rows(jnp.asarray(active_B))
  start = (0, _rows(logits_BV), zeros_B, running_B, said, zeros_B)
  cache = (k, v, _rows(length_B))
  end = jax.lax.while_loop(going_on, say, (*start, *cache))
  (tokens_BM, logp_BM), counts_B, *cache = end[4:]
  return tokens_BM, counts_B, logp_BM, *cache


def _feed(params, layers, k, v, length_B, tokens_BT, counts_B, cfg):
  """Logits after each row's last token, and the three parts of the cache."""
  S = k[0].shape[2]
  T = tokens_BT.shape[1]
  step_1T = jnp.arange(T, dtype=jnp.int32)[None]
  depth_BT = length_B[:, None] + step_1T
  visible_BTS = jnp.arange(S)[None, None] <= depth_BT[..., None]
  # What is written beyond a row's count is overwritten before it is seen; what
  # is beyond the capacity is dropped.
  put = jax.vmap(lambda old, slot, new: old.at[:, slot].set(new, mode='drop'))

  def attention(k_BKSH, v_BKSH, reach, q_BNTH, k_BKTH, v_BKTH):
    k_BKSH = put(k_BKSH, depth_BT, k_BKTH)
    v_BKSH = put(v_BKSH, depth_BT, v_BKTH)
    seen_BTS = visible_BTS
    if reach is not None:
      seen_BTS &= depth_BT[..., None] - jnp.arange(S)[None, None] < reach
    out_BNTH = attend(q_BNTH, k_BKSH, v_BKSH, seen_BTS, cfg.attention_softcap)
    return out_BNTH, (k_BKSH, v_BKSH)

  # A loop in Python: through `lax.scan` each layer's part of the cache would be
  # copied out and back for every token.
  turns = rope.turns(depth_BT, cfg)
  reach_L = reaches(cfg)
  x_BTD = embed(params, tokens_BT, cfg)
  kept = []
  for layer, (w, *old) in enumerate(zip(layers, k, v, strict=True)):
    reach = None if reach_L is None else int(reach_L[layer])
    attend_layer = functools.partial(attention, *old, reach)
    x_BTD, new = block(x_BTD, w, turns.of(reach), attend_layer, cfg)
    kept.append(new)
  last_B = jnp.maximum(counts_B - 1, 0)
  h_BD = jax.vmap(lambda x_TD, last: x_TD[last])(x_BTD, last_B)
  h_BD = final_norm(params, h_BD[:, None], cfg)[:, 0]
  logits_BV = jnp.einsum(
    'bd,vd->bv',
    h_BD,
    output_head(params, cfg),
    preferred_element_type=wide(h_BD.dtype),
    out_sharding=spec('batch', None),
  )
  logits_BV = capped(logits_BV, cfg)
  k, v = zip(*kept, strict=True)
  return logits_BV, k, v, length_B + counts_B


def _layers(params, cfg):
  """The weights of each layer, gathered once a call and not once a token."""
  layers = params['layers']
  return [
    gathered_layer({name: x[layer] for name, x in layers.items()}, cfg)
    for layer in range(cfg.layers)
  ]


def _rows(x):
  return jax.reshard(x, spec('batch', *(None,) * (x.ndim - 1)))


def _pick(values_BX, index_BY):
  return jax.vmap(lambda values, index: values[index])(values_BX, index_BY)
