"""What the README says can be run is run, here or by the gate."""

import pathlib
import re

from early_experience import recipes
from early_experience.benchmark.__main__ import BENCHMARKS
from early_experience.envs.interface import Task

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / 'README.md').read_text()


def blocks(language):
  return re.findall(rf'^```{language}\n(.*?)^```$', README, re.M | re.S)


def test_the_first_block_is_the_quickstart_and_the_second_the_tests():
  first, second = blocks('sh')[:2]
  assert 'early_experience.quickstart --config=configs/quickstart.py' in first
  assert 'pytest' in second
  for block in (first, second):
    assert block.startswith('sh launch/setup.sh')


def test_the_environment_of_the_readme_is_one():
  (block,) = blocks('python')
  assert len(block.splitlines()) < 40
  found = {}
  exec(block, found)  # the repository's own text
  env = found['Corridor']()
  task = env.tasks('train')[3]
  assert isinstance(task, Task)
  turn = env.reset(task)
  expert = env.expert(turn)
  action = next(expert)
  while not turn.done:
    assert action in env.admissible()
    turn = env.step(action)
    action = None if turn.done else expert.send(turn)
  assert turn.success


def test_every_recipe_and_file_that_it_names_exists():
  for recipe in recipes.RECIPES:
    assert f'`{recipe}`' in README
  for path in re.findall(
    r'`((?:early_experience|configs|tests|docs)/\S+?)`', README
  ):
    assert (ROOT / path).exists(), path
  for name in re.findall(r'early_experience\.benchmark (\w+)', README):
    assert name in BENCHMARKS
