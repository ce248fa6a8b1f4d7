"""Indexes a corpus once, for every process that searches it.

python -m early_experience.envs.searchqa.index --data=FOLDER --index=FOLDER

It takes several times the memory of the texts; searching does not.
"""

import argparse
import pathlib

from early_experience.envs.searchqa import data
from early_experience.errors import UserError


def main(argv: list[str] | None = None) -> None:
  """Reads the flags and writes the index."""
  parser = argparse.ArgumentParser(description='Indexes a corpus.')
  parser.add_argument('--data', required=True, help='folder with corpus.jsonl')
  parser.add_argument('--index', required=True, help='folder to write')
  flags = parser.parse_args(argv)
  try:
    count = data.save_index(pathlib.Path(flags.data) / data.CORPUS, flags.index)
  except UserError as error:
    raise SystemExit(f'error: {error}') from None
  print(f'{count} passages indexed -> {flags.index}')


if __name__ == '__main__':
  main()
