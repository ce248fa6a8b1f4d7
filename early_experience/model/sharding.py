"""The device mesh, and which of its axes each logical axis is split over.

Every function of the model runs under `jax.set_mesh(make_mesh(config.mesh))`;
a laptop's mesh is 1x1x1. Axis types are Explicit: the type of an array says how
it is split, so nothing is left to guess and mistakes fail while tracing.
"""

import math
from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import (
  AbstractMesh,
  AxisType,
  Mesh,
  NamedSharding,
  PartitionSpec,
)
from ml_collections import ConfigDict

from early_experience.runtime.errors import UserError

AXES = ('data', 'fsdp', 'tensor')
RULES = {
  'batch': ('data', 'fsdp'),
  'time': None,
  'vocab': 'tensor',
  'embed': 'fsdp',
  'heads': 'tensor',
  'kv_heads': 'tensor',
  'head_dim': None,
  'mlp': 'tensor',
  'layer': None,
  'rank': None,
}


def make_mesh(config: ConfigDict) -> Mesh:
  """The mesh of `config.mesh`: sizes of data, fsdp, tensor; -1: what is left.

  A mesh smaller than the machine takes its first devices; only a single process
  may do that.

  Raises:
    UserError: the sizes do not fit the devices, or their slices.
  """
  sizes = [config[axis] for axis in AXES]
  count = jax.device_count()
  text = 'x'.join(map(str, sizes))
  if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
    raise UserError(f'config.mesh = {text}: sizes are positive, at most one -1')
  known = math.prod(size for size in sizes if size != -1)
  if -1 in sizes:
    sizes[sizes.index(-1)] = max(1, count // known)
  used = math.prod(sizes)
  whole = -1 in config.values() or jax.process_count() > 1
  if used > count or (whole and used != count):
    raise UserError(f'config.mesh = {text} does not fit {count} devices')
  return lay_out(sizes, jax.devices()[:used])


def machine_mesh(embed: int) -> Mesh:
  """The mesh of what has no config: devices share parameters evenly.

  Args:
    embed: the axis that they split; some devices may stay idle for it.
  """
  count = math.gcd(embed, jax.device_count())
  return make_mesh(ConfigDict({'data': 1, 'fsdp': count, 'tensor': 1}))


def lay_out(sizes: Sequence[int], devices: Sequence[jax.Device]) -> Mesh:
  """The mesh of devices whose neighbours are close to each other.

  `data` goes across slices of TPUs. jax.make_mesh would refuse these, sizes
  that split an axis of a torus, and GPUs of several hosts.

  Args:
    sizes: of AXES.
    devices: as many.

  Raises:
    UserError: the slices cannot be split over `data`.
  """
  is_tpu = devices[0].platform == 'tpu'
  # Chips of one slice, described but not here, have no such attribute.
  slices = len({getattr(d, 'slice_index', 0) for d in devices}) if is_tpu else 1
  if sizes[0] % slices:
    raise UserError(
      f'config.mesh.data = {sizes[0]} is not a multiple of the {slices} slices'
      ' that it goes across'
    )
  if slices > 1:
    laid_out = mesh_utils.create_hybrid_device_mesh(
      (sizes[0] // slices, *sizes[1:]),
      (slices, 1, 1),
      devices,
      allow_split_physical_axes=True,
    )
  else:
    laid_out = mesh_utils.create_device_mesh(
      sizes, devices, allow_split_physical_axes=True
    )
  return Mesh(laid_out, AXES, (AxisType.Explicit,) * len(AXES))


def own_mesh(mesh: Mesh) -> Mesh:
  """A mesh of this process's devices alone: they split what those of `mesh` do.

  As far as their number goes; it is `mesh` itself where there is one process.
  """
  if jax.process_count() == 1:
    return mesh
  count = jax.local_device_count()
  tensor = math.gcd(mesh.shape['tensor'], count)
  fsdp = math.gcd(mesh.shape['fsdp'], count // tensor)
  sizes = count // (tensor * fsdp), fsdp, tensor
  return lay_out(sizes, jax.local_devices())


def own_copy(tree: dict, own: Mesh) -> dict:
  """Arrays that the devices of all processes share, whole in each process.

  All processes call it together.

  Args:
    tree: of arrays.
    own: from `own_mesh`, of their mesh.
  """
  if jax.process_count() == 1:
    return tree
  each = [
    lay_out(own.devices.shape, jax.local_devices(process)).devices
    for process in range(jax.process_count())
  ]
  axes = ('process', *AXES)
  every = Mesh(np.stack(each), axes, (AxisType.Explicit,) * len(axes))

  def copy(x):
    there = jax.device_put(x, NamedSharding(every, x.sharding.spec))
    return jax.make_array_from_single_device_arrays(
      x.shape,
      NamedSharding(own, x.sharding.spec),
      [shard.data for shard in there.addressable_shards],
    )

  return jax.tree.map(copy, tree)


def spec(*logical: str | None) -> PartitionSpec:
  """The partition of an array by the logical names of its axes; None: whole.

  Raises:
    KeyError: a name is not in RULES.
    ValueError: two axes would be split over the same axis of the mesh.
  """
  split = [RULES[name] if name else None for name in logical]
  taken = [axis for axes in split for axis in np.atleast_1d(axes) if axis]
  if len(set(taken)) < len(taken):
    raise ValueError(f'axes {logical} share a mesh axis: {split}')
  return PartitionSpec(*split)


def row_positions(rows: int, mesh: Mesh) -> np.ndarray:
  """Which rows of a batch the devices of this process hold, in order.

  Args:
    rows: of the whole batch.
    mesh: from `make_mesh`.

  Raises:
    UserError: the rows cannot be split evenly.
  """
  check_rows(rows, mesh)
  sharding = NamedSharding(mesh, spec('batch'))
  parts = sharding.addressable_devices_indices_map((rows,)).values()
  return np.unique([np.arange(rows)[part] for part in parts])


def put_batch(
  batch: dict[str, np.ndarray], mesh: Mesh, rows: int = 0
) -> dict[str, jax.Array]:
  """Global arrays from the rows this process holds, split over the batch.

  Args:
    batch: arrays whose first axis is the rows of `row_positions`.
    mesh: from `make_mesh`.
    rows: of the whole batch; 0: all of them are here.

  Raises:
    UserError: the rows cannot be split evenly.
  """
  sharding = NamedSharding(mesh, spec('batch'))
  if rows:
    positions = row_positions(rows, mesh)
  else:
    rows = len(next(iter(batch.values())))
    check_rows(rows, mesh)
    positions = np.arange(rows)

  def put(x):
    def part(index):
      return x[np.searchsorted(positions, np.arange(rows)[index[0]])]

    shape = (rows, *x.shape[1:])
    return jax.make_array_from_callback(shape, sharding, part)

  with jax.transfer_guard('allow'):  # this is the place for it
    return {name: put(value) for name, value in batch.items()}


def check_rows(rows: int, mesh: Mesh | AbstractMesh) -> None:
  """Makes sure that a batch can be split over the mesh.

  Raises:
    UserError: it cannot.
  """
  ways = mesh.shape['data'] * mesh.shape['fsdp']
  if rows % ways:
    raise UserError(
      f'a batch of {rows} rows cannot be split evenly over config.mesh data x'
      f' fsdp = {ways} devices'
    )
