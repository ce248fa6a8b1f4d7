"""Text without the characters that tokenizers keep for themselves."""

import re

_RESERVED = re.compile('[\ufdd0-\ufdef]')


def clean(text: str) -> str:
  """Text whose noncharacters U+FDD0 to U+FDEF are U+FFFD.

  `private_tokens` marks with them what is no text.
  """
  return _RESERVED.sub('\ufffd', text)
