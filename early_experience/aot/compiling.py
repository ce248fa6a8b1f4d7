"""The real train step, compiled for chips that this machine does not have."""

import dataclasses
import importlib.util
import math
import os
import time
from collections.abc import Collection

import jax
from jax.experimental import topologies
from jax.sharding import Mesh
from ml_collections import ConfigDict

from early_experience import memory
from early_experience.aot.chips import Target
from early_experience.model import tree_attention
from early_experience.model.sharding import AXES, lay_out
from early_experience.runtime.errors import UserError, need_extra

# What libtpu would ask the metadata of a TPU machine for. Only topologies are
# described, so the type need not be theirs; no chip is locked either.
_NO_TPU_HERE = {
  'TPU_SKIP_MDS_QUERY': '1',
  'TPU_ACCELERATOR_TYPE': 'v5litepod-16',
  'TPU_WORKER_HOSTNAMES': 'localhost',
  'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
}


@dataclasses.dataclass(frozen=True)
class Program:
  """What XLA made of the step for one chip.

  Attributes:
    text: the optimised HLO; '' where the step did not fit.
    arguments, results: bytes; results are those that take no argument's place.
    temporary: bytes of everything else, as they are laid out: reserved whole.
    peak: bytes of all that is in use at the worst moment; more is reserved.
    message: of XLA, where the step did not fit; else ''.
    seconds: that tracing and compiling took.
  """

  text: str
  arguments: int
  results: int
  temporary: int
  peak: int
  message: str
  seconds: float


def spread(
  config: ConfigDict, target: Target, given: Collection[str]
) -> dict[str, int]:
  """Takes a whole target where the config file is for other chips.

  `fsdp` takes what is left, and the batch grows until it can be split.

  Args:
    config: all of it, changed in place.
    target: one slice or several, which `data` then goes across.
    given: settings that stay: those of the command line, as mesh.fsdp.

  Returns:
    What was changed, by its name: {'mesh.fsdp': -1}.

  Raises:
    UserError: as `mesh`.
  """
  sizes, changes = config.mesh.to_dict().values(), {}
  if (
    not any(name.startswith('mesh.') for name in given)
    and -1 not in sizes
    and math.prod(sizes) != target.chips
  ):
    changes |= {'mesh.data': target.slices, 'mesh.fsdp': -1}
    config.mesh.update({'data': target.slices, 'fsdp': -1})
  if 'train.batch_rows' not in given:
    data, fsdp, _ = _sizes(config.mesh, target)
    ways = data * fsdp * config.train.microbatches
    rows = math.ceil(config.train.batch_rows / ways) * ways
    if rows != config.train.batch_rows:
      changes['train.batch_rows'] = config.train.batch_rows = rows
  return changes


def choose_attention(config: ConfigDict, target: Target) -> None:
  """Says in the config which attention is compiled: that of the target.

  Kernels for GPUs are not compiled for what stands in for them.
  """
  if config.model.attention == 'auto':
    platform = 'tpu' if target.chip.is_tpu else 'gpu'
    config.model.attention = tree_attention.AUTO[platform]


def mesh(settings: ConfigDict, target: Target) -> Mesh:
  """A mesh over the chips of a target; `data` goes across its slices.

  Args:
    settings: `config.mesh`; -1: what is left.
    target: its chips; for GPUs, devices of this machine's CPU stand in.

  Raises:
    UserError: the mesh does not fit, there is no such topology, or libtpu is
      not installed.
  """
  sizes = _sizes(settings, target)
  devices = _tpus(target) if target.chip.is_tpu else _stand_ins(target)
  return lay_out(sizes, devices)


def compile_step(config: ConfigDict, where: Mesh) -> Program:
  """Compiles the first stage's step.

  Args:
    config: all of it; weights, tokenizer and rows need not be there.
    where: from `mesh`.

  Raises:
    UserError: rows or parameters cannot be split over the mesh.
  """
  cfg = memory.architecture(config)
  start = time.perf_counter()
  text, message, arguments, results, temporary, peak = '', '', 0, 0, 0, 0
  try:
    step = memory.compiled(cfg, config, where, config.prepare.row_tokens)
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    message = str(error)
  else:
    text, by_xla = step.as_text(), step.memory_analysis()
    arguments = by_xla.argument_size_in_bytes
    results = by_xla.output_size_in_bytes - by_xla.alias_size_in_bytes
    temporary = by_xla.temp_size_in_bytes
    peak = by_xla.peak_memory_in_bytes
  seconds = time.perf_counter() - start
  return Program(text, arguments, results, temporary, peak, message, seconds)


def _sizes(settings, target):
  try:
    sizes = memory.mesh_sizes(settings, target.chips)
  except UserError as error:
    raise UserError(
      f'{error} of {target}; --config.mesh.AXIS=-1 takes what is left'
    ) from error
  if sizes['data'] % target.slices:
    raise UserError(
      f'config.mesh.data = {sizes["data"]} is not a multiple of'
      f' --slices={target.slices}, which it goes across'
    )
  return tuple(sizes[axis] for axis in AXES)


def _tpus(target):
  if importlib.util.find_spec('libtpu') is None:
    raise need_extra('libtpu', 'tpu-aot')
  os.environ.update(_NO_TPU_HERE)
  many = {'num_slices': target.slices} if target.slices > 1 else {}
  if target.per_slice == 1:  # hosts have four chips if nothing is said
    many['chips_per_host_bounds'] = (1, 1, 1)
  name = f'{target.name}:{target.shape}'
  try:
    found = topologies.get_topology_desc(name, 'tpu', **many)
  except jax.errors.JaxRuntimeError as error:
    reason = str(error).splitlines()[0]
    raise UserError(f'--topology={name}: {reason}') from error
  return found.devices


def _stand_ins(target):
  devices = jax.devices('cpu')
  if len(devices) < target.chips:
    raise UserError(
      f'{target} needs {target.chips} CPU devices to stand in, and jax has'
      f' {len(devices)}: set jax_num_cpu_devices'
    )
  return devices[: target.chips]
