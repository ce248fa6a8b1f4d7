"""The little English that comparing and composing short texts needs."""

import functools
import re
from collections.abc import Iterable

STOP = {
  'a', 'an', 'the', 'and', 'or', 'of', 'to', 'in', 'on', 'into', 'onto', 'at',
  'from', 'with', 'by', 'for', 'it', 'its', 'them', 'then', 'is', 'are', 'be',
  'was', 'were', 'your', 'you', 'i', 'me', 'my', 'this', 'that', 'these',
  'those', 'there', 'here', 'some', 'any', 'one', 'two', 'task', 'will',
  'would', 'should', 'can', 'could',
}  # fmt: skip
_PAST = {
    'go': 'went', 'take': 'took', 'put': 'put', 'find': 'found', 'get': 'got',
    'see': 'saw', 'give': 'gave', 'buy': 'bought', 'send': 'sent',
    'read': 'read', 'write': 'wrote', 'make': 'made', 'cut': 'cut',
    'set': 'set', 'run': 'ran', 'leave': 'left', 'eat': 'ate', 'hold': 'held',
    'do': 'did', 'say': 'said', 'tell': 'told', 'think': 'thought',
    'drive': 'drove', 'choose': 'chose', 'throw': 'threw', 'sell': 'sold',
    'build': 'built',
}  # fmt: skip
# Commands that are nouns, as a person would say them.
_SAID = {'inventory': 'check my inventory', 'help': 'ask for help'}
_PLAIN = re.compile(r"[a-z]+(?: [a-z0-9'-]+)*")
_PROSE = re.compile(r'[A-Z][^`]*\s[^`]*[.!?]')


def tokens(text: str) -> list[str]:
  """Lower-case words and numbers."""
  return re.findall(r"[a-z]+(?:'[a-z]+)?|\d+", text.lower())


@functools.lru_cache(maxsize=1 << 14)  # the same texts come back all the time
def terms(text: str) -> tuple[str, ...]:
  """Content words in order; a number belongs to the word before: `box 1`."""
  found = []
  for token in tokens(text):
    if token.isdigit() and found and not found[-1][-1].isdigit():
      found[-1] = f'{found[-1]} {token}'
    elif token not in STOP:
      found.append(token)
  return tuple(found)


def all_terms(texts: Iterable[str]) -> set[str]:
  """The content words of several texts."""
  return set().union(*map(terms, texts))


def base(term: str) -> str:
  """The kind of a thing: `box` of `box 1`."""
  return term.split()[0]


def stem(word: str) -> str:
  """Brings `takes`, `taking` and `take` together; not for reading."""
  for ending in ('ing', 'ed', 'es', 's', 'e'):
    if word.endswith(ending) and len(word) - len(ending) >= 2:
      word = word.removesuffix(ending)
      break
  return word[:-1] if len(word) > 2 and word[-1] == word[-2] else word


def is_english(action: str) -> bool:
  """Whether an action reads as an imperative, not as code or a number."""
  return _PLAIN.fullmatch(action) is not None


def parts(action: str) -> tuple[str, ...]:
  """The verb and the things of an action; code and speech are one word."""
  return (is_english(action) and terms(action)) or (action,)


def plain(action: str) -> str:
  """An action as it goes into a sentence after `I will`."""
  if is_english(action):
    return _SAID.get(action, action)
  is_said = _PROSE.fullmatch(action)
  return f'say "{action}"' if is_said else f'use `{action}`'


def doing(action: str) -> str:
  """`go to box 1` -> `going to box 1`."""
  verb, *rest = plain(action).split(' ')
  return ' '.join([_joined(verb, 'ing'), *rest])


def did(action: str) -> str:
  """`go to box 1` -> `went to box 1`."""
  verb, *rest = plain(action).split(' ')
  return ' '.join([_PAST.get(verb) or _joined(verb, 'ed'), *rest])


def article(noun: str) -> str:
  return f'an {noun}' if noun[0] in 'aeiou' else f'a {noun}'


def sentence(text: str) -> str:
  return text[0].upper() + text[1:]


def count(text: str) -> int:
  """Words as a reader counts them."""
  return len(text.split())


def _joined(verb, ending):
  if verb.endswith('e') and not verb.endswith(('ee', 'oe', 'ye')):
    return verb[:-1] + ending
  if ending == 'ed' and re.search('[^aeiou]y$', verb):
    return verb[:-1] + 'ied'
  if re.fullmatch('[^aeiou]*[aeiou][bdgklmnprtvz]', verb):
    return verb + verb[-1] + ending
  return verb + ending
