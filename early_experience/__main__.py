"""Says what can be run: python -m early_experience."""

import ast
import pathlib

# In the order in which data flows.
STAGES = (
  'quickstart',
  'rounds',
  'collect',
  'explore',
  'summarise',
  'reflect',
  'prepare',
  'train',
  'rl',
  'evaluate',
  'report',
)
TOOLS = (
  'chats', 'convert', 'memory', 'envs', 'language', 'benchmark', 'study',
)  # fmt: skip


def listing() -> str:
  """A line for each stage and each tool: the first of its module's."""
  lines = [
    'python -m early_experience.STAGE --config=configs/NAME.py[:recipe]'
    ' --workdir=DIR [--config.KEY=VALUE]',
    *map(_line, STAGES),
    'Tools, which say with --help what they take:',
    *map(_line, TOOLS),
  ]
  return '\n'.join(lines)


def _line(name):
  path = pathlib.Path(__file__).parent / name
  path = path / '__main__.py' if path.is_dir() else path.with_suffix('.py')
  doc = ast.get_docstring(ast.parse(path.read_text('utf-8')))
  return f'  {name:<12}{doc.splitlines()[0]}'


if __name__ == '__main__':
  print(listing())
