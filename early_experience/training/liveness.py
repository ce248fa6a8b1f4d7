"""The peak of a traced step's temporary memory, on one device.

A model of what XLA makes of it on accelerators. Operations are carried out in
the order in which they were traced. Chains of element-wise operations are
fused: stored is only what a product, a loop, a gather or a collective reads or
writes, and results. Element-wise results and the carries of loops take the
place of operands that are not read again.
"""

import dataclasses
import math

import jax
from jax.extend import core

_LOOPS = ('scan', 'while')
_IN_PLACE = ('scatter', 'scatter-add', 'dynamic_update_slice')
_STORED = (
  *(*_LOOPS, *_IN_PLACE, 'dot_general', 'gather', 'sort', 'reshard'),
  'pallas_call',
)
# Results that are their operand, seen otherwise; sums over devices too take the
# place of what is summed.
_VIEWS = (
  *(
    'reshape',
    'squeeze',
    'transpose',
    'pvary',
    'name',
    'copy',
    'split',
    'unstack',
  ),
  *('psum', 'psum_invariant', 'pmax'),
)


@dataclasses.dataclass(frozen=True)
class Peak:
  """Bytes on one device; arguments are not counted.

  Attributes:
    total: at the worst moment.
    kept: what layers write for others to read: for the backward pass.
    layer: the most that one layer has of its own, forward or backward.
    chunk: the most that one chunk of the loss has of its own.
  """

  total: int = 0
  kept: int = 0
  layer: int = 0
  chunk: int = 0


@dataclasses.dataclass
class _Operation:
  name: str
  reads: list[int]
  writes: list[int]
  body: Peak = Peak()  # of a loop
  carry: tuple[int, ...] = ()  # those of `reads` that a loop updates
  stacks: tuple[int, ...] = ()  # those of `writes` that a scan fills by steps


def peak(jaxpr: core.Jaxpr, donated: bool = True) -> Peak:
  """Of a jaxpr whose array types say how arrays are split over a mesh.

  Args:
    jaxpr: of a step, or of the body of a loop.
    donated: whether results take the place of arguments.
  """
  return _Trace(jaxpr, donated).peak()


class _Trace:
  """A jaxpr as one list of operations on numbered values."""

  def __init__(self, jaxpr, donated):
    self._bytes, operations = [], []
    env = {v: self._value(0) for v in (*jaxpr.constvars, *jaxpr.invars)}
    self._given = {value: _size(v.aval) for v, value in env.items()}
    self._inline(jaxpr, env, operations)
    self._results = {self._read(env, v) for v in jaxpr.outvars}
    if donated:
      for value in self._results:
        self._bytes[value] = 0
    self._operations = self._needed(operations)
    self._parts, self._stored = self._placed()

  def _value(self, size):
    self._bytes.append(size)
    return len(self._bytes) - 1

  def _read(self, env, var):
    return self._value(0) if isinstance(var, core.Literal) else env[var]

  def _inline(self, jaxpr, env, operations):
    for eqn in jaxpr.eqns:
      reads = [self._read(env, v) for v in eqn.invars]
      called = _called(eqn)
      if called is None:
        writes = [self._value(_size(v.aval)) for v in eqn.outvars]
        env.update(zip(eqn.outvars, writes, strict=True))
        operations.append(_operation(eqn, reads, writes))
        continue
      if eqn.primitive.name == 'cond':
        reads = reads[1:]
      inner = {v: self._value(0) for v in called.constvars}
      inner |= zip(called.invars, reads, strict=True)
      self._inline(called, inner, operations)
      for var, result in zip(eqn.outvars, called.outvars, strict=True):
        env[var] = self._read(inner, result)

  def _needed(self, operations):
    """Those that results depend on; what is not read has no bytes."""
    needed, kept = set(self._results), []
    for operation in reversed(operations):
      if needed.intersection(operation.writes):
        kept.append(operation)
        for value in set(operation.writes) - needed:
          self._bytes[value] = 0
        needed.update(operation.reads)
    return kept[::-1]

  def _placed(self):
    """The stored values that each value is made of, and all stored values."""
    readers = {}
    for operation in self._operations:
      for value in operation.reads:
        readers.setdefault(value, []).append(operation)
    parts, stored = {value: {value} for value in self._given}, set()
    for operation in self._operations:
      name = operation.name
      made_of = _union(parts.get(v, ()) for v in operation.reads)
      last = [v for v in operation.reads if readers[v][-1] is operation]
      for value in operation.writes:
        by = [reader.name for reader in readers.get(value, ())]
        target = self._target(operation, value, last)
        if target in parts:
          parts[value] = parts[target]
        elif name in _VIEWS or (
          # A product is rounded, or added to a sum, before it is written.
          name == 'dot_general' and by in (['convert_element_type'], ['add'])
        ):
          parts[value] = made_of
        elif (
          name in _STORED
          or value in self._results
          or any(reader in _STORED + _VIEWS for reader in by)
        ):
          parts[value] = {value}
          stored.add(value)
        else:
          parts[value] = made_of
    return parts, stored

  def _target(self, operation, value, last):
    """The operand whose place a result takes, unless it is None."""
    if operation.name in _IN_PLACE:
      return operation.reads[0] if operation.reads[0] in last else None
    if operation.name in _STORED or value not in self._results:
      return None
    fits = lambda v: self._given.get(v) == self._bytes[value]
    return next((v for v in last if fits(v)), None)

  def peak(self) -> Peak:
    """Walks through the operations with the set of values that live."""
    parts = lambda values: _union(self._parts.get(v, ()) for v in values)
    last = {}
    for index, operation in enumerate(self._operations):
      last |= dict.fromkeys(parts(operation.reads), index)
    last |= dict.fromkeys(parts(self._results), len(self._operations))
    live, most = set(), 0
    for index, operation in enumerate(self._operations):
      dead = {value for value in live if last[value] == index}
      if operation.name in _LOOPS:
        replaced = dead & parts(operation.carry)
      else:
        replaced = set() if operation.name in _STORED else dead
      written = self._stored.intersection(operation.writes) & last.keys()
      live = live - replaced | written
      bytes_ = sum(self._bytes[value] for value in live)
      most = max(most, bytes_ + operation.body.total)
      live -= dead
    return self._of_loops(most, parts)

  def _of_loops(self, total, parts):
    scans = [o for o in self._operations if o.name == 'scan']
    chunks = [o.body.total for o in self._operations if o.name == 'while']
    if not (scans and chunks):  # these are microbatches, or a layer's rows
      most = lambda name: max((getattr(o.body, name) for o in scans), default=0)
      return Peak(total, most('kept'), most('layer'), most('chunk'))
    read = _union(parts(o.reads) for o in scans)
    kept = read & _union(o.stacks for o in scans)
    return Peak(
      total,
      kept=sum(self._bytes[value] for value in kept),
      layer=max(o.body.total for o in scans),
      chunk=max(chunks),
    )


def _operation(eqn, reads, writes):
  name, params = eqn.primitive.name, eqn.params
  if name == 'while':
    body = peak(_open(params['body_jaxpr']), donated=False)
    consts = params['cond_nconsts'] + params['body_nconsts']
    return _Operation(name, reads, writes, body, tuple(reads[consts:]))
  if name != 'scan':
    return _Operation(name, reads, writes)
  body = _open(params['jaxpr'])
  # Versions of jax name the parts differently; what is taken or given step by
  # step has one axis more outside than within.
  alike = lambda outer, inner: sum(
    x.aval.ndim == y.aval.ndim for x, y in zip(outer, inner, strict=True)
  )
  carried = alike(eqn.outvars, body.outvars)
  consts = alike(eqn.invars, body.invars) - carried
  return _Operation(
    name,
    reads,
    writes,
    peak(body, donated=False),
    carry=tuple(reads[consts : consts + carried]),
    stacks=tuple(writes[carried:]),
  )


def _called(eqn):
  """The jaxpr that stands for an equation where it is; None: there is none."""
  name, params = eqn.primitive.name, eqn.params
  if name in ('while', 'pallas_call') or (
    name == 'scan' and params['length'] > 1
  ):
    return None
  for key in ('jaxpr', 'call_jaxpr'):
    if key in params:
      return _open(params[key])
  return None


def _open(jaxpr):
  """Without constants, where it comes closed over them."""
  return getattr(jaxpr, 'jaxpr', jaxpr)


def _size(aval: jax.core.AbstractValue) -> int:
  """Bytes of an array's part on one device."""
  if not hasattr(aval, 'shape'):
    return 0
  size = math.prod(aval.shape) * aval.dtype.itemsize
  for axes in aval.sharding.spec:
    for axis in (axes,) if isinstance(axes, str) else axes or ():
      size //= aval.sharding.mesh.shape[axis]
  return size


def _union(sets):
  return set().union(*sets)
