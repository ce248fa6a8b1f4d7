"""What is trained of one trajectory or chat, to be read: turn by turn.

Each line has in front what its text is scored for, and with which weight, or
`context`. Special tokens stand in « », so that the end of a turn is seen; ↵ is
a newline.
"""

import itertools
import os
import sys
from collections.abc import Iterable, Iterator

import numpy as np
from absl import flags

from early_experience.experience import tree as tree_lib
from early_experience.experience.render import OBJECTIVES
from early_experience.preparation.interface import Group
from early_experience.tokenizers.interface import Tokenizer

SHOW = flags.DEFINE_string(
  'show',
  '',
  'N[:ROWS]: print what is trained of the Nth trajectory or chat (or of a'
  ' task), and how, as a row set has it; writes nothing',
)
_CODES = {'imitation': 32, 'world_model': 36, 'reflection': 35}
_CONTEXT, _SEVERAL, _HEADING = 2, 33, 1
_NEWLINE = '↵'
_BEHIND = 60  # characters of a path that a branch is recognised by


def lines(
  group: Group, coder: Tokenizer, row_tokens: int, colour: bool
) -> Iterator[str]:
  """The lines to print, without their ends.

  What several sequences share is shown once, with the sum of their weights: as
  a tree has it, its trunk first.

  Args:
    group: of one trajectory or chat.
    coder: that made its sequences.
    row_tokens: what does not fit into a row is left out.
    colour: whether a terminal reads them.
  """
  paint = _painted if colour else lambda text, code: text
  ends_turn = {coder.pieces([i])[0] for i in coder.stop_ids}
  kept = [tree_lib.cut(s, row_tokens) for s in group.sequences]
  flat = sum(len(s.ids_T) for s in tree_lib.absorb(kept))
  trees = tree_lib.merge(kept)
  every = [t for s in group.sequences for t in tree_lib.targets(s)]
  targets = [(s, end) for s in kept for _, end in tree_lib.targets(s)]
  ends = sum(s.ids_T[end - 1] in coder.stop_ids for s, end in targets)
  yield paint(
    f'{group.name}: {len(kept)} sequences, {flat} tokens flat,'
    f' {sum(map(len, trees))} as trees; {len(targets)} of {len(every)}'
    f' decisions and outcomes fit into {row_tokens} tokens, {ends} of them with'
    ' the end of their turn',
    _HEADING,
  )
  for tree in trees:
    yield from _tree(tree, coder, ends_turn, paint)
  scored = sum((s.weights_TO.sum(0) for s in kept), np.zeros(len(OBJECTIVES)))
  told = zip(OBJECTIVES, scored, strict=True)
  yield paint(
    'weight: ' + ', '.join(f'{name} {total:g}' for name, total in told),
    _HEADING,
  )


def _tree(tree, coder, ends_turn, paint):
  starts = np.flatnonzero(tree.back_T != 1)
  for start, end in itertools.pairwise([*starts, len(tree)]):
    if tree.back_T[start]:
      yield paint(f'branch behind {_path(tree, start, coder)}', _HEADING)
    weights = tree.weights_TO[start:end]
    changes = np.flatnonzero((weights[1:] != weights[:-1]).any(1)) + 1
    bounds = [0, *changes.tolist(), end - start]
    for first, last in itertools.pairwise(bounds):
      ids = tree.tokens_T[start + first : start + last].tolist()
      label, code = _label(weights[first])
      for text in _broken(coder.pieces(ids), ends_turn):
        yield paint(f'{label:14}| {text}', code)


def _path(tree, node, coder):
  """The end of the path that leads to a node, and how long it is."""
  path = tree_lib.ancestors(tree, node)
  ids = tree.tokens_T[path[-_BEHIND:]].tolist()
  text = ''.join(_written(*piece) for piece in coder.pieces(ids))
  return f'{len(path)} tokens: ...{text[-_BEHIND:]}'


def _label(weights_O):
  named = [(n, w) for n, w in zip(OBJECTIVES, weights_O, strict=True) if w]
  if not named:
    return 'context', _CONTEXT
  code = _CODES[named[0][0]] if len(named) == 1 else _SEVERAL
  return ' + '.join(f'{name} {weight:g}' for name, weight in named), code


def _broken(pieces, ends_turn):
  """Lines of a run of tokens: broken behind newlines, and behind turns."""
  line = ''
  for i, piece in enumerate(pieces):
    *whole, last = _written(*piece).split(_NEWLINE)
    for part in whole:
      yield f'{line}{part}{_NEWLINE}'
      line = ''
    line += last
    # Many templates write a newline behind a turn.
    follows = ''.join(text for text, _ in pieces[i + 1 : i + 2])
    if piece in ends_turn and not follows.startswith('\n'):
      yield line
      line = ''
  if line:
    yield line


def _written(text, special):
  """In one line, and without what a terminal would take for a command."""
  text = ''.join(
    c if c.isprintable() or c == '\n' else c.encode('unicode_escape').decode()
    for c in text
  ).replace('\n', _NEWLINE)
  return f'«{text}»' if special else text


def _painted(text, code):
  return f'\033[{code}m{text}\033[0m'


def in_colour(stream) -> bool:
  """Whether a stream is a terminal whose user takes colours (no-color.org)."""
  return stream.isatty() and not os.environ.get('NO_COLOR')


def put(lines: Iterable[str]) -> None:
  """Prints, whatever characters the terminal has."""
  coding = sys.stdout.encoding or 'utf-8'
  for line in lines:
    print(line.encode(coding, 'backslashreplace').decode(coding))
