"""Generated games are valid, varied and the same everywhere."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys

import pytest
from ml_collections import ConfigDict

from early_experience.collect import run_expert
from early_experience.envs import registry
from early_experience.envs.alfworld import generate, tables
from early_experience.envs.alfworld.rules import Rules
from early_experience.envs.guard import Misbehaves
from early_experience.runtime.errors import UserError

PAIRS = [
  (task_type, kind)
  for task_type in tables.TASK_TYPES
  for kind in tables.ROOM_KINDS
  if kind in tables.load().valid_rooms[task_type]
]
ALL = {
  'rooms': tables.ROOM_KINDS,
  'task_types': tables.TASK_TYPES,
  'max_receptacles': 0,
  'distractors': 6,
}


def make(**kwargs):
  kwargs = {'source': 'generated', **kwargs}
  return registry.make(ConfigDict({'name': 'alfworld', 'kwargs': kwargs}))


@pytest.mark.parametrize('task_type, kind', PAIRS)
def test_games_start_unsolved_within_the_tables(task_type, kind):
  chosen = {**ALL, 'rooms': (kind,), 'task_types': (task_type,)}
  for split in generate.SPLITS:
    for spec in generate.specs(split, 5, **chosen):
      assert generate.Spec.from_id(spec.id) == spec
      rules = Rules(generate.build(spec).problem)
      assert not rules.won(rules.start)
      names = list(rules.names.values())
      kinds = [name.split()[0] for name in names]
      needed = 2 if task_type == 'pick_two_obj_and_place' else 1
      assert kinds.count(spec.object.lower()) >= needed
      assert spec.target.lower() in kinds
      holds = {k.lower(): v for k, v in tables.load().holds.items()}
      for place, items in rules.start.inside.items():
        fits = {kind.lower() for kind in holds[rules.names[place].split()[0]]}
        lamps = {'desklamp', 'floorlamp'}
        assert {rules.names[i].split()[0] for i in items} <= fits | lamps


def test_every_room_and_object_gets_its_turn():
  specs = generate.specs('train', 1200, **ALL)
  assert {s.task_type for s in specs[:6]} == set(tables.TASK_TYPES)
  assert {s.room for s in specs} == set(tables.load().training_rooms)
  assert len({s.object for s in specs}) > 40


def test_unseen_games_are_in_rooms_that_training_never_shows():
  rooms = {
    split: {s.room for s in generate.specs(split, 300, **ALL)}
    for split in generate.SPLITS
  }
  assert rooms['seen'] <= set(tables.load().training_rooms)
  assert rooms['unseen'].isdisjoint(rooms['train'] | rooms['seen'])
  assert {room % 100 for room in rooms['unseen']} == set(range(1, 7))


def test_no_game_is_in_two_splits():
  problems = [
    generate.build(spec).problem
    for split in generate.SPLITS
    for spec in generate.specs(split, 60, **ALL)
  ]
  assert len(set(problems)) == len(problems)


_PROGRAM = """
import sys
from tests.test_alfworld_games import digest
print(digest(), 'alfworld' in sys.modules)
"""


def test_a_game_is_the_same_in_every_process_and_never_imports_the_wheel():
  for seed in '1', '2':
    output = subprocess.run(
      [sys.executable, '-c', _PROGRAM],
      env={**os.environ, 'PYTHONHASHSEED': seed},
      capture_output=True,
      text=True,
      check=True,
    )
    assert output.stdout.split() == [digest(), 'False']


def digest():
  env = make()
  text = []
  for split in env.splits:
    for task in env.tasks(split)[:12]:
      text.append(env.reset(task).observation + env.instruction)
      text += [env.step(action).observation for action in env.admissible()]
  return hashlib.sha256('\n'.join(text).encode()).hexdigest()


def test_a_longer_split_starts_with_the_shorter_one():
  assert make(train_games=20).tasks('train')[:7] == make(train_games=7).tasks(
    'train'
  )


def test_a_clone_of_the_environment_goes_its_own_way():
  env = make()
  env.reset(env.tasks('train')[0])
  before = env.admissible()
  clone = env.clone()
  assert clone.step(next(a for a in before if a.startswith('go to'))).valid
  assert env.admissible() == before != clone.admissible()
  assert not clone.step('fly').valid


def test_rooms_task_types_and_sizes_can_be_chosen():
  env = make(rooms=('bathroom',), max_receptacles=9, distractors=0)
  tasks = env.tasks('train')[:60]
  assert {t.type for t in tasks} == {
    'pick_and_place_simple',
    'pick_clean_then_place_in_recep',
    'pick_two_obj_and_place',
  }
  for task in tasks:
    spec = generate.Spec.from_id(task.id)
    assert len(tables.room(spec.room).receptacles) <= 9
    assert spec.room in range(407, 431)


@pytest.mark.parametrize(
  'kwargs, message',
  [
    ({'room': 'kitchen'}, 'kwargs.room is no argument .* did you mean rooms'),
    ({'rooms': ('attic',)}, "kwargs.rooms is 'attic', not one of: kitchen"),
    ({'task_types': ('fly',)}, "kwargs.task_types is 'fly'"),
    ({'source': 'web'}, "kwargs.source is 'web'"),
    (
      {'rooms': ('bathroom',), 'task_types': ('look_at_obj_in_light',)},
      "no ALFWorld games for split 'train'",
    ),
    ({'max_receptacles': 1}, 'max_receptacles=1'),
  ],
)
def test_bad_arguments_are_named(kwargs, message):
  with pytest.raises(UserError, match=message):
    make(**kwargs).tasks('train')


def test_unknown_environments_and_splits_are_answered_with_those_there_are():
  with pytest.raises(UserError, match="'nowhere', not one of: alfworld"):
    registry.make(ConfigDict({'name': 'nowhere', 'kwargs': {}}))
  with pytest.raises(
    UserError, match="no split 'test'; there are: train, seen, unseen"
  ):
    make().tasks('test')


def test_a_foreign_task_id_is_refused():
  env = make()
  task = env.tasks('train')[0]
  for wrong in 'nonsense', task.id.replace('room', 'room9'):
    with pytest.raises(UserError, match='is not the id of a generated'):
      env.reset(type(task)(wrong, 'train', task.type))


def test_a_missing_wheel_is_an_error_with_the_pip_command(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(UserError, match='pip install --no-deps alfworld==0.4.2'):
    tables.load.__wrapped__()


@pytest.fixture
def official(tmp_path, monkeypatch):
  """A data folder laid out as the release is, with games of our own."""
  monkeypatch.setenv('ALFWORLD_DATA', str(tmp_path))
  specs = generate.specs('train', 6, **ALL)
  for spec in specs:
    name = f'{spec.task_type}-{spec.object}-None-{spec.target}-{spec.room}'
    folder = tmp_path / 'json_2.1.1' / 'train' / name / 'trial_T2019'
    generate.write(folder, generate.build(spec))
  return specs


def test_official_games_are_found_where_they_are_installed(official):
  env = make(source='auto')
  assert env.source == 'ALFWorld official games'
  tasks = env.tasks('train')
  assert {t.type for t in tasks} == set(tables.TASK_TYPES)
  instructions = {generate.build(spec).instruction for spec in official}
  openings = set()
  for task in tasks:
    assert '/' not in task.id
    openings.add(env.reset(task).observation)
    assert env.instruction in instructions
  assert len(openings) > 1
  with pytest.raises(UserError, match='no official ALFWorld games in .*unseen'):
    env.tasks('unseen')


def test_official_games_of_other_rooms_and_types_are_left_out(official):
  env = make(source='official', task_types=('look_at_obj_in_light',))
  assert [t.type for t in env.tasks('train')] == ['look_at_obj_in_light']


def test_a_damaged_official_game_is_named(official, tmp_path):
  path = sorted(tmp_path.glob('**/game.tw-pddl'))[0]
  path.write_text(path.read_text()[:100])
  with pytest.raises(UserError, match='game.tw-pddl is not JSON'):
    make(source='official').tasks('train')


def test_the_walkthrough_of_a_file_is_an_expert(official, tmp_path):
  env = make(source='official')
  task = env.tasks('train')[0]
  found = run_expert(env, task, 50)[0]
  (path,) = tmp_path.glob(f'**/{task.id.split("__")[0]}/*/game.tw-pddl')
  data = json.loads(path.read_text())
  actions = [step.action for step in found.steps]
  path.write_text(json.dumps(data | {'walkthrough': actions}))
  gold = make(source='official', expert='walkthrough')
  walked, failure = run_expert(gold, task, 50)
  assert failure is None and walked.expert == 'walkthrough'
  assert walked.steps == found.steps
  path.write_text(json.dumps(data | {'walkthrough': ['dance', *actions]}))
  with pytest.raises(Misbehaves, match="'dance' is answered 'Nothing happens"):
    run_expert(gold, task, 50)
