"""Texts that are fed to a cache and generated from it."""

import jax
import numpy as np

from early_experience.decoding import decode
from tests.model_case import VOCAB

B, T, CAPACITY, STOP = 4, 7, 32, 2


class Talk:
  """A cache beside the texts that it should be holding."""

  def __init__(self, params, cfg, capacity=CAPACITY):
    self.params, self.cfg = params, cfg
    self.cache = decode.init_cache(cfg, B, capacity)
    self.texts = [[] for _ in range(B)]
    self.unread = [[] for _ in range(B)]  # the last token that each row said
    self.logits_BV = None

  @property
  def lengths(self):
    return np.asarray(self.cache.length_B).tolist()

  def feed(self, *texts):
    """Feeds each row its text. What is beyond it in the array is noise."""
    tokens_BT = np.random.default_rng(0).integers(0, VOCAB, (B, T))
    fed = [a + b for a, b in zip(self.unread, texts, strict=True)]
    for tokens_T, new in zip(tokens_BT, fed, strict=True):
      tokens_T[: len(new)] = new
    for text, new in zip(self.texts, texts, strict=True):
      text += new
    self.unread = [[] for _ in range(B)]
    counts_B = np.array([len(new) for new in fed])
    logits_BV, self.cache = decode.extend(
      self.params, self.cache, tokens_BT, counts_B, self.cfg
    )
    self.logits_BV = np.asarray(logits_BV)

  def say(self, active=(True,) * B, seed=0, temperature=0.0, **settings):
    """What each row generates, as lists."""
    settings = {'max_tokens': 5, 'vocab': VOCAB, **settings}
    tokens_BM, counts_B, logp_BM, self.cache = decode.generate(
      self.params,
      self.cache,
      self.logits_BV,
      seed if isinstance(seed, jax.Array) else jax.random.key(seed),
      np.array(active),
      cfg=self.cfg,
      stop_ids=(STOP,),
      temperature=temperature,
      **settings,
    )
    pairs = zip(np.asarray(tokens_BM), np.asarray(counts_B), strict=True)
    said = [[int(token) for token in row[:count]] for row, count in pairs]
    self.logp_BM = np.asarray(logp_BM)
    for row, new in enumerate(said):
      self.texts[row] += new
      self.unread[row] = new[-1:]
    return said

  def check(self):
    """The lengths are those of the texts, but for what was said last."""
    pairs = zip(self.texts, self.unread, strict=True)
    assert self.lengths == [len(text) - len(new) for text, new in pairs]
