"""What a model has read: a row of KV cache for each of many contexts.

The cache only saves work. A row is cut back to what it shares with the next
prompt, and the rest is read. So thoughts leave a context by themselves, an
action stands in it as training would have written it, and a row may go over
to another episode.
"""

import zlib

import jax
import jax.numpy as jnp
import numpy as np

from early_experience.decoding import decode
from early_experience.model import sharding
from early_experience.model.config import ModelConfig
from early_experience.tokenizers.interface import Tokenizer

# Tokens a row is fed at a time: one compiled shape each.
_CHUNKS = (16, 32, 64, 256)


class Contexts:
  """Rows that are read and written, side by side; `jax.set_mesh` must be on.

  Args:
    params: of the model.
    cfg: of the model; `max_tokens` is the capacity of a row.
    tokenizer: of the model.
    mesh: that holds the parameters.
    rows: at least; rounded up to what the mesh divides.
  """

  def __init__(
    self,
    params: dict,
    cfg: ModelConfig,
    tokenizer: Tokenizer,
    mesh: jax.sharding.Mesh,
    rows: int,
  ):
    # In the compute dtype from the start: else each call would convert them.
    self._params = jax.tree.map(lambda x: x.astype(cfg.dtype), params)
    self._cfg, self._mesh = cfg, mesh
    self._stop_ids, self._vocab = tokenizer.stop_ids, tokenizer.vocab_size
    ways = mesh.shape['data'] * mesh.shape['fsdp']
    self.rows = -(-rows // ways) * ways
    self._cache = decode.init_cache(cfg, self.rows, cfg.max_tokens)
    # What each row's cache holds, which is not the last token that the row
    # wrote; the device's lengths follow it.
    self.held: list[list[int]] = [[] for _ in range(self.rows)]
    # What each row wrote last: ids with their end, and the log-probabilities
    # with which they were sampled.
    self.said: list[tuple[list[int], list[float]]] = [([], [])] * self.rows

  def overflows(self, row: int) -> bool:
    """Whether more was written than the model can read."""
    unread = len(self.said[row][0][-1:])
    return len(self.held[row]) + unread > self._cfg.max_tokens

  def read(
    self, prompts: list[list[int] | None], patience: float
  ) -> tuple[jax.Array | None, np.ndarray]:
    """Feeds what the cache lacks of the prompts.

    Args:
      prompts: ids for each row, or None.
      patience: share of the prompts that must be read before it returns; the
        others go on in the next call.

    Returns:
      Logits [B, V] after each prompt that is read, and which those are.
    """
    asked = np.array([prompt is not None for prompt in prompts])
    for row in np.flatnonzero(asked):
      shared = _shared(self.held[row], prompts[row])
      # The last token is fed in any case: its logits are wanted.
      del self.held[row][min(shared, len(prompts[row]) - 1) :]
    lengths = np.array([len(held) for held in self.held], np.int32)
    (length_B,) = self._put(np.minimum(lengths, self._cfg.max_tokens))
    self._cache = self._cache.replace(length_B=length_B)
    logits_BV = None
    while True:
      left = np.array(
        [len(p or ()) - len(h) for p, h in zip(prompts, self.held, strict=True)]
      )
      ready = asked & (left == 0)
      if ready.sum() >= patience * asked.sum():
        return logits_BV, ready
      tokens_BT, counts_B = self._chunk(prompts, np.where(asked, left, 0))
      new_BV, self._cache = decode.extend(
        self._params, self._cache, tokens_BT, counts_B, cfg=self._cfg
      )
      # A row that was read before this feeding keeps its logits.
      logits_BV = (
        new_BV
        if logits_BV is None
        else jnp.where(counts_B[:, None] > 0, new_BV, logits_BV)
      )

  def _chunk(self, prompts, left):
    """The next tokens of each row: about as many as finish most rows.

    All rows cost what the chunk's size costs, so it is not much beyond that.
    """
    most = np.quantile(left[left > 0], 0.75)
    size = max((c for c in _CHUNKS if c <= 1.25 * most), default=_CHUNKS[0])
    tokens_BT = np.zeros((self.rows, size), np.int32)
    counts_B = np.minimum(left, size).astype(np.int32)
    for row in np.flatnonzero(counts_B):
      held, count = self.held[row], counts_B[row]
      new = prompts[row][len(held) : len(held) + count]
      tokens_BT[row, :count] = new
      held += new
    return self._put(tokens_BT, counts_B)

  def write(
    self,
    logits_BV: jax.Array,
    active: np.ndarray,
    keys: list[str],
    max_tokens: int,
    temperature: float,
    trie: decode.Trie | None = None,
  ) -> list[list[int]]:
    """Generates a turn in the active rows; ids without their end.

    Args:
      logits_BV: after the prompts, from `read`.
      active: bool [B].
      keys: text for each row, all that its samples depend on.
      max_tokens: of the turn, its end included.
      temperature: 0 takes the likeliest.
      trie: what each row may write; None: anything.
    """
    self.said = [([], [])] * self.rows
    if not active.any():
      return [[]] * self.rows
    keys = [*keys, *[''] * (self.rows - len(keys))]
    ids_BM, counts_B, logp_BM, self._cache = decode.generate(
      self._params,
      self._cache,
      logits_BV,
      _keys(keys) if temperature else jax.random.key(0),
      active,
      cfg=self._cfg,
      stop_ids=self._stop_ids,
      vocab=self._vocab,
      max_tokens=max_tokens,
      temperature=temperature,
      trie=trie,
    )
    self.said = [
      (ids[:count].tolist(), logps[:count].tolist())
      for ids, count, logps in zip(
        *map(np.asarray, (ids_BM, counts_B, logp_BM)), strict=True
      )
    ]
    for held, (new, _) in zip(self.held, self.said, strict=True):
      held += new[:-1]
    return [new[:-1] for new, _ in self.said]

  def _put(self, *arrays):
    named = {str(i): array for i, array in enumerate(arrays)}
    return sharding.put_batch(named, self._mesh).values()


def _shared(a, b):
  """Length of the common prefix."""
  if a == b[: len(a)]:  # as in most turns: then in C
    return len(a)
  differs = (
    i for i, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]
  )
  return next(differs, min(len(a), len(b)))


def _keys(texts):
  """A PRNG key for each row that depends on its text alone."""
  seeds = [zlib.crc32(text.encode()) for text in texts]
  return jax.vmap(jax.random.key)(np.array(seeds, np.uint32))
