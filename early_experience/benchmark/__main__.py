"""python -m early_experience.benchmark NAME [its flags]: see BENCHMARKS."""

import importlib
import sys

BENCHMARKS = (
  'branching',
  'chats',
  'engine',
  'envs',
  'loader',
  'loss',
  'scale',
  'tree',
  'weights',
)


def main() -> None:
  if len(sys.argv) < 2 or sys.argv[1] not in BENCHMARKS:
    names = '|'.join(BENCHMARKS)
    print(
      f'usage: python -m early_experience.benchmark {names}', file=sys.stderr
    )
    sys.exit(1)
  # Each is a command of its own, with `main()` and its own flags.
  name = sys.argv.pop(1)
  importlib.import_module(f'early_experience.benchmark.{name}').main()


if __name__ == '__main__':
  main()
