"""Rationales without a language model, composed from what was observed.

The writer knows no environment. It compares texts: which things the task
names, which of them the agent has met, what the outcomes of the alternatives
bring that is new. Outcomes and the expert's later actions only decide which
sentence is true; nothing that the agent has not seen is told.
"""

import functools
import re

from early_experience.reflection import phrases, words
from early_experience.reflection.decision import Decision, Draft

# A small model spends its loss on what it has to write: long rationales
# drown the action (the method's authors shortened theirs for that reason).
MAX_WORDS = 40
PLAN_STEPS = 3  # how far ahead the agent may say what it is up to
NO_REASON = 'no reason'  # why a draft failed: nothing speaks for its action

FRESH = 3  # words that are new in what an action shows: it served to look
_LOOKING = {'look', 'examine', 'inspect', 'inventory', 'check', 'read', 'help'}
_OPENING = {'open', 'unlock', 'search'}
_MOVING = {'go', 'walk', 'enter', 'leave', 'return', 'navigate', 'travel'}

_USELESS = ('done', 'rejected', 'nothing new')  # as the agent itself can know


class Grounded:
  """Writes one short monologue a decision; the seed picks the wording.

  Args:
    seed: of that chance.
    wordings: ways of saying a thing that it picks from; 0: all.
  """

  name = 'grounded'

  def __init__(self, seed: int, wordings: int = 0):
    self._seed, self._wordings = seed, wordings or None

  def write(self, decisions: list[Decision]) -> list[Draft]:
    """One draft a decision: situation, an alternative or more, conclusion.

    Where nothing that is known speaks for the action, the draft has failed.
    """
    return [self._write(decision) for decision in decisions]

  def _write(self, decision):
    view, rng = _View(decision), decision.rng(self._seed)
    say = lambda patterns, slots: words.sentence(
      rng.choice(patterns[: self._wordings]).format(**slots)
    )
    action = words.plain(decision.action)
    situation, failure = list(_situation(view)), None
    start = [say(*one) for one in situation or [(phrases.ANYHOW, {})]]
    end = say(phrases.CONCLUSIONS, {'action': action})
    middle, compared, reasons = [], [], _reasons(view, rng)
    if not situation:
      # What a call is for is not known; that others are useless speaks for it.
      is_call = not words.is_english(decision.action)
      useless = [r for r in reasons if is_call and r[0] in _USELESS][:1]
      reasons = useless + [r for r in reasons if r not in useless]
      failure = None if useless else NO_REASON
    for reason, actions in reasons:
      gerund = _together(actions, words.doing)
      clause = say(
        phrases.REASONS[reason],
        {
          'doing': gerund,
          'gerund': gerund,
          'did': _together(actions, words.did, 'and'),
          'plain': _together(actions, words.plain),
        },
      )
      length = words.count(' '.join([*start, *middle, clause, end]))
      if length <= MAX_WORDS or not middle:
        middle.append(clause)
        compared += actions
    text = ' '.join([*start, *middle, end])
    return Draft(text, tuple(compared), failure)


class _View:
  """What the texts of a decision say, as sets of terms."""

  def __init__(self, decision: Decision):
    self.decision = decision
    self.action = words.parts(decision.action)
    self.things = self.action[1:]
    self.seen = words.all_terms(decision.seen)
    # A thing is met where it is observed; the task alone does not show it.
    self.met = words.all_terms((*decision.observations, *decision.actions))
    # Things, not properties: what the task names and the expert handles.
    future = (decision.action, *decision.plan)
    handled = {
      words.base(term)
      for action in (*decision.actions, *future)
      for term in words.parts(action)[1:]
    }
    named = {words.base(term) for term in words.terms(decision.instruction)}
    self.goals = named & handled

  @functools.cached_property
  def sought(self) -> str | None:
    """A kind of thing that the task names and that is still to be found."""
    for action in (self.decision.action, *self.decision.plan):
      for thing in words.parts(action)[1:]:
        if words.base(thing) in self.goals and thing not in self.met:
          return words.base(thing)
    return None

  @functools.cached_property
  def purpose(self) -> str | None:
    """What the agent can plan to do where it turns to now.

    The last of the next actions that handle the same thing (the very next one
    need not, after a move), as long as all in them has been met, and something
    that the task names is among it.
    """
    found, plan = None, self.decision.plan[:PLAN_STEPS]
    for i, action in enumerate(plan):
      verb, *things = words.parts(action)
      moved = i == 0 and self.action[0] in _MOVING and verb not in _MOVING
      shared = moved or not set(self.things).isdisjoint(things)
      if not shared or not self.met.issuperset(things):
        break
      named = self.goal_things(things)
      if self.sought:  # what is only looked into is not yet a purpose
        named = [thing for thing in named if thing not in self.things]
      if named and words.is_english(action):
        found = action
    return found

  @functools.cached_property
  def near(self) -> list[str]:
    """What the action handles that the task names and the agent has met."""
    return self.goal_things(self.things)

  @functools.cached_property
  def use(self) -> str | None:
    """The next planned action with a thing of this one, all of it met."""
    for action in self.decision.plan[:PLAN_STEPS]:
      things = words.parts(action)[1:]
      shared = not set(self.things).isdisjoint(things)
      if shared and self.met.issuperset(things) and words.is_english(action):
        return action
    return None

  @functools.cached_property
  def searching(self) -> bool:
    """Whether the action serves to find what is sought."""
    if self.purpose or self.sought is None:
      return False
    if self.sought in map(words.base, self.near):
      return False
    if self.action[0] in _MOVING | _LOOKING | _OPENING or self.closed:
      return True
    # Else it handles what it names, but where it brings much into sight.
    fresh = set(words.terms(self.decision.outcome)) - self.seen
    return not self.near and len(fresh - set(self.action)) >= FRESH

  @functools.cached_property
  def closed(self) -> str | None:
    """`box 1 is closed`, where that was seen of the action's last thing."""
    if not self.things:
      return None
    return _fact(self.decision.observations[-1], self.things[-1])

  def goal_things(self, terms) -> list[str]:
    return [t for t in terms if words.base(t) in self.goals and t in self.met]


def _situation(view):
  """Yields (patterns, slots) of what speaks for the action, if anything."""
  decision = view.decision
  if view.purpose:
    yield phrases.PURPOSE, {'purpose': view.purpose}
  elif view.searching:
    first = view.sought not in map(words.base, view.met)
    noun = words.article(view.sought) if first else f'another {view.sought}'
    yield phrases.SEARCH, {'sought': noun}
    if view.things:
      place = view.things[-1]
      if view.closed:
        yield phrases.INSIDE, {'fact': view.closed}
      elif not any(place in words.terms(a) for a in decision.actions):
        yield phrases.UNTRIED, {'place': place}
  elif view.near:
    yield phrases.GOAL, {'things': ' and '.join(view.near[:2])}
  elif view.use:
    yield phrases.PURPOSE, {'purpose': view.use}


def _fact(observation, thing):
  """`box 1 is closed`, where the observation says that much of a thing."""
  match = re.search(
    rf'\b{re.escape(thing)} is (closed|locked|shut|covered)\b', observation
  )
  return match and match.group()


def _reasons(view, rng):
  """Groups the alternatives by what speaks against them, in random order."""
  groups = {}
  for other in view.decision.alternatives:
    groups.setdefault(_reason(view, other), []).append(other.action)
  found = list(groups.items())
  rng.shuffle(found)
  return [(reason, actions[:2]) for reason, actions in found]


def _reason(view, other):
  decision = view.decision
  terms = words.parts(other.action)
  verb, things = terms[0], terms[1:]
  fresh = set(words.terms(other.observation)) - view.seen - set(terms)
  reveals = view.searching and any(
    words.base(term) == view.sought for term in words.terms(other.observation)
  )
  if not other.valid:
    return 'rejected'
  if view.searching and verb in _MOVING and other.action in decision.actions:
    return 'later' if reveals else 'done'
  if other.observation == decision.observations[-1] or (
    verb in _LOOKING and not any(term[-1].isdigit() for term in fresh)
  ):
    return 'nothing new'
  if not words.is_english(other.action):  # what it is about is not known
    if other.action in decision.plan:
      return 'later'
    return 'done' if other.action in decision.actions else 'no help'
  if reveals:
    return 'later'  # it would do, which the agent cannot know
  if verb == view.action[0] and things != view.things and _alike(things, view):
    return 'same'
  if verb in _MOVING:
    if any(words.base(thing) in view.goals for thing in things):
      return 'later'
    return 'unlikely' if view.searching else 'elsewhere'
  useful = {*view.goals, *map(words.base, view.things)}
  if view.searching or not useful.isdisjoint(map(words.base, things)):
    return 'no help'
  return 'off task'


def _alike(things, view):
  """Whether an action is about things of the same kinds, and of the task."""
  kinds = [words.base(thing) for thing in things]
  same = kinds == [words.base(thing) for thing in view.things]
  return same and bool(kinds) and kinds[0] in view.goals


def _together(actions, form, word='or'):
  """`going to box 1 or to box 2`."""
  forms = [form(action) for action in actions]
  verb = forms[0].split(' ')[0]
  rest = [
    f.removeprefix(f'{verb} ') if f.startswith(f'{verb} ') else f
    for f in forms[1:]
  ]
  return f' {word} '.join([forms[0], *rest])
