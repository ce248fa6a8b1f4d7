"""Indexes a shop's products once, for every process that searches them.

python -m early_experience.envs.webshop.index --data=FOLDER --index=FOLDER

It takes several times the memory of the texts. Each process holds the products
all the same.
"""

import sys

from early_experience.envs.retrieval import Index
from early_experience.envs.webshop import catalogue
from early_experience.runtime import commands, paths


@commands.one_line
def main(argv: list[str]) -> None:
  """Reads the flags and writes the index."""
  parser = commands.parser('envs.webshop.index', __doc__)
  parser.add_argument(
    '--data', type=paths.flag('--data'), required=True, help='official files'
  )
  parser.add_argument(
    '--index', type=paths.flag('--index'), required=True, help='folder to write'
  )
  parser.add_argument(
    '--products', type=int, default=0, help='the first; 0=all'
  )
  flags = parser.parse_args(argv)
  products = catalogue.read(flags.data, flags.products).products
  Index.build(p.text() for p in products.values()).save(flags.index)
  print(f'{len(products)} products indexed -> {flags.index}')


if __name__ == '__main__':
  main(sys.argv[1:])
