"""Function calls as text: read without running, written in one form."""

import ast
import dataclasses
import re
import warnings
from collections.abc import Mapping, Sequence

# What starts like a call, or like a list of calls, is meant as one.
_CALL = re.compile(r'\[?\s*[A-Za-z_][\w.]*\(')
_ERRORS = (SyntaxError, ValueError, MemoryError, RecursionError)


@dataclasses.dataclass(frozen=True)
class Call:
  """One call with literal arguments.

  Attributes:
    name: of the function.
    args: positional arguments.
    kwargs: keyword arguments, in the order written.
  """

  name: str
  args: tuple
  kwargs: dict

  def __str__(self) -> str:
    parts = [repr(value) for value in self.args]
    parts += [f'{key}={value!r}' for key, value in self.kwargs.items()]
    return f'{self.name}({", ".join(parts)})'


def read(action: str) -> list[Call]:
  """The calls of `f(a=1)` or `[f(a=1), g()]`; none where it is prose.

  Brackets may be missing, and a code block's marks do not count, as in the
  official `default_decode_execute_prompting`. Arguments are literals. Nothing
  is evaluated; sets are refused, for their order differs between processes.

  Raises:
    ValueError: it is meant as calls and cannot be read; in Python's words.
  """
  text = action.strip('` \n\r\t')
  if not _CALL.match(text):
    return []
  text = text if text.startswith('[') else f'[{text}'
  text = text if text.endswith(']') else f'{text}]'
  try:
    with warnings.catch_warnings(action='ignore'):  # of escapes in strings
      body = ast.parse(text, mode='eval').body
  except _ERRORS as error:
    raise ValueError(getattr(error, 'msg', str(error))) from None
  if not isinstance(body, ast.List):
    raise ValueError('not a list of function calls')
  return [_call(node) for node in body.elts]


def write(calls: Sequence[Call]) -> str:
  """The one form of calls: a list of them, as the benchmark's prompt asks."""
  return f'[{", ".join(map(str, calls))}]'


def bind(call: Call, parameters: Mapping[str, Sequence[str]]) -> Call:
  """A call with all arguments by name, in the order of the function's own.

  Args:
    call: left as it is where its function is not known or does not take it.
    parameters: names of each function's parameters.
  """
  order = parameters.get(call.name, ())
  named = dict(zip(order, call.args, strict=False))
  repeats = named.keys() & call.kwargs.keys()
  unknown = call.kwargs.keys() - set(order)
  if len(call.args) > len(order) or repeats or unknown:
    return call
  named |= call.kwargs
  kwargs = {key: named[key] for key in order if key in named}
  return dataclasses.replace(call, args=(), kwargs=kwargs)


def _call(node):
  if not isinstance(node, ast.Call):
    raise ValueError('not a function call')
  if not isinstance(node.func, ast.Name):
    raise ValueError(f"name '{_root(node.func)}' is not defined")
  if any(keyword.arg is None for keyword in node.keywords):
    raise ValueError('arguments cannot be unpacked')
  names = [keyword.arg for keyword in node.keywords]
  if len(set(names)) < len(names):
    raise ValueError('keyword argument repeated')
  kwargs = {keyword.arg: _literal(keyword.value) for keyword in node.keywords}
  return Call(node.func.id, tuple(map(_literal, node.args)), kwargs)


def _root(node):
  while isinstance(node, ast.Attribute):
    node = node.value
  return node.id if isinstance(node, ast.Name) else '?'


def _literal(node):
  parts = list(ast.walk(node))
  for part in parts:
    if isinstance(part, ast.Name):
      raise ValueError(f"name '{part.id}' is not defined")
  try:
    if not any(isinstance(part, ast.Call | ast.Set) for part in parts):
      value = ast.literal_eval(node)
      if not isinstance(value, str):
        ast.literal_eval(repr(value))  # not so 1e999, which is written inf
      return value
  except _ERRORS:
    pass
  raise ValueError('arguments have to be literals')
