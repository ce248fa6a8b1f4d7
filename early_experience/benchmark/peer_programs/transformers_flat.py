"""torch and transformers on flat rows, as fast as a CPU allows exactly.

No padding: the sequences of a batch are one row with their own positions, each
attends to itself alone by a causal kernel of its own (what a varlen kernel does
on a GPU), and only what predicts a scored token goes through the output head.
"""

import worker


class Transformers:
  """The peer; see `worker.serve`."""

  def __init__(self, settings):
    import torch
    from transformers import AttentionInterface, AutoModelForCausalLM

    torch.set_num_threads(settings.threads)
    AttentionInterface.register('documents', _attend)
    self._torch = torch
    self._model = AutoModelForCausalLM.from_pretrained(
      settings.model, dtype=torch.float32, attn_implementation='documents'
    )
    self._optimizer = torch.optim.AdamW(
      self._model.parameters(),
      lr=settings.rate,
      betas=(0.9, 0.95),
      weight_decay=0.0,
      fused=True,
    )
    self._batches = [_packed(torch, b) for b in worker.batches(settings.rows)]
    self._probe = _packed(torch, worker.batches(settings.probe)[0])

  def probe(self):
    with self._torch.no_grad():
      return self._loss(self._probe)

  def update(self, number):
    self._loss(self._batches[number]).backward()
    parameters = self._model.parameters()
    self._torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    self._optimizer.step()
    self._optimizer.zero_grad()

  def _loss(self, packed):
    logits = self._model(
      input_ids=packed['tokens'],
      position_ids=packed['depth'],
      logits_to_keep=packed['source'],
      lengths=packed['lengths'],
      use_cache=False,
    ).logits[0]
    cross_entropy = self._torch.nn.functional.cross_entropy
    return cross_entropy(logits, packed['target'])


def _packed(torch, batch):
  """A batch as one row [1, all tokens], and what is predicted from where."""
  import numpy as np

  found = worker.documents(batch)
  join = lambda key: np.concatenate([one[key] for one in found])
  tokens, scored = join('tokens'), np.flatnonzero(join('weight'))
  return {
    'tokens': torch.tensor(tokens, dtype=torch.long)[None],
    'depth': torch.tensor(join('depth'), dtype=torch.long)[None],
    'source': torch.tensor(scored - 1),
    'target': torch.tensor(tokens[scored], dtype=torch.long),
    'lengths': [len(one['tokens']) for one in found],
  }


def _attend(module, query, key, value, mask, scaling, lengths, **unused):
  """Causal attention within each of the row's sequences.

  Args:
    module: unused, as `mask`.
    query: [1, N, T, H]; `key`, `value` have fewer heads.
    key: see `query`.
    value: see `query`.
    mask: of transformers.
    scaling: of the scores.
    lengths: of the sequences, in order.
    unused: what else transformers hands on.
  """
  import torch

  parts = (x.split(lengths, dim=2) for x in (query, key, value))
  out = [
    torch.nn.functional.scaled_dot_product_attention(
      q, k, v, is_causal=True, scale=scaling, enable_gqa=True
    )
    for q, k, v in zip(*parts, strict=True)
  ]
  return torch.cat(out, dim=2).transpose(1, 2), None


if __name__ == '__main__':
  worker.main(Transformers)
