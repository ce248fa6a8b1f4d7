"""Acting: a KV cache kept across turns, and generation in one device loop.

Letters: L layers, B batch, T fed tokens, M generated tokens, E edges of a trie,
K key heads, H head size, V vocabulary.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from early_experience.decoding.cache import Cache, append, init_keys
from early_experience.decoding.cache import init_cache as init_cache
from early_experience.decoding.feed import feed
from early_experience.decoding.trie import Trie
from early_experience.model.config import ModelConfig
from early_experience.model.sharding import spec
from early_experience.model.transformer import gathered


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
  return _extend(
    params, cache.k, cache.v, cache.length_B, tokens_BT, counts_B, cfg=cfg
  )


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
  """Lets the active rows go on until they say a stop id.

  The last token of a row is not fed: `extend` it by that one, and what follows.

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
  return _generate(
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


@functools.partial(jax.jit, static_argnames='cfg', donate_argnames=('k', 'v'))
def _extend(params, k, v, length_B, tokens_BT, counts_B, *, cfg):
  length_B, tokens_BT, counts_B = map(_rows, (length_B, tokens_BT, counts_B))
  cache = Cache(k, v, length_B)
  logits_BV, new = feed(
    gathered(params, cfg), cache, None, tokens_BT, counts_B, cfg
  )
  return logits_BV, append(cache, new, counts_B)


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
  params = gathered(params, cfg)
  cache = Cache(k, v, _rows(length_B))

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

  def say(logits_BV, step, node_B, running_B, said, counts_B):
    """The next token of each running row, and the state after it."""
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
    counts_B += running_B.astype(jnp.int32)
    running_B &= ~jnp.isin(token_B, jnp.array(stop_ids))
    return token_B, (step + 1, node_B, running_B, said, counts_B)

  def going_on(carry):
    *_, (step, _, running_B, _, _) = carry
    return (step < max_tokens) & running_B.any()

  def go_on(carry):
    token_B, keys, state = carry
    done = state[0] - 1
    logits_BV, new = feed(
      params, cache, (*keys, done), token_B[:, None], ones_B, cfg
    )
    keys = tuple(
      jax.lax.dynamic_update_slice_in_dim(x_LBKMH, x_LBK1H, done, axis=3)
      for x_LBKMH, x_LBK1H in zip(keys, new, strict=True)
    )
    token_B, state = say(logits_BV, *state)
    return token_B, keys, state

  ones_B = _rows(jnp.ones(B, jnp.int32))
  said = (
    _rows(jnp.full((B, max_tokens), stop_ids[0], jnp.int32)),
    _rows(jnp.zeros((B, max_tokens), logits_BV.dtype)),
  )
  running_B = _rows(jnp.asarray(active_B))
  token_B, state = say(
    _rows(logits_BV), 0, 0 * ones_B, running_B, said, 0 * ones_B
  )
  # The cache is only read. All rows write at the same place of a small one,
  # which is appended at the end.
  keys = init_keys(cfg, B, max(1, max_tokens - 1))
  *_, keys, state = jax.lax.while_loop(going_on, go_on, (token_B, keys, state))
  *_, (tokens_BM, logp_BM), counts_B = state
  cache = append(cache, keys, jnp.maximum(counts_B - 1, 0))
  return tokens_BM, counts_B, logp_BM, cache


def _rows(x):
  return jax.reshard(x, spec('batch', *(None,) * (x.ndim - 1)))


def _pick(values_BX, index_BY):
  return jax.vmap(lambda values, index: values[index])(values_BX, index_BY)
