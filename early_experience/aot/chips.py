"""Chips that a step can be compiled for, and what one of them can do."""

import dataclasses
import math
import re

from early_experience.runtime.errors import UserError
from early_experience.training.flops import PEAK_FLOPS


@dataclasses.dataclass(frozen=True)
class Chip:
  """One chip; rates are peaks as the vendor states them.

  Attributes:
    kind: jax's device_kind.
    hbm: bytes of memory that a program may use.
    hbm_rate: bytes/s of that memory.
    link_rate: bytes/s that a chip sends over all of its links to the others of
      its slice (ICI, NVLink): half of a bidirectional figure.
    network_rate: bytes/s that a chip sends to other slices (DCN).
  """

  kind: str
  hbm: float
  hbm_rate: float
  link_rate: float
  network_rate: float

  @property
  def flops(self) -> float:
    """Dense bfloat16 FLOP/s."""
    return PEAK_FLOPS[self.kind]

  @property
  def is_tpu(self) -> bool:
    return self.kind.startswith('TPU')


# Memory of TPUs is what libtpu lets a program have (its message when one needs
# more), a little less than the chip's 16, 95 and 32 GiB. The network of v5e and
# v6e is stated for a pod of 256 chips: 6.4 and 25.6 Tbit/s.
CHIPS = {
  # docs.cloud.google.com/tpu/docs/v5e
  'v5e': Chip('TPU v5 lite', 15.75 * 2**30, 819e9, 400e9 / 2, 6.4e12 / 8 / 256),
  # docs.cloud.google.com/tpu/docs/v5p: 50 Gbit/s of network a chip
  'v5p': Chip('TPU v5', 95.74 * 2**30, 2765e9, 1200e9 / 2, 50e9 / 8),
  # docs.cloud.google.com/tpu/docs/v6e: 3200 Gbit/s of ICI, each way a half
  'v6e': Chip(
    'TPU v6 lite', 31.25 * 2**30, 1600e9, 800e9 / 2, 25.6e12 / 8 / 256
  ),
  # NVIDIA's data sheets of the SXM boards; the network is that of a DGX: one
  # port of 400 (H100) or 200 (A100) Gbit/s for each GPU.
  'h100-80': Chip('NVIDIA H100 80GB HBM3', 80e9, 3350e9, 900e9 / 2, 400e9 / 8),
  'a100-80': Chip('NVIDIA A100-SXM4-80GB', 80e9, 2039e9, 600e9 / 2, 200e9 / 8),
}
ALIASES = {'gpu': 'h100-80'}


@dataclasses.dataclass(frozen=True)
class Target:
  """The chips to compile for.

  Attributes:
    name: of the chip, in CHIPS.
    shape: of a slice: 16x16, or 8 for GPUs that all reach each other.
    slices: of that shape, joined by the network.
  """

  name: str
  shape: str
  slices: int

  @property
  def chip(self) -> Chip:
    return CHIPS[self.name]

  @property
  def per_slice(self) -> int:
    return math.prod(map(int, self.shape.split('x')))

  @property
  def chips(self) -> int:
    return self.per_slice * self.slices

  def __str__(self) -> str:
    times = f'{self.slices} x ' if self.slices > 1 else ''
    return f'{times}{self.name}:{self.shape}'


def parse(topology: str, slices: int = 1) -> Target:
  """The target that flags name.

  Args:
    topology: CHIP:SHAPE, as v5e:16x16 or h100-80:8.
    slices: how many of them.

  Raises:
    UserError: there is no such chip, or no such shape.
  """
  name, _, shape = topology.partition(':')
  name = ALIASES.get(name, name)
  if name not in CHIPS:
    raise UserError(
      f'--topology={topology}: chips are {", ".join(CHIPS)}, as in v5e:16x16'
    )
  sizes = r'[1-9]\d*(x[1-9]\d*){0,2}' if CHIPS[name].is_tpu else r'[1-9]\d*'
  if not re.fullmatch(sizes, shape):
    example = '4x4' if CHIPS[name].is_tpu else '8'
    raise UserError(
      f'--topology={topology} has no shape: as in {name}:{example}'
    )
  if slices < 1:
    raise UserError(f'--slices={slices} is not positive')
  return Target(name, shape, slices)
