"""Imports run down: what a room stands on never knows what stands on it."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = 'early_experience'

# From the ground up. A room is a folder of the package, or a file at its top;
# rooms of one line do not know each other.
LAYERS = (
  ('runtime',),  # what every stage stands on; knows no environment and no model
  ('',),  # the package itself, which readies the process of a command
  ('config', 'work'),
  ('experience', 'recipes'),
  ('tokenizers', 'model', 'cards'),
  ('hf', 'decoding'),
  ('training',),
  ('language',),
  ('envs', 'preparation', 'reflection'),
  ('exploration', 'evaluation'),
  ('reinforcement',),
  ('collect', 'summarise', 'prepare', 'reflect', 'train', 'reporting'),
  ('explore', 'evaluate', 'report', 'chats', 'convert', 'memory'),
  ('rl', 'visit'),
  ('quickstart', 'rounds', 'sweeps', '__main__'),
  ('aot', 'benchmark', 'analysis', 'study'),
)
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def modules():
  found = {}
  for path in sorted((ROOT / PACKAGE).rglob('*.py')):
    *parents, last = path.relative_to(ROOT).with_suffix('').parts
    found['.'.join(parents if last == '__init__' else [*parents, last])] = path
  return found


def arrows(known):
  """(importing module, imported module), those inside of functions too."""
  for name, path in known.items():
    for node in ast.walk(ast.parse(path.read_text('utf-8'))):
      if isinstance(node, ast.Import):
        yield from ((name, one.name) for one in node.names if one.name in known)
      elif isinstance(node, ast.ImportFrom) and node.module in known:
        for one in node.names:
          inner = f'{node.module}.{one.name}'
          yield name, inner if inner in known else node.module


def room(module):
  return module.split('.')[1] if '.' in module else ''


def upward(found):
  """Arrows between rooms that do not run down."""
  return [
    (source, target)
    for source, target in found
    if room(source) != room(target)
    and not LEVEL[room(target)] < LEVEL[room(source)]
  ]


def circles(found):
  """Modules that can be reached from themselves."""
  after = {}
  for source, target in found:
    after.setdefault(source, set()).add(target)

  def reached(start):
    seen, todo = set(), [start]
    while todo:
      for one in after.get(todo.pop(), ()):
        if one not in seen:
          seen.add(one)
          todo.append(one)
    return seen

  return [module for module in sorted(after) if module in reached(module)]


def test_every_room_has_its_layer():
  rooms = {room(module) for module in modules()}
  assert rooms == set(LEVEL)


def test_imports_run_down_the_layers():
  assert upward(arrows(modules())) == []


def test_no_module_imports_itself_by_way_of_others():
  assert circles(arrows(modules())) == []


def test_an_arrow_that_runs_up_is_seen():
  up = (f'{PACKAGE}.runtime.files', f'{PACKAGE}.envs.interface')
  within = (f'{PACKAGE}.envs.gym', f'{PACKAGE}.envs.guard')
  beside = (f'{PACKAGE}.model.table', f'{PACKAGE}.tokenizers.saved')
  down = (f'{PACKAGE}.train', f'{PACKAGE}.runtime.files')
  assert upward([up, within, beside, down]) == [up, beside]
  assert circles([('a', 'b'), ('b', 'c'), ('c', 'b')]) == ['b', 'c']
