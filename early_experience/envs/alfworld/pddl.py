"""PDDL problems: reading them, and goals over ground atoms."""

import dataclasses
import re
from collections.abc import Callable, Iterator

from early_experience.runtime.errors import UserError

Atom = tuple[str, ...]  # predicate, then the ids of its arguments


@dataclasses.dataclass(frozen=True)
class Problem:
  """A parsed problem; all text is lower case, as PDDL is case-blind.

  Attributes:
    objects: PDDL type -> ids, sorted.
    facts: atoms true at the start, with predicate -> its atoms' arguments.
    goal: nested expression, e.g. `('and', ('holds', '?a', '?o'))`.
  """

  objects: dict[str, tuple[str, ...]]
  facts: dict[str, tuple[tuple[str, ...], ...]]
  goal: tuple


def parse(text: str, where: str) -> Problem:
  """Reads the objects, the initial facts and the goal.

  Args:
    text: `(define (problem ...) ...)`.
    where: names the problem in errors.

  Raises:
    UserError: the text is no PDDL problem, or a part of it is missing.
  """
  parts = {}
  for part in _expression(text, where)[1:]:
    if isinstance(part, tuple) and part and isinstance(part[0], str):
      parts[part[0]] = part[1:]
  for key in (':objects', ':init', ':goal'):
    if key not in parts:
      raise UserError(f'{where}: the PDDL problem has no {key}')
  objects = {}
  for name, kind in _typed(parts[':objects']):
    objects.setdefault(kind, []).append(name)
  facts = {}
  for fact in parts[':init']:
    if fact[0] != '=':
      facts.setdefault(fact[0], []).append(fact[1:])
  return Problem(
    {kind: tuple(sorted(names)) for kind, names in objects.items()},
    {predicate: tuple(atoms) for predicate, atoms in facts.items()},
    parts[':goal'][0],
  )


def ground(problem: Problem, fluents: frozenset[str], where: str):
  """The goal with its quantifiers expanded and static facts worked out.

  Args:
    problem: whose goal it is.
    fluents: predicates that actions change; all others keep their facts.
    where: names the problem in errors.

  Returns:
    True, False, an Atom, or `('and' | 'or' | 'not', ...)` over those.
  """
  return _Grounder(problem, fluents, where).ground(problem.goal, {})


def satisfied(goal, true: Callable[[Atom], bool]) -> bool:
  """Whether a ground goal holds where `true` tells which atoms do."""
  if isinstance(goal, bool):
    return goal
  if goal[0] == 'and':
    return all(satisfied(part, true) for part in goal[1:])
  if goal[0] == 'or':
    return any(satisfied(part, true) for part in goal[1:])
  if goal[0] == 'not':
    return not satisfied(goal[1], true)
  return true(goal)


class _Grounder:
  """Expands one problem's goal."""

  def __init__(self, problem, fluents, where):
    self._objects = problem.objects
    self._static = {
      (predicate, *arguments)
      for predicate, atoms in problem.facts.items()
      for arguments in atoms
      if predicate not in fluents
    }
    self._fluents = fluents
    self._where = where

  def ground(self, part, values):
    head = part[0]
    if head in ('and', 'or'):
      return _joined(head, (self.ground(p, values) for p in part[1:]))
    if head == 'not':
      inner = self.ground(part[1], values)
      return not inner if isinstance(inner, bool) else ('not', inner)
    if head in ('exists', 'forall'):
      variables = tuple(_typed(part[1]))
      return _joined(
        'or' if head == 'exists' else 'and',
        self._bindings(head, variables, part[2], values),
      )
    if head == '=':
      return values.get(part[1], part[1]) == values.get(part[2], part[2])
    atom = self._atom(part, values)
    return atom if head in self._fluents else atom in self._static

  def _bindings(self, head, variables, body, values) -> Iterator:
    if not variables:
      yield self.ground(body, values)
      return
    name, kind = variables[0]
    for value in self._objects.get(kind, ()):
      inner = {**values, name: value}
      # Four nested variables are a million bindings in a big room; nearly
      # all of them break a static conjunct that is bound early.
      if head == 'forall' or not self._refuted(body, inner):
        yield from self._bindings(head, variables[1:], body, inner)

  def _refuted(self, body, values):
    for part in body[1:] if body[0] == 'and' else (body,):
      if all(isinstance(word, str) for word in part) and part[0] != '=':
        bound = all(w in values or w[0] != '?' for w in part[1:])
        if bound and self.ground(part, values) is False:
          return True
    return False

  def _atom(self, part, values) -> Atom:
    for word in part[1:]:
      if word[0] == '?' and word not in values:
        raise UserError(f'{self._where}: goal variable {word} is not bound')
    return (part[0], *(values.get(word, word) for word in part[1:]))


def _joined(head, parts):
  """A conjunction or disjunction without constants and nesting of its own."""
  absorbing = head == 'or'
  kept = []
  for part in parts:
    if part is absorbing:
      return absorbing
    if isinstance(part, bool):
      continue
    kept += part[1:] if part[0] == head else (part,)
  if not kept:
    return not absorbing
  return kept[0] if len(kept) == 1 else (head, *kept)


def _typed(words) -> Iterator[tuple[str, str]]:
  """Pairs of a typed list: `a b - object` -> (a, object), (b, object)."""
  waiting = []
  words = iter(words)
  for word in words:
    if word == '-':
      kind = next(words)
      yield from ((name, kind) for name in waiting)
      waiting = []
    else:
      waiting.append(word)


def _expression(text, where) -> tuple:
  stack = [[]]
  text = re.sub(r';[^\n]*', '', text).lower()
  for token in re.findall(r'[()]|[^\s()]+', text):
    if token == '(':
      stack.append([])
    elif token == ')':
      if len(stack) < 2:
        break
      done = tuple(stack.pop())
      stack[-1].append(done)
    else:
      stack[-1].append(token)
  if len(stack) != 1 or not stack[0] or not isinstance(stack[0][0], tuple):
    raise UserError(f'{where}: not a whole PDDL problem')
  return stack[0][0]
