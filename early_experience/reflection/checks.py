"""What a rationale must not do, whoever wrote it.

A model that is trained on rationales learns their faults. These are the ones
that the method's authors met: labels and outcomes that leak from the prompt,
texts written twice, conclusions that drift to another action.
"""

import functools
import re

from early_experience.language.answer import halved
from early_experience.reflection import words
from early_experience.reflection.decision import Decision

MIN_WORDS, MAX_WORDS = 6, 400  # the paper's targets have about 50 to 400
COPIED_WORDS = 4  # consecutive words of an unseen outcome are a copy
UNSEEN_WORDS = 3  # different words that only unseen outcomes have

_FLAGS = re.IGNORECASE
_LABEL = re.compile(
  r'\bexperts?\b|\bground[- ]truth\b|\bdemonstrat(?:or|ion)\w*|'
  r'\b(?:action|alternative|option|choice|candidate|step)s?'
  r'\s*(?:#|no\.|number)?\s*\(?(?:\d+|(?-i:[A-HJ-Z]))\b|'
  r'\b(?:first|second|third|fourth|listed|given|provided)'
  r'\s+(?:alternative|option|candidate)s?\b|'
  r'\balternative\s+(?:one|two|three|action)s?\b|'
  r'\b(?:correct|chosen|given|provided)\s+action\b',
  _FLAGS,
)
_OUTCOME = re.compile(
  r'\bresulted\s+in\b|\bled\s+to\b|\bturned\s+out\b|\bas\s+a\s+result\b|'
  r'\b(?:outcome|result|response|observation|next\s+state)s?\s+'
  r'(?:was|were|is|shows?|showed|says?|said|confirms?|confirmed)\b|'
  r'\b(?:the\s+)?environment\s+'
  r'(?:showed|returned|responded|answered|said|replied)\b|'
  r'\bI\s+saw\s+that\b|\bthis\s+(?:worked|succeeded|revealed|showed)\b|'
  r'\bafter\s+\w+ing\b[^.]*,\s+I\s+(?:saw|found|noticed|was)\b',
  _FLAGS,
)
_META = re.compile(
  r'\bas\s+an?\s+(?:AI|assistant|language)\b|\blanguage\s+model\b|'
  r'\bmonologue\b|\b(?:the|this|your)\s+prompt\b|\bas\s+requested\b|'
  r"\bhere(?:'s|\s+is)\s+(?:the|my|an?)\s+(?:\w+\s+)?"
  r'(?:reasoning|rationale|thought|reflection|analysis)|'
  r"\bI(?:'m|\s+am)\s+(?:sorry|unable)\b|\bI\s+(?:cannot|can't)\s+assist\b|"
  r'^(?:sure|certainly|of course)[,!.]',
  _FLAGS,
)
# What makes a sentence a decision, and what takes it back or puts it off.
_DECIDES = re.compile(
  r"\b(?:so|therefore|thus|hence),?\s+I(?:'ll|\s+(?:will|should|must|shall))\b|"
  r"\bI(?:'ll|\s+will)\s+now\b|\bnow\s+I(?:'ll|\s+will)\b|"
  r'\bI\s+(?:decide|choose|opt|prefer)\b|\bI\s+am\s+going\s+to\b|'
  r'\bthe\s+best\s+(?:next\s+)?(?:step|move|choice|thing|idea)'
  r'(?:\s+now)?\s+(?:is|would\s+be)\b',
  _FLAGS,
)
_NOT_NOW = re.compile(
  r"\b(?:not|never|than|instead|later|before|after|once|until|unless|if)\b|n't\b",
  _FLAGS,
)
_MARKUP = re.compile(
  r'^\s*(?:#{1,6}\s|[-*+]\s|\d+[.)]\s|```|>\s)|\*\*|<\/?\w+>|'
  r'^\s*\w+(?:\s\w+)?:\s*$',
  re.MULTILINE,
)


def check(text: str, decision: Decision) -> tuple[str, str | None]:
  """Repairs what can be repaired and finds the first fault that cannot.

  Args:
    text: a rationale as it was written.
    decision: what it is about.

  Returns:
    The text to keep, and None or the reason to drop it: `empty`, `markup`,
    `meta`, `label`, `outcome`, `short`, `long`, `truncated` or `drift`.
  """
  is_flat = not _marked_up(text, decision)  # line breaks make lists, headings
  text = halved(' '.join(unquoted(text).split()) if is_flat else text)
  for reason, faulty in _CHECKS.items():
    if faulty(text, decision):
      return text, reason
  return ' '.join(text.split()), None


def unquoted(text: str) -> str:
  """Without the quotation marks that some writers put around it all."""
  text = text.strip()
  if len(text) > 1 and text[0] == text[-1] == '"' and '"' not in text[1:-1]:
    text = text[1:-1].strip()
  return text


def concludes(text: str, decision: Decision) -> bool:
  """Whether the end of a text supports the decision's action and no other.

  The last sentence, or else the last two, must have more in common with it
  than with any other action on offer; one of several sentences must be there.
  """
  if len(_sentences(decision.action)) > 1:
    said = ' '.join(decision.action.split()).rstrip('.!?')
    return ' '.join(text.split()).rstrip('.!?"\'`)').endswith(said)
  sentences, others = _sentences(text), _others(decision)
  for end in (sentences[-1:], sentences[-2:]):
    said = _bag(' '.join(end))
    wanted = _bag(decision.action)
    if 2 * len(wanted & said) < len(wanted):
      continue
    best = _overlap(wanted, said)
    return all(_overlap(_bag(other), said) < best for other in others)
  return False


def decides_otherwise(text: str, decision: Decision) -> bool:
  """Whether a sentence, wherever it stands, decides for another action.

  All words of the other action must be in it, and not all of the decision's.
  """
  wanted = _bag(decision.action)
  others = [_bag(other) - wanted for other in _others(decision)]
  for sentence in _sentences(text):
    decides = _DECIDES.search(sentence)
    if decides is None or _NOT_NOW.search(sentence):
      continue
    said = _bag(sentence[decides.end() :])
    if not wanted <= said and any(own and own <= said for own in others):
      return True
  return False


def tells_outcome(text: str, decision: Decision) -> bool:
  """Whether a text knows what its writer saw and the agent has not."""
  if _says(_OUTCOME, text, decision):
    return True
  outcomes = (decision.outcome, *(a.observation for a in decision.alternatives))
  known = words.all_terms(decision.known)
  told = set(words.terms(text)) & (words.all_terms(outcomes) - known)
  told -= {words.base(term) for term in known}
  if any(term[-1].isdigit() for term in told) or len(told) >= UNSEEN_WORDS:
    return True
  copied = _runs(text) & _all_runs(outcomes)
  return bool(copied and copied - _all_runs(decision.known))


def _sentences(text):
  return re.split(r'(?<=[.!?])\s+', text.strip())


def _others(decision):
  """The actions that could be taken in place of the decision's."""
  others = {other.action for other in decision.alternatives}
  return (others | set(decision.admissible or ())) - {decision.action}


def _says(pattern, text, decision):
  """Whether a text has what no known text has."""
  found = {match.group().lower() for match in pattern.finditer(text)}
  return any(
    all(phrase not in known.lower() for known in decision.known)
    for phrase in found
  )


def _marked_up(text, decision):
  """Whether it is, but for actions, which some environments mark up."""
  if _MARKUP.search(text) is None:
    return False
  actions = {decision.action, *_others(decision)}
  for action in sorted(filter(_MARKUP.search, actions), key=len, reverse=True):
    text = text.replace(action, 'it')
  return _MARKUP.search(text) is not None


def _truncated(text, decision):
  del decision
  return re.search(r'[.!?]["\')`]*\s*$', text) is None


_CHECKS = {
  'empty': lambda text, _: not text.strip(),
  'markup': _marked_up,
  'meta': lambda text, _: _META.search(text) is not None,
  'label': functools.partial(_says, _LABEL),
  'outcome': tells_outcome,
  'short': lambda text, _: words.count(text) < MIN_WORDS,
  'long': lambda text, _: words.count(text) > MAX_WORDS,
  'truncated': _truncated,
  'drift': lambda text, decision: (
    not concludes(text, decision) or decides_otherwise(text, decision)
  ),
}


@functools.lru_cache(maxsize=1 << 14)
def _bag(text):
  found = words.terms(text)
  return {words.stem(words.base(t)) for t in found} | {
    t for t in found if ' ' in t
  }


def _overlap(action, said):
  return 2 * len(action & said) / max(1, len(action) + len(said))


def _all_runs(texts):
  return set().union(*map(_runs, texts))


@functools.lru_cache(maxsize=1 << 12)
def _runs(text):
  found = [t for t in words.tokens(text) if t not in ('a', 'an', 'the')]
  return {
    tuple(found[i : i + COPIED_WORDS])
    for i in range(len(found) - COPIED_WORDS + 1)
  }
