"""What the loss costs at a large vocabulary, by the share of scored tokens.

python -m early_experience.benchmark loss
"""

import sys
import time

import jax
import numpy as np
from jax.sharding import NamedSharding

from early_experience.config import default
from early_experience.model import sharding
from early_experience.runtime import commands
from early_experience.training.loss import token_nll

_SHARES = (1.0, 0.2, 0.05)
_TURNS = 3  # each share is timed in every turn, so that all share the noise


@commands.one_line
def main() -> None:
  parser = commands.parser('benchmark loss', __doc__)
  parser.add_argument('--vocab', type=int, default=128_256)
  parser.add_argument('--tokens', type=int, default=1024)
  parser.add_argument('--embed', type=int, default=64)
  parser.add_argument('--chunk', type=int, default=32)
  arguments = parser.parse_args(sys.argv[1:])
  run(arguments.vocab, arguments.tokens, arguments.embed, arguments.chunk)


def run(vocab: int, tokens: int, embed: int, chunk: int) -> dict:
  """Prints the seconds of value and gradients at each share, and memory.

  Args:
    vocab: rows of the head.
    tokens: of one row.
    embed: width of the hidden state.
    chunk: tokens whose logits exist at a time.

  Returns:
    `seconds` by share, the least of some turns, and `temp_bytes`, XLA's own.
  """
  settings = default().mesh
  settings.fsdp = 1
  mesh = sharding.make_mesh(settings)
  with jax.set_mesh(mesh):
    arguments, weights = _data(mesh, vocab, tokens, embed)
    step = jax.jit(jax.value_and_grad(_weighted(chunk), argnums=(0, 1)))
    step = step.lower(*arguments, weights[0]).compile()
    seconds = dict.fromkeys(_SHARES, float('inf'))
    for _ in range(_TURNS):
      for share, weight in zip(_SHARES, weights, strict=True):
        start = time.perf_counter()
        jax.block_until_ready(step(*arguments, weight))
        spent = time.perf_counter() - start
        seconds[share] = min(seconds[share], spent)
  temp_bytes = step.memory_analysis().temp_size_in_bytes
  print(
    f'loss and gradients of {tokens} tokens, vocabulary {vocab:,}, embed'
    f' {embed}, chunks of {chunk}; least of {_TURNS} turns'
  )
  for share in _SHARES:
    print(
      f'  {share:.0%} scored: {seconds[share]:.3f} s,'
      f' {seconds[share] / seconds[1.0]:.2f} of all scored'
    )
  print(
    f'  temporary memory {temp_bytes / 2**20:,.0f} MiB; one array of all'
    f' logits would be {4 * tokens * vocab / 2**20:,.0f} MiB'
  )
  return {'seconds': seconds, 'temp_bytes': temp_bytes}


def _data(mesh, vocab, tokens, embed):
  """(hidden state, head, tokens, back), and the weights at each share."""
  rng = np.random.default_rng(0)
  draw = rng.random((1, tokens))
  rows = {
    'hidden': rng.normal(size=(1, tokens, embed)).astype(np.float32),
    'tokens': rng.integers(0, vocab, (1, tokens), np.int32),
    'back': np.minimum(1, np.arange(tokens, dtype=np.int32))[None],
  }
  rows |= {str(share): np.float32(draw < share) for share in _SHARES}
  head = rng.normal(size=(vocab, embed)).astype(np.float32)
  rows = sharding.put_batch(rows, mesh)
  head = jax.device_put(head, NamedSharding(mesh, sharding.spec('vocab')))
  weights = [rows[str(share)] for share in _SHARES]
  return (rows['hidden'], head, rows['tokens'], rows['back']), weights


def _weighted(chunk):
  def weighted(hidden_BTD, head_VD, tokens_BT, back_BT, weight_BT):
    nll_BT = token_nll(
      hidden_BTD, head_VD, tokens_BT, back_BT, weight_BT != 0, chunk=chunk
    )
    return (nll_BT * weight_BT).sum()

  return weighted


if __name__ == '__main__':
  main()
