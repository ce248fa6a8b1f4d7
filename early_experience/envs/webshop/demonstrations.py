"""What people did in the shop: the official il_trajs file."""

import re

from early_experience.envs.webshop.catalogue import BOUND
from early_experience.runtime import json_text
from early_experience.runtime.errors import UserError

_TITLES = ('amazon shopping game', 'webshop', 'instruction:')
_BUTTON = re.compile(r'\[button(?:_)?\]\s*search\s*\[button_\]')


def read(path: str) -> dict[str, tuple[str, ...]]:
  """Reads demonstrations, one JSON object a line.

  Args:
    path: il_trajs_finalized_images.jsonl of princeton-nlp/WebShop: `states`,
      the first of which has the instruction, and `actions`.

  Returns:
    The actions of each instruction, by `plain` of it; of several the first.

  Raises:
    UserError: the file cannot be read, or a line is malformed.
  """
  found = {}
  try:
    with open(path, encoding='utf-8') as file:
      for number, line in enumerate(file, start=1):
        where = f'{path} line {number}'
        try:
          value = json_text.parse(line)
          actions = tuple(value['actions'])
          first = value['states'][0]
          if not all(type(text) is str for text in (first, *actions)):
            raise TypeError('states and actions are not all texts')
        except (KeyError, IndexError) as error:
          raise UserError(f'{where}: has no {error.args[0]!r}') from None
        except (TypeError, ValueError) as error:
          raise UserError(f'{where}: malformed: {error}') from None
        found.setdefault(plain(first), actions)
  except OSError as error:
    raise UserError(f'cannot read {path}: {error.strerror}') from None
  except UnicodeDecodeError as error:
    raise UserError(f'{path}: not UTF-8: {error.reason}') from None
  if not found:
    raise UserError(f'{path} holds no demonstration')
  return found


def plain(state: str) -> str:
  """An instruction by its words alone, without its price bound."""
  text = state.lower().replace('"', '').replace("'", '')
  text = _BUTTON.sub('', text)
  for title in _TITLES:
    text = text.replace(title, '', 1)
  return ' '.join(text.partition(BOUND)[0].split()).strip(' .')
