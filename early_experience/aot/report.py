"""What a compiled step needs and how long it takes at least, as text."""

import dataclasses
import math
import re

from ml_collections import ConfigDict

from early_experience import memory
from early_experience.aot import collectives, hlo
from early_experience.aot.chips import Target
from early_experience.aot.collectives import Collective
from early_experience.aot.compiling import Program
from early_experience.model import table
from early_experience.training.flops import model_flops

_NAMED = 5  # largest buffers


@dataclasses.dataclass(frozen=True)
class Report:
  """Of one step; bytes are on one chip.

  Attributes:
    target: the chips.
    sizes: of the mesh, by axis.
    config: all of it.
    estimate: by formula.
    program: by XLA; None for GPUs, whose memory only the formula tells here.
    compile_seconds: of the step.
    visited: share of all pairs of blocks of a row that attention visits.
    flops: of one step, by the model's formula and with these, on all chips.
    collectives: of one step.
    largest: names and bytes of the largest buffers.
  """

  target: Target
  sizes: dict[str, int]
  config: ConfigDict
  estimate: memory.Estimate
  program: Program | None
  compile_seconds: float
  visited: float
  flops: float
  collectives: tuple[Collective, ...]
  largest: tuple[tuple[str, int], ...]

  @property
  def refused(self) -> str:
    """What XLA said, where it did not compile the step; else ''."""
    return self.program.message if self.program else ''

  @property
  def temporary(self) -> int:
    """Bytes of what is neither state nor batch."""
    if self.program is None or self.refused:
      return self.estimate.temporary
    return self.program.temporary + self.program.results

  @property
  def total(self) -> int:
    if self.program is None or self.refused:
      return self.estimate.total
    return self.program.arguments + self.temporary

  @property
  def fits(self) -> bool:
    return not self.refused and self.total <= self.target.chip.hbm

  @property
  def seconds(self) -> dict[str, float]:
    """The least that each resource of a chip is busy for in one step.

    Memory is counted for the state, which is read and written, and for what
    collectives bring, which is written and read; activations are not counted.
    """
    chip, found = self.target.chip, self.estimate
    moved = 2 * (found.params + found.opt_state) + found.frozen + found.batch
    moved += 2 * sum(one.times * one.bytes for one in self.collectives)
    within, across = (
      sum(one.times * one.sent[i] for one in self.collectives) for i in (0, 1)
    )
    return {
      'compute': self.flops / self.target.chips / chip.flops,
      'HBM': moved / chip.hbm_rate,
      'ICI' if chip.is_tpu else 'NVLink': within / chip.link_rate,
      'network': across / chip.network_rate,
    }


def make(
  config: ConfigDict,
  target: Target,
  sizes: dict[str, int],
  program: Program,
  visible: float | None = None,
) -> Report:
  """The report of a compiled step.

  Args:
    config: all of it.
    target: the chips.
    sizes: of the mesh, by axis.
    program: the step on them, or on what stands in for GPUs.
    visible: share of all pairs of blocks that see something of each other in
      the rows, as `benchmark attention` prints it; None: as many as can.
  """
  cfg = memory.architecture(config)
  rows, tokens = config.train.batch_rows, config.prepare.row_tokens
  visited = _visited(cfg, tokens, visible)
  found = memory.estimate(cfg, config, sizes, tokens)
  module = hlo.Module(program.text) if program.text else None
  talk = collectives.find(module, target.chips, target.slices) if module else ()
  if module and target.chip.is_tpu:
    largest = [
      (f'{array} of {_short(source)}', array.bytes)
      for array, source in hlo.largest(module, _NAMED)
    ]
  else:
    largest = _parts(found)
  return Report(
    target,
    sizes,
    config,
    found,
    program if target.chip.is_tpu else None,
    program.seconds,
    visited,
    model_flops(cfg, rows, tokens, visited=visited),
    tuple(talk),
    tuple(largest),
  )


def text(report: Report) -> str:
  """The report, for people."""
  target, config, state = report.target, report.config, report.estimate
  cfg = memory.architecture(config)
  mesh = 'x'.join(map(str, report.sizes.values()))
  lines = [
    f'{table.count(cfg):,} parameters on {target}, a mesh of {mesh}:'
    f' {config.train.batch_rows} rows of {config.prepare.row_tokens:,} tokens a'
    f' step, in {config.train.microbatches} parts',
    f'attention: {_attention(cfg)}; {report.visited:.1%} of all scores count',
    f'compiled in {report.compile_seconds:.0f} s'
    + ('' if target.chip.is_tpu else ' for CPU devices that stand in'),
    '',
    f'GiB on each chip, {_by(report)}:',
    *_table(
      {
        'parameters': state.params + state.frozen,
        f'optimizer ({config.train.optimizer_dtype})': state.opt_state,
        'batch': state.batch,
        f'temporary (remat {cfg.remat})': report.temporary,
        'total': report.total,
        'the chip has': report.target.chip.hbm,
        **_in_use(report.program),
      }
    ),
  ]
  if report.collectives:
    lines += ['', 'GiB in collectives a step, on each chip:']
    for kind, (times, size) in collectives.by_kind(report.collectives).items():
      lines.append(f'  {kind:<40}{size / 2**30:9.2f}  in {times:,}')
    if not target.chip.is_tpu:
      lines.append(
        '  (XLA for CPUs sends all in float32, and sums where GPUs scatter)'
      )
    unsure = sum(not one.sure for one in report.collectives)
    if unsure:
      lines.append(f'  {unsure} are in loops of unknown length, and count once')
  if not report.refused:
    lines += [
      '',
      f'{report.flops:.3g} FLOPs a step, if all tokens are scored; at peak'
      ' rates, seconds of',
    ]
    lines += [f'  {k:<40}{v:9.3f}' for k, v in report.seconds.items() if v]
    bound, least = _bound(report)
    tokens = config.train.batch_rows * config.prepare.row_tokens / least
    lines.append(f'  a step: at least{least:33.3f}  ({bound})')
    lines.append(f'  so at most {tokens:,.0f} tokens/s')
  if not report.fits:
    lines += ['', 'IT DOES NOT FIT.']
    if report.refused:
      lines.append(' '.join(report.refused.split()))
  lines += ['', 'The largest buffers, in GiB:', *_table(dict(report.largest))]
  return '\n'.join(lines)


HEADER = (
  '| config | chips | mesh | rows | attention | parameters | optimizer'
  ' | temporary | total | of | FLOPs | step at least | collectives'
  ' | compiled in |\n'
  '|---|---|---|---|---|---|---|---|---|---|---|---|---|---|'
)


def row(report: Report, name: str) -> str:
  """The report as a row below HEADER.

  Args:
    report: of the config.
    name: of the config, and what was changed of it.
  """
  gib = lambda size: f'{size / 2**30:.2f}'
  settings = report.config.train
  bound, least = _bound(report)
  talk = ', '.join(
    f'{kind} {size / 2**30:.1f}'
    for kind, (_, size) in collectives.by_kind(report.collectives).items()
    if size >= 2**30 / 20
  )
  cells = [
    name,
    report.target,
    'x'.join(map(str, report.sizes.values())),
    f'{settings.batch_rows} in {settings.microbatches}',
    _attention(memory.architecture(report.config)),
    gib(report.estimate.params + report.estimate.frozen),
    gib(report.estimate.opt_state),
    gib(report.temporary),
    gib(report.total) if report.fits else f'**{gib(report.total)}**',
    gib(report.target.chip.hbm),
    f'{report.flops:.2g}',
    '' if report.refused else f'{least:.2f} s ({bound})',
    talk,
    f'{report.compile_seconds:.0f} s',
  ]
  return f'| {" | ".join(map(str, cells))} |'


def _attention(cfg):
  if not cfg.attention_block:
    return 'all scores'
  return f'{cfg.attention}, {cfg.attention_block}'


def _visited(cfg, tokens, visible):
  """Without knowing the rows: one path has all blocks below the diagonal."""
  if not cfg.attention_block or cfg.attention_block >= tokens:
    return 1.0
  blocks = math.ceil(tokens / cfg.attention_block)
  return (blocks + 1) / 2 / blocks if visible is None else visible


def _bound(report):
  return max(report.seconds.items(), key=lambda item: item[1])


def _by(report):
  if report.program is None:
    return 'by the formula of early_experience.memory'
  if report.refused:
    return 'by the formula, for XLA gives no parts'
  return 'as XLA plans it'


def _in_use(program):
  if program is None or program.message:
    return {}
  return {'of the total, in use at one time': program.peak}


def _parts(found):
  """What the formula counts, where XLA names no buffer."""
  names = {
    'parameters': found.params,
    'frozen parameters': found.frozen,
    'moments of the optimizer': found.opt_state,
    'gradients': found.gradients,
    'layers in the compute dtype': found.cast,
    'activations kept for the backward pass': found.kept,
    'a layer at work': found.layer,
    'a chunk of the loss at work': found.chunk,
  }
  order = sorted(names.items(), key=lambda item: -item[1])
  return [(name, size) for name, size in order[:_NAMED] if size]


def _short(source):
  """The end of an operation's path, without what XLA and jax wrap it in."""
  parts = re.sub(r'closed_call/|jit\(step\)/', '', source).split('/')
  return '/'.join(parts[-2:])


def _table(lines):
  return [f'  {name:<40}{size / 2**30:9.2f}' for name, size in lines.items()]
