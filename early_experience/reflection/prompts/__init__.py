"""Prompts: text files whose names carry their version.

A prompt that has written rationales is never edited; a better one is a new
file with the next number, so that a record says by which it was written.
"""

import importlib.resources
import string

from early_experience.reflection.decision import Decision

RATIONALE = 'rationale-1'


def rationale(decision: Decision) -> str:
  """The request for one rationale, by the prompt `RATIONALE`."""
  text = importlib.resources.files(__name__).joinpath(f'{RATIONALE}.txt')
  past = zip(decision.actions, decision.observations, strict=False)
  history = [f'{seen}\n> {action}' for action, seen in past]
  others = [
    f'- {other.action}: {other.observation}' for other in decision.alternatives
  ]
  return string.Template(text.read_text(encoding='utf-8')).substitute(
    instruction=decision.instruction,
    history='\n'.join(history) or 'Nothing; this is the first step.',
    observation=decision.observations[-1],
    admissible=', '.join(decision.admissible or ['whatever it can express']),
    action=decision.action,
    outcome=decision.outcome,
    alternatives='\n'.join(others) or 'None.',
  )
