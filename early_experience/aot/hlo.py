"""What the text of optimised HLO says: how often, how large, between whom."""

import collections
import dataclasses
import functools
import math
import re

_BITS = {'pred': 8}  # beside those that say it; a token has none
_ARRAY = re.compile(r'([a-z]+\d*\w*)\[([\d,]*)\]')
_COMMENT = re.compile(r'/\*.*?\*/')
_HEADER = re.compile(r'(ENTRY )?%?([\w.\-]+) \(.*\{$')
_NAME = re.compile(r'%([\w.\-]+)')
_CALLED = re.compile(
  r'\b(?:calls|body|condition|to_apply|called_computations|branch_computations'
  r'|true_computation|false_computation)=(\{[^}]*\}|%[\w.\-]+)'
)


@dataclasses.dataclass(frozen=True)
class Array:
  """One array of a shape, without its layout."""

  dtype: str
  sizes: tuple[int, ...]

  @property
  def bytes(self) -> int:
    digits = re.search(r'\d+', self.dtype)
    bits = int(digits[0]) if digits else _BITS.get(self.dtype, 0)
    return math.prod(self.sizes) * bits // 8

  def __str__(self) -> str:
    return f'{self.dtype}[{",".join(map(str, self.sizes))}]'


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line of a computation.

  Attributes:
    name: unique in its computation.
    arrays: of its result; of all parts, where that is a tuple.
    opcode: as `all-gather`.
    operands: names.
    literal: what stands between the parentheses.
    rest: what stands behind them.
  """

  name: str
  arrays: tuple[Array, ...]
  opcode: str
  operands: tuple[str, ...]
  literal: str
  rest: str

  @property
  def source(self) -> str:
    """The operation of the traced step that it comes from; '' if not said."""
    found = re.search(r'op_name="([^"]*)"', self.rest)
    return found[1] if found else ''


class Module:
  """A parsed module.

  Args:
    text: of `compiled.as_text()`.

  Attributes:
    computations: {name: {name of an instruction: instruction}}, in order.
    entry: name of the first one to run.
  """

  def __init__(self, text: str):
    self.computations, self.entry, self._roots = {}, '', {}
    current = None
    for raw in text.splitlines():
      if raw[:1].isspace():
        found = _instruction(raw)
        if found and current is not None:
          current[found.name] = found
          if raw.lstrip().startswith('ROOT '):
            self._roots[id(current)] = found
      elif header := _HEADER.match(raw):
        current = self.computations.setdefault(header[2], {})
        if header[1]:
          self.entry = header[2]

  def root(self, computation: str) -> Instruction:
    return self._roots[id(self.computations[computation])]

  @functools.cached_property
  def visits(self) -> dict[str, tuple['Visit', ...]]:
    """For each computation, the ways in which the program comes to it."""
    found = collections.defaultdict(list)
    self._visit(self.entry, Visit(1, True, self.entry, None, None), found)
    return {name: tuple(ways) for name, ways in found.items()}

  def _visit(self, name, way, found):
    found[name].append(way)
    for one in self.computations[name].values():
      for called in _called(one):
        if called not in self.computations:
          continue
        if one.opcode == 'while':
          trips = self._trips(one, name, way)
          times, sure = way.times * (trips or 1), way.sure and trips is not None
          inner = Visit(times, sure, called, (name, one), way)
        else:
          inner = dataclasses.replace(way, via=(name, one), outer=way)
        self._visit(called, inner, found)

  def _trips(self, loop, computation, way):
    """How often a loop's body runs; None: the data decide.

    Said by XLA for CPUs and GPUs. For TPUs it follows from the comparison that
    ends the loop, where both its sides are constants or handed in as such.
    """
    said = re.search(r'known_trip_count[^}]*?"?n"?\s*:\s*"?(\d+)', loop.rest)
    if said:
      return int(said[1])
    condition = re.search(r'condition=%?([\w.\-]+)', loop.rest)[1]
    ends = self.root(condition)
    if ends.opcode != 'compare' or 'direction=LT' not in ends.rest:
      return None
    inside = self.computations[condition]
    sides = []
    for operand in ends.operands:
      one = inside[operand]
      if one.opcode == 'constant':
        sides.append(int(one.literal))
        continue
      if one.opcode != 'get-tuple-element':
        return None
      place = _index(one)
      sides.append(self._handed(loop, place, computation, way))
    first, last = sides
    return None if None in sides else max(0, last - first)

  def _handed(self, loop, place, computation, way):
    """The constant that a loop is handed at a place of its tuple, or None."""
    inside = self.computations[computation]
    one = inside[loop.operands[0]]
    if one.opcode != 'tuple':
      return None
    one = inside[one.operands[place]]
    while one.opcode in ('copy', 'bitcast', 'copy-done', 'copy-start'):
      one = inside[one.operands[0]]
    if one.opcode == 'constant' and re.fullmatch(r'-?\d+', one.literal):
      return int(one.literal)
    if one.opcode != 'get-tuple-element':
      return None
    given = inside[one.operands[0]]
    if given.opcode != 'parameter' or not way.via:
      return None
    outside, caller = way.via
    if caller.opcode != 'while' or not self._kept(computation, _index(one)):
      return None
    return self._handed(caller, _index(one), outside, way.outer)

  def _kept(self, body, place):
    """Whether a loop's body hands on what it was given at a place."""
    root = self.root(body)
    if root.opcode != 'tuple':
      return False
    one = self.computations[body][root.operands[place]]
    return one.opcode == 'get-tuple-element' and _index(one) == place


@dataclasses.dataclass(frozen=True)
class Visit:
  """One way to a computation.

  Attributes:
    times: that it runs in one step, on this way.
    sure: whether all loops on the way say how often they run; one that does
      not counts as 1.
    loop: the loop's body that it runs in, or the entry.
    via: the computation that calls it, and the instruction there.
    outer: the way to that computation.
  """

  times: int
  sure: bool
  loop: str
  via: tuple[str, Instruction] | None
  outer: 'Visit | None'


def largest(module: Module, count: int) -> list[tuple[Array, str]]:
  """The largest arrays that are written to memory, with what made each.

  Arrays of one shape are named once, and what is inside of a fusion is none.
  """
  best = {}
  for name, ways in module.visits.items():
    if any(way.via and way.via[1].opcode == 'fusion' for way in ways):
      continue
    for one in module.computations[name].values():
      if one.opcode in ('parameter', 'tuple', 'get-tuple-element', 'while'):
        continue
      for array in one.arrays:
        best.setdefault(array, one.source or one.opcode)
  order = sorted(best.items(), key=lambda item: -item[0].bytes)
  return order[:count]


def _instruction(raw):
  text = _COMMENT.sub('', raw).strip().removeprefix('ROOT ')
  name, equals, text = text.partition(' = ')
  if not equals:
    return None
  end = _closing(text, 0) if text.startswith('(') else text.find(' ')
  shape, text = text[:end], text[end:].lstrip()
  opcode, paren, _ = text.partition('(')
  if not paren:
    return None
  end = _closing(text, len(opcode))
  literal = text[len(opcode) + 1 : end - 1]
  return Instruction(
    name.lstrip('%'),
    tuple(_arrays(shape)),
    opcode,
    tuple(_NAME.findall(literal)),
    literal,
    text[end:],
  )


def _arrays(shape):
  for dtype, sizes in _ARRAY.findall(re.sub(r'\{[^{}]*\}', '', shape)):
    yield Array(dtype, tuple(map(int, sizes.split(','))) if sizes else ())


def _closing(text, start):
  """The place behind the parenthesis that closes the one at `start`."""
  depth = 0
  for match in re.compile(r'[()]').finditer(text, start):
    depth += 1 if match[0] == '(' else -1
    if not depth:
      return match.end()
  return len(text)


def _called(one):
  return [name for text in _CALLED.findall(one.rest) for name in _names(text)]


def _names(text):
  return _NAME.findall(text)


def _index(one):
  return int(re.search(r'index=(\d+)', one.rest)[1])
