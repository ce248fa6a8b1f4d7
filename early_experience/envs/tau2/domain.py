"""What the tau2 package has of a domain: database, tools, policy, tasks."""

import ast
import dataclasses
import functools
import importlib
import json
import operator
import warnings
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Self

from early_experience.envs.tau2.database import Table

_OPERATORS = {
  ast.Add: operator.add,
  ast.Sub: operator.sub,
  ast.Mult: operator.mul,
  ast.Div: operator.truediv,
  ast.USub: operator.neg,
  ast.UAdd: operator.pos,
}


def part(name: str) -> ModuleType:
  """A module of the package, which logs every call if it is let."""
  from loguru import logger

  logger.disable('tau2')
  return importlib.import_module(f'tau2.{name}')


@dataclasses.dataclass(frozen=True)
class Domain:
  """One domain, as it is before any episode.

  Attributes:
    name: of it.
    policy: what its agents have to follow.
    docs: of each tool, as the JSON text of its schema.
    tasks: the package's, by id, in its order.
    splits: ids by official split.
    world: the package's environment; nothing in it is ever changed.
  """

  name: str
  policy: str
  docs: Mapping[str, str]
  tasks: Mapping
  splits: Mapping[str, Sequence[str]]
  world: object

  def writes(self, tool: str) -> bool:
    """Whether a tool changes the database."""
    kind = part('environment.toolkit').ToolType.WRITE
    return self.world.tools.tool_type(tool) == kind


@functools.cache
def load(name: str) -> Domain:
  """Reads a domain, which takes as long as hundreds of episodes."""
  module = part(f'domains.{name}.environment')
  world = module.get_environment()
  schemas = (tool.openai_schema['function'] for tool in world.get_tools())
  return Domain(
    name,
    world.policy,
    {schema['name']: json.dumps(schema) for schema in schemas},
    {task.id: task for task in module.get_tasks(None)},
    module.get_tasks_split(),
    world,
  )


@functools.cache
def gold_hash(name: str, task_id: str) -> tuple:
  """The hash of a domain's changes after the gold calls of a task."""
  domain = load(name)
  desk = Desk(domain)
  for action in domain.tasks[task_id].evaluation_criteria.actions or ():
    desk.call(action.name, action.arguments)
  return desk.hash()


class Desk:
  """The tools of a domain on a database of an episode's own.

  Args:
    domain: of the tools.
    tables: of the database; None: as they are before any episode.
  """

  def __init__(self, domain: Domain, tables: Mapping[str, Table] | None = None):
    self.domain = domain
    self._tables = tables or {
      name: Table(records) for name, records in _originals(domain)
    }
    database = type(domain.world.tools.db).model_construct(**self._tables)
    self._world = part('environment.environment').Environment(
      domain.name, domain.policy, type(domain.world.tools)(database)
    )

  def call(self, name: str, arguments: dict) -> tuple[str, bool]:
    """Uses a tool.

    Returns:
      What it answered, and whether that is none of an error.
    """
    if name == 'calculate' and list(arguments) == ['expression']:
      return _calculate(arguments['expression'])
    call = part('data_model.message').ToolCall(name=name, arguments=arguments)
    with warnings.catch_warnings(action='ignore'):  # of odd values in records
      answer = self._world.get_response(call)
    return answer.content, not answer.error

  def clone(self) -> Self:
    """Another one in the same state."""
    tables = {name: table.share() for name, table in self._tables.items()}
    return Desk(self.domain, tables)

  def fingerprint(self) -> tuple:
    """Of all records that are not as they were before the episode."""
    return self._changes(lambda r: r.model_dump_json(warnings=False))

  def hash(self) -> tuple:
    """Likewise, by the official hash: what it calls equal is equal here.

    The official comparison takes the hash of whole databases. The records left
    out here are the same in both.
    """
    official = part('utils').get_dict_hash
    return self._changes(lambda r: official(r.model_dump(warnings=False)))

  def _changes(self, form):
    return tuple(
      (name, *change)
      for name, records in _originals(self.domain)
      for change in self._tables[name].changes(records, form)
    )


def _originals(domain):
  """(name, records) of each table."""
  return [
    (name, getattr(domain.world.tools.db, name))
    for name in type(domain.world.tools.db).model_fields
  ]


def _calculate(expression):
  """The tool of this name, which evaluates its text; here it is computed."""
  try:
    if not isinstance(expression, str):
      raise TypeError(f'{type(expression).__name__} is no expression')
    if not set(expression) <= set('0123456789+-*/(). '):
      raise ValueError('Invalid characters in expression')
    value = _value(ast.parse(expression.strip(), mode='eval').body)
    return str(round(float(value), 2)), True
  except (ArithmeticError, SyntaxError, ValueError, TypeError) as error:
    return f'Error: {error}', False
  except (MemoryError, RecursionError):
    return 'Error: Expression too long', False


def _value(node):
  match node:
    case ast.Constant(value=int() | float() as value):
      return value
    case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
      return _OPERATORS[type(op)](_value(operand))
    case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
      return _OPERATORS[type(op)](_value(left), _value(right))
  raise ValueError('Invalid operator in expression')
