"""Admissible actions as a model writes them, token by token."""

import dataclasses
from collections.abc import Mapping

from early_experience.evaluation.decisions import Request
from early_experience.evaluation.rollouts import nothing_admissible
from early_experience.experience.render import Script
from early_experience.tokenizers.interface import Tokenizer
from early_experience.work import units
from early_experience.work.units import Failure


def choices(
  tokenizer: Tokenizer, request: Request, script: Script, most: int
) -> dict[tuple[int, ...], str] | Failure:
  """The admissible actions by their ids, written after a script.

  Args:
    tokenizer: of the model.
    request: has them.
    script: the thought before the action included.
    most: tokens of an action.
  """
  if not request.admissible:
    return nothing_admissible(request, 'evaluate.constrained=True')
  write = lambda action: tokenizer.encode_answer(script, 'action', action)
  found = units.attempt(
    lambda actions: {tuple(write(a)): a for a in actions}, request.admissible
  )
  if isinstance(found, Failure):
    return dataclasses.replace(found, reason='cannot be shown')
  longest = max(found, key=len)
  if len(longest) > most:
    return Failure(
      'action too long',
      f'config.evaluate.max_action_tokens={most} cannot hold an admissible'
      f' action of {len(longest)} tokens at {request.key}:'
      f' {found[longest][:80]!r}',
    )
  return found


def allowed(
  choices: Mapping[tuple[int, ...], str] | None, ids: list[int]
) -> list[list[int]] | None:
  """For each token of an answer, what could be said there; None: anything."""
  if choices is None:
    return None
  return [
    sorted({other[i] for other in choices if other[:i] == tuple(ids[:i])})
    for i in range(len(ids))
  ]
