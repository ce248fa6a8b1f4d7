"""How fast trees are attended to, on real rows, beside masks and plain paths.

python -m early_experience.benchmark attention [--env=NAME ...] [--file=ROWS]

Experts play, K alternatives of each state are tried, and the trees are packed
into rows. Timed are the chosen way to attend, all scores at once behind a mask
(of cuDNN too, on GPUs), and rows of one path each: the chosen way beside the
fastest causal kernel there is. TFLOP/s count blocks that see something of each
other, and no others. --file keeps the rows for a machine without environments.
"""

import argparse
import contextlib
import functools
import io
import pathlib
import sys
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from ml_collections import ConfigDict

from early_experience.benchmark import sample as sample_lib
from early_experience.experience import loader
from early_experience.experience.rows import decode
from early_experience.model import sharding
from early_experience.model.attention import sees
from early_experience.model.tree_attention import attend_rows, look
from early_experience.model.visible import Seen, pairs, whole
from early_experience.prepare import prepare
from early_experience.runtime import commands, files, paths
from early_experience.runtime.errors import UserError
from early_experience.training.flops import PEAK_FLOPS

ENVIRONMENTS = ('alfworld', 'scienceworld', 'bfcl')
_HEAD = (
  *('environment', 'rows', 'attention', 'blocks', 'whole', 'tokens'),
  *('forward ms', 'both ms', 'TFLOP/s', 'of peak'),
)
_WIDTHS = 14, 7, 22, 8, 8, 8, 12, 10, 9, 9
_FORWARD, _BOTH = 4, 4 + 10  # FLOPs of a pair of tokens, for each head and H


@commands.one_line
def main() -> None:
  on_cpu = jax.devices()[0].platform == 'cpu'
  made = commands.parser('benchmark attention', __doc__)
  made.add_argument('--env', action='append', help=f'default: {ENVIRONMENTS}')
  made.add_argument('--trajectories', type=int, default=12)
  made.add_argument('--k', type=int, default=8, help='alternatives a state')
  made.add_argument('--seed', type=int, default=0)
  tokens = 2048 if on_cpu else 8192
  made.add_argument('--tokens', type=int, default=tokens, help='of a row')
  made.add_argument('--rows', type=int, default=1 if on_cpu else 4)
  sizes = (2, 1, 64) if on_cpu else (32, 8, 128)
  for name, size in zip(('heads', 'kv_heads', 'head_dim'), sizes, strict=True):
    made.add_argument(f'--{name}', type=int, default=size)
  made.add_argument('--dtype', default='float32' if on_cpu else 'bfloat16')
  made.add_argument('--block', type=int, default=256)
  made.add_argument('--attention', default='auto', help='as config.model says')
  turns = 3 if on_cpu else 20
  made.add_argument('--turns', type=int, default=turns, help='0: only count')
  made.add_argument('--file', type=paths.flag('--file'), help='of rows (.npz)')
  run(made.parse_args(sys.argv[1:]))


def run(how: argparse.Namespace) -> list[dict]:
  """Prints and returns a line for each environment and way."""
  found = rows(how)
  device = jax.devices()[0]
  print(
    f'{device.device_kind}: {how.rows} rows of {how.tokens:,} tokens,'
    f' {how.heads} heads, {how.kv_heads} key heads of {how.head_dim},'
    f' {how.dtype}, blocks of {how.block}; K={how.k}, seed {how.seed}; least of'
    f' {how.turns} turns'
  )
  _print(_HEAD)
  lines = []
  mesh = sharding.make_mesh(ConfigDict({'data': 1, 'fsdp': 1, 'tensor': 1}))
  with jax.set_mesh(mesh):
    for name, (depth, span, _) in found.items():
      for kind, arrays in (('trees', (depth, span)), ('paths', flat(span))):
        lines += _measured(name, kind, *arrays, how, mesh)
  return lines


def rows(how: argparse.Namespace) -> dict[str, tuple[np.ndarray, ...]]:
  """Depth, span, back of each environment's fullest rows, int32 [rows, tokens].

  Raises:
    UserError: an environment cannot be made here, or has fewer rows.
  """
  if how.file and pathlib.Path(how.file).exists():
    kept = np.load(how.file, allow_pickle=False)
    names = how.env or list(kept)
    wanted = [name for name in names if name not in kept]
    if wanted:
      raise UserError(f'{how.file} has no rows of {", ".join(wanted)}')
    found = {name: kept[name] for name in names}
  else:
    found = {name: _made(name, how) for name in how.env or ENVIRONMENTS}
    if how.file:
      content = io.BytesIO()
      np.savez_compressed(content, **found)
      files.write_atomic(how.file, content.getvalue())
  for name, arrays in found.items():
    if arrays.shape[1] < how.rows or arrays.shape[2] != how.tokens:
      raise UserError(
        f'{name}: {arrays.shape[1]} rows of {arrays.shape[2]} tokens; set'
        ' --rows and --tokens to these, or make others with --trajectories'
      )
  return {name: tuple(x[:, : how.rows]) for name, x in found.items()}


def _made(name, how):
  """Depth, span and back, [3, rows, tokens]: the fullest rows first."""
  config = sample_lib.settings(name, how.trajectories)
  sample = sample_lib.take(config, how.k, how.seed)
  config.prepare.update(row_tokens=how.tokens, overlong='drop', held_out=0.0)
  datasets = ('imitation', 'world_model')
  config.prepare.rows = ConfigDict(
    {'joint': {'datasets': datasets, 'k': how.k}}
  )
  with tempfile.TemporaryDirectory() as folder:
    sample_lib.explore(sample, how.k, pathlib.Path(folder))
    with contextlib.redirect_stdout(io.StringIO()):
      prepare(config, folder)
    source = loader.open_rows(folder, 'joint').source
    read = [decode(source[i]) for i in range(len(source))]
  read.sort(key=lambda row: int((row['depth'] > 0).sum()), reverse=True)
  names = 'depth', 'span', 'back'
  return np.stack([[row[key] for row in read] for key in names])


def flat(span_BT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Depth and span of as many rows of one path each."""
  B, T = span_BT.shape
  place_T = np.arange(T, dtype=np.int32)
  return np.tile(place_T, (B, 1)), np.tile(T - place_T, (B, 1))


def counted(depth_BT, span_BT, block: int) -> dict[str, float]:
  """Pairs of blocks that see something, of all pairs; and pairs of tokens."""
  B, T = span_BT.shape
  pad = ((0, 0), (0, -T % block))
  last_BT = np.arange(T + pad[1][1])[None] + np.pad(span_BT - 1, pad)
  seen = Seen(jnp.asarray(last_BT), None, None)
  found, full = pairs(seen, block).sum(), whole(seen, block).sum()
  every = found.dtype.type(B * (last_BT.shape[1] // block) ** 2)
  # A token is seen by the tokens of its subtree, itself included.
  tokens = float(span_BT.sum(dtype=np.int64)) / (B * T * T)
  return {
    'blocks': float(found / every),
    'whole': float(full / found),
    'tokens': tokens,
  }


def _measured(name, kind, depth, span, how, mesh):
  """The lines of one kind of rows."""
  share = counted(depth, span, how.block)
  pair_flops = how.rows * how.tokens**2 * share['blocks'] * how.heads
  pair_flops *= how.head_dim
  peak = PEAK_FLOPS.get(jax.devices()[0].device_kind)
  if not how.turns:
    line = {'environment': name, 'rows': kind, 'attention': '-', **share}
    _print([name, kind, '-', *_shares(share)])
    return [line]
  put = lambda x, *axes: jax.device_put(
    x, NamedSharding(mesh, sharding.spec('batch', *axes))
  )
  batch = {'depth': put(depth), 'span': put(span)}
  rng = np.random.default_rng(how.seed)
  for letter, heads in zip('qkvo', (0, 1, 1, 0), strict=True):
    heads = how.kv_heads if heads else how.heads
    shape = (how.rows, heads, how.tokens, how.head_dim)
    scale = how.head_dim**-0.5 if letter == 'q' else 1.0
    drawn = (scale * rng.normal(size=shape)).astype(how.dtype)
    batch[letter] = put(drawn, 'heads')
  lines = []
  for label, attend in _ways(kind, how).items():
    line = {'environment': name, 'rows': kind, 'attention': label, **share}
    try:
      forward, both = _seconds(attend, batch, how.turns)
    except Exception as error:  # what a library does not do here, it says
      line['note'] = ' '.join(str(error).split())[:100]
      _print([name, kind, label, line['note']])
      continue
    line |= {'forward': forward, 'both': both}
    line['flops'] = pair_flops * _BOTH / both
    line['forward_flops'] = pair_flops * _FORWARD / forward
    lines.append(line)
    _print(
      [
        *(name, kind, label),
        *_shares(share),
        *(f'{1e3 * forward:.2f}', f'{1e3 * both:.2f}'),
        f'{line["flops"] / 1e12:.2f}',
        f'{line["flops"] / peak:.1%}' if peak else '-',
      ]
    )
  return lines


def _shares(share):
  return [f'{share[key]:.1%}' for key in ('blocks', 'whole', 'tokens')]


def _ways(kind, how):
  """Functions of q, k, v, span and depth, by what they are called."""
  platform = jax.devices()[0].platform

  def blocks(block, q, k, v, span, depth):
    sight = look(span, depth, block=block, attention=how.attention)
    return attend_rows(q, k, v, sight)

  found = {how.attention: functools.partial(blocks, how.block)}
  if kind == 'trees':
    found['all scores, XLA'] = functools.partial(blocks, 0)
  if platform == 'gpu':
    masked = kind == 'trees'
    label = 'mask, cuDNN' if masked else 'causal, cuDNN'
    found[label] = functools.partial(_cudnn, masked)
  if platform == 'tpu' and kind == 'paths':
    found['causal, splash'] = _splash
  return found


def _cudnn(masked, q, k, v, span, depth):
  by_time = lambda x: x.swapaxes(1, 2)
  out = jax.nn.dot_product_attention(
    *map(by_time, (q, k, v)),
    mask=sees(span)[:, None] if masked else None,
    is_causal=not masked,
    scale=1.0,
    implementation='cudnn',
  )
  return by_time(out)


def _splash(q, k, v, span, depth):
  from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_kernel,
    splash_attention_mask,
  )

  _, heads, T, _ = q.shape
  mask = splash_attention_mask.MultiHeadMask(
    [splash_attention_mask.CausalMask((T, T))] * heads
  )
  size = 512
  sizes = splash_attention_kernel.BlockSizes(
    *(size, size, size), *(size, size, size), *(size, size)
  )
  kernel = splash_attention_kernel.make_splash_mha(
    mask, head_shards=1, q_seq_shards=1, block_sizes=sizes
  )
  return jax.vmap(kernel)(q, k, v)


def _seconds(attend, batch, turns):
  """The least of some turns: forward, and forward and backward."""
  q, k, v, cotangent, span, depth = (
    batch[key] for key in ('q', 'k', 'v', 'o', 'span', 'depth')
  )

  def both(q, k, v, span, depth, cotangent):
    out, back = jax.vjp(lambda *x: attend(*x, span, depth), q, k, v)
    return out, back(cotangent)

  programs = {
    jax.jit(attend): (q, k, v, span, depth),
    jax.jit(both): (q, k, v, span, depth, cotangent),
  }
  found = []
  for program, arguments in programs.items():
    program = program.lower(*arguments).compile()
    jax.block_until_ready(program(*arguments))
    best = float('inf')
    for _ in range(turns):
      start = time.perf_counter()
      jax.block_until_ready(program(*arguments))
      best = min(best, time.perf_counter() - start)
    found.append(best)
  return found


def _print(cells):
  text = ''.join(
    str(cell).ljust(width) if at < 3 else str(cell).rjust(width)
    for at, (cell, width) in enumerate(zip(cells, _WIDTHS, strict=False))
  )
  print(text.rstrip(), flush=True)


if __name__ == '__main__':
  main()
