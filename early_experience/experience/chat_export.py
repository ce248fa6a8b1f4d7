"""Our records as flat chat records, for other trainers.

The shapes are those of the authors' files (see `chat_record`): a world model
is told by a system message of its own what it is, and its answers are marked
as observations, so that a policy never learns to write them.
"""

import dataclasses
from collections.abc import Iterator

from early_experience.experience import render
from early_experience.experience.answer_format import FORMATS
from early_experience.experience.conversation import messages
from early_experience.experience.plain_text import clean
from early_experience.experience.records import Trajectory

LAYOUTS = ('turns', 'states')
# Around an observation, by answer format.
_OBSERVATIONS = {
  'plain': ('', ''),
  'tags': ('<observation>', '</observation>'),
  'labels': ('Observation:\n', ''),
}


@dataclasses.dataclass(frozen=True)
class Variant:
  """How a record is written.

  Attributes:
    layout: `turns`, where an episode is one chat and earlier answers of a
      reflection have `weight` 0; or `states`, where each decision is an
      `instruction` and an `output` by itself, a counter in front of its
      history, as in the authors' ALFWorld files.
    answers: one of `answer_format.FORMATS`.
    k: alternatives of a state, the first ones recorded; None is all.
  """

  layout: str = 'turns'
  answers: str = 'plain'
  k: int | None = None

  def wrap(self, role: str, text: str) -> str:
    """A turn with its markup."""
    text = clean(text).strip()
    if role == 'observation':
      before, after = _OBSERVATIONS[self.answers]
      return before + text + after
    return FORMATS[self.answers].write(role, text)


def export(
  trajectory: Trajectory, variant: Variant
) -> Iterator[tuple[str, dict]]:
  """Yields (objective, record) for all that a trajectory teaches."""
  if variant.layout == 'states':
    yield from _states(trajectory, variant)
    return
  form = FORMATS[variant.answers]
  for script in render.imitation(trajectory):
    yield from _chat('imitation', script, form)
  for past, step, outcome in _decisions(trajectory):
    for action, observation in _transitions(step, outcome, variant.k):
      told = [trajectory.instruction, past[0][1]]
      told += [variant.wrap(role, text) for role, text in past[1:]]
      told.append(variant.wrap('action', action))
      said = (
        ('system', render.WORLD_MODEL_INSTRUCTION),
        ('user', '\n\n'.join(told)),
        ('assistant', variant.wrap('observation', observation)),
      )
      yield 'world_model', {'messages': [_message(*pair) for pair in said]}
  for script in render.reflection(trajectory):
    yield from _chat('reflection', script, form)


def _decisions(trajectory):
  """Each step with what was observed and done before, and its outcome."""
  past = [('observation', trajectory.steps[0].observation)]
  for i, step in enumerate(trajectory.steps):
    outcome = trajectory.outcome(i)
    yield past, step, outcome
    past = [*past, ('action', step.action), ('observation', outcome)]


def _transitions(step, outcome, k):
  yield step.action, outcome if step.summary is None else step.summary
  for other in step.alternatives[:k]:
    yield other.action, other.told


def _message(role, content, weight=1):
  return {'role': role, 'content': content} | ({} if weight else {'weight': 0})


def _chat(objective, script, form):
  """The chat of a script up to its last answer that is learnt, if any is."""
  found, length = [], 0
  for message in messages(script, form):
    learnt = any(part.objective >= 0 for part in message.parts)
    unlearnt = message.speaker == 'assistant' and not learnt
    found.append(_message(message.speaker, message.content, not unlearnt))
    length = len(found) if learnt else length
  if length:
    yield objective, {'messages': found[:length]}


def _states(trajectory, variant):
  for past, step, outcome in _decisions(trajectory):
    *before, (_, now) = past
    state = '\n'.join(
      [
        f'Task: {trajectory.instruction}',
        f'Steps taken: {len(before) // 2}. So far:',
        *(variant.wrap(role, text) for role, text in before),
        f'Now: {now.strip()}',
      ]
    )
    act = variant.wrap('action', step.expert_action)
    thought = variant.wrap('thought', step.thought or '')
    yield 'imitation', _instruction(state, '', thought + act)
    for action, observation in _transitions(step, outcome, variant.k):
      probe = variant.wrap('action', action)
      yield 'world_model', _instruction(state, probe, clean(observation))
    for rationale in step.rationales:
      thought = variant.wrap('thought', rationale.text)
      yield 'reflection', _instruction(state, '', thought + act)


def _instruction(state, given, output):
  return {'instruction': state, 'input': given, 'output': output}
