"""What is measured: python -m early_experience.benchmark NAME [its flags]."""

import importlib
import sys

from early_experience.runtime import commands

BENCHMARKS = (
  'attention',
  'branching',
  'chats',
  'decode',
  'engine',
  'envs',
  'loader',
  'loss',
  'peers',
  'scale',
  'step',
  'tree',
  'weights',
)


@commands.one_line
def main() -> None:
  parser = commands.parser('benchmark', __doc__)
  parser.add_argument('name', choices=BENCHMARKS)
  name = parser.parse_args(sys.argv[1:2]).name
  # Each is a command of its own, with `main()` and its own flags.
  del sys.argv[1]
  module = importlib.import_module(f'early_experience.benchmark.{name}')
  sys.modules['__main__'].__doc__ = module.__doc__  # for --help
  module.main()


if __name__ == '__main__':
  main()
