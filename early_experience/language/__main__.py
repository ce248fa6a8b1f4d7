"""Lists what language models have answered, by model and prompt.

python -m early_experience.language WORKDIR

Whatever a kill left unfinished is counted too, and so is what environments
said through a model, where WORKDIR is the file that keeps it.
"""

import pathlib

from early_experience.language.cache import FILE, Cache
from early_experience.runtime import commands, paths
from early_experience.runtime.errors import UserError

_HEAD = ('model', 'prompt', 'answers', 'tokens in', 'tokens out')


def table(place: str) -> str:
  """What was paid, as aligned text.

  Args:
    place: a workdir, or a file of answers.

  Raises:
    UserError: there are no answers, or the file is damaged.
  """
  path = pathlib.Path(place)
  path = path / FILE if path.is_dir() else path
  if not path.exists():
    raise UserError(f'{path} does not exist: no language model has answered')
  rows = [
    (model, prompt or '-', *n) for model, prompt, *n in Cache(path).paid()
  ]
  whole = [sum(column) for column in list(zip(*rows, strict=True))[2:]]
  lines = [_HEAD, *rows, ('all', '', *(whole or [0, 0, 0]))]
  cells = [
    [f'{cell:,}' if isinstance(cell, int) else cell for cell in line]
    for line in lines
  ]
  widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
  return '\n'.join(
    '  '.join(
      cell.rjust(width) if i > 1 else cell.ljust(width)
      for i, (cell, width) in enumerate(zip(line, widths, strict=True))
    )
    for line in cells
  )


@commands.one_line
def main() -> None:
  parser = commands.parser('language', __doc__)
  parser.add_argument('workdir', type=paths.flag('WORKDIR'), metavar='WORKDIR')
  print(table(parser.parse_args().workdir))


if __name__ == '__main__':
  main()
