"""What the devices of a step say to each other, from its HLO."""

import collections
import dataclasses
import math
import re

import numpy as np

from early_experience.aot.hlo import Array, Module

KINDS = (
  'all-gather',
  'all-reduce',
  'reduce-scatter',
  'all-to-all',
  'collective-permute',
)
# A computation for TPUs: a sum of which each device keeps its part.
_SCATTER = 'all-reduce-scatter'
# What TPUs send to other slices; the name of the whole stands beside it.
_ACROSS = re.compile(r'_xla_megascale_transfer_type="(\w+)"')


@dataclasses.dataclass(frozen=True)
class Collective:
  """One collective of the program.

  Attributes:
    kind: one of KINDS.
    arrays: what each device puts in.
    group: devices that take part together.
    slices: slices that these are spread over.
    times: that it runs in one step.
    sure: whether that is known; else it may be more.
    source: the operation of the traced step that it comes from.
  """

  kind: str
  arrays: tuple[Array, ...]
  group: int
  slices: int
  times: int
  sure: bool
  source: str

  @property
  def bytes(self) -> int:
    """Of the whole that is gathered, summed or moved; on one device."""
    own = sum(array.bytes for array in self.arrays)
    return own * self.group if self.kind == 'all-gather' else own

  @property
  def sent(self) -> tuple[float, float]:
    """The least bytes that a device sends: within its slice, and to others.

    A gather or a scatter of n bytes among g devices sends n (g - 1) / g, a sum
    twice that. Between s slices, each device has its part of g / s to send on.
    """
    if self.kind == 'collective-permute':
      within, across = (0, 1) if self.slices > 1 else (1, 0)
      return self.bytes * within, self.bytes * across
    here = self.group / self.slices
    rounds = 2 if self.kind == 'all-reduce' else 1
    across = (self.slices - 1) / self.slices / here
    if self.kind == 'all-to-all':
      across *= here
    return (
      rounds * self.bytes * (here - 1) / here,
      rounds * self.bytes * across,
    )


def find(module: Module, devices: int, slices: int) -> list[Collective]:
  """The collectives of a step.

  An asynchronous one that TPUs carry out piece by piece beside other work
  stands in the text several times, by one channel: it is one.

  Args:
    module: of its HLO.
    devices: of the mesh.
    slices: that they are on, in order.
  """
  found = {}
  for name, ways in module.visits.items():
    inside = module.computations[name]
    for one in inside.values():
      kind, group, spread = _among(one, name, devices, slices)
      if kind not in KINDS or group < 2:
        continue
      channel = re.search(r'channel_id=(\d+)', one.rest)
      for way in ways:
        # What the host sends has channels of its own.
        this = (
          (one.opcode == 'send', channel[1]) if channel else (name, one.name)
        )
        found[this, way.loop] = Collective(
          kind,
          tuple(_given(one, inside)),
          group,
          spread,
          way.times,
          way.sure,
          one.source or (way.via[1].source if way.via else ''),
        )
  return list(found.values())


def by_kind(found: list[Collective]) -> dict[str, tuple[int, int]]:
  """How often each kind runs in a step, and its bytes on one device."""
  total = collections.defaultdict(lambda: (0, 0))
  for one in sorted(found, key=lambda x: (x.slices > 1, KINDS.index(x.kind))):
    name = one.kind + (' between slices' if one.slices > 1 else '')
    times, size = total[name]
    total[name] = times + one.times, size + one.times * one.bytes
  return dict(total)


def _among(one, computation, devices, slices):
  """The kind of a collective, the devices of a group, and their slices."""
  across = _ACROSS.search(one.rest)
  if one.opcode == 'send' and across:
    return across[1].lower().replace('_', '-'), slices, slices
  kind = one.opcode.removesuffix('-start')
  if kind not in KINDS:
    return '', 0, 0
  if kind == 'all-reduce' and computation.startswith(_SCATTER):
    kind = 'reduce-scatter'
  groups = _groups(one.rest, devices)
  spread = max(len({d * slices // devices for d in g}) for g in groups)
  return kind, len(groups[0]), spread


def _given(one, inside):
  """What an instruction takes in; behind what it sends, a token."""
  operands = one.operands[:1] if one.opcode == 'send' else one.operands
  for operand in operands:
    yield from inside[operand].arrays


def _groups(rest, devices):
  """The groups of a collective, in any of the ways in which HLO writes them."""
  pairs = re.search(r'source_target_pairs=\{(.*?)\}\}', rest)
  if pairs:
    return _lists(pairs[1])
  text = rest[rest.find('replica_groups=') + len('replica_groups=') :]
  if text.startswith('{{'):
    return _lists(text[: text.index('}}')])
  if text.startswith('['):  # [groups,size]<=[sizes]T(order)
    shape, sizes, order = re.match(
      r'\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?', text
    ).groups()
    return _transposed(_ints(sizes), order and _ints(order)).reshape(
      _ints(shape)
    )
  if text.startswith('mesh['):  # mesh['a'=4,'b'=2] {'a'}
    axes, used = re.match(r'mesh\[(.*?)\].*?\{(.*?)\}', text).groups()
    sizes = {k: int(v) for k, v in re.findall(r"'(\w+)'=(\d+)", axes)}
    names = list(sizes)
    taken = re.findall(r"'(\w+)'", used)
    order = [names.index(x) for x in names if x not in taken]
    order += [names.index(x) for x in taken]
    return _transposed(list(sizes.values()), order).reshape(
      -1, math.prod(sizes[x] for x in taken)
    )
  return [range(devices)]


def _transposed(sizes, order):
  return np.arange(math.prod(sizes)).reshape(sizes).transpose(order)


def _lists(text):
  return [_ints(part) for part in re.findall(r'[\d,]+\d|\d', text)]


def _ints(text):
  return [int(x) for x in text.split(',') if x]
