"""Indexes a corpus once, for every process that searches it.

python -m early_experience.envs.searchqa.index --data=FOLDER --index=FOLDER

It takes several times the memory of the texts; searching does not.
"""

import pathlib
import sys

from early_experience.envs.searchqa import data
from early_experience.runtime import commands, paths


@commands.one_line
def main(argv: list[str]) -> None:
  """Reads the flags and writes the index."""
  parser = commands.parser('envs.searchqa.index', __doc__)
  parser.add_argument(
    '--data',
    type=paths.flag('--data'),
    required=True,
    help='folder with corpus.jsonl',
  )
  parser.add_argument(
    '--index', type=paths.flag('--index'), required=True, help='folder to write'
  )
  flags = parser.parse_args(argv)
  count = data.save_index(pathlib.Path(flags.data) / data.CORPUS, flags.index)
  print(f'{count} passages indexed -> {flags.index}')


if __name__ == '__main__':
  main(sys.argv[1:])
