"""Files are whole or absent; lines survive a kill; records are checked."""

import dataclasses
import json
import os

import pytest

from early_experience.envs import demonstrations, guard
from early_experience.envs.interface import Turn
from early_experience.experience import records
from early_experience.runtime import files, stage
from early_experience.runtime.errors import UserError
from tests.test_render import trajectory


def write(folder, *trajectories):
  with files.JsonlWriter(folder, records.STEM) as writer:
    for t in trajectories:
      writer.write(records.to_json(t))


def named(name):
  return dataclasses.replace(trajectory(), task_id=name)


def test_records_round_trip(tmp_path):
  write(tmp_path, named('a'), named('b'))
  assert list(records.read(tmp_path)) == [named('a'), named('b')]


def test_a_line_that_a_kill_cut_short_is_written_again_not_doubled(tmp_path):
  write(tmp_path, named('a'), named('b'))
  (shard,) = files.jsonl_shards(tmp_path, records.STEM)
  shard.write_bytes(shard.read_bytes()[:-10])
  write(tmp_path, named('b'), named('c'))
  assert [t.task_id for t in records.read(tmp_path)] == ['a', 'b', 'c']


@pytest.mark.parametrize('missing', [1, 10])
def test_a_line_without_an_end_is_of_no_task_that_is_done(tmp_path, missing):
  write(tmp_path, named('a'), named('b'))
  (shard,) = files.jsonl_shards(tmp_path, records.STEM)
  shard.write_bytes(shard.read_bytes()[:-missing])
  assert files.written(tmp_path, records.STEM) == {'a'}


def test_shards_fill_up_and_go_on_after_a_restart(tmp_path):
  for name in 'abcde':
    with files.JsonlWriter(tmp_path, 'x', shard_lines=2) as writer:
      writer.write({'name': name})
  assert len(files.jsonl_shards(tmp_path, 'x')) == 3
  assert [v['name'] for _, v in files.read_jsonl(tmp_path, 'x')] == [*'abcde']


@pytest.mark.parametrize(
  'change, message',
  [
    (lambda v: v.pop('split'), 'trajectory.split is missing'),
    (lambda v: v.update(colour='red'), "unknown field 'colour'"),
    (lambda v: v.update(success='yes'), 'success is str, not bool'),
    (lambda v: v['steps'][0].update(action=3), r'steps\[0\].action is int'),
    (lambda v: v.update(steps=[]), 'steps is empty'),
    (lambda v: v.update(schema=99), 'schema 99, this version reads 1'),
  ],
)
def test_a_foreign_record_is_refused_with_its_file_and_line(
  tmp_path, change, message
):
  write(tmp_path, named('a'))
  value = records.to_json(named('b'))
  change(value)
  (shard,) = files.jsonl_shards(tmp_path, records.STEM)
  with open(shard, 'a', encoding='utf-8') as file:
    file.write(json.dumps(value) + '\n')
  with pytest.raises(UserError, match=f'00000.jsonl line 2: .*{message}'):
    list(records.read(tmp_path))


def test_a_truncated_record_is_refused_by_readers(tmp_path):
  write(tmp_path, named('a'), named('b'))
  (shard,) = files.jsonl_shards(tmp_path, records.STEM)
  shard.write_bytes(shard.read_bytes()[:-10])
  with pytest.raises(UserError, match='line 2: not a whole JSON record'):
    list(records.read(tmp_path))


def test_a_task_that_stands_twice_is_refused(tmp_path):
  write(tmp_path, named('a'), named('a'))
  with pytest.raises(UserError, match='line 2: task a appears twice'):
    list(records.read(tmp_path))


def test_a_full_disk_is_named_with_the_file(tmp_path):
  writer = files.JsonlWriter(tmp_path, 'x')
  (tmp_path / 'x-00000.jsonl').symlink_to('/dev/full')  # it always is
  with pytest.raises(UserError, match='x-00000.jsonl: No space left'):
    writer.write({'a': 1})


def test_a_line_that_did_not_fit_leaves_the_lines_before_it(tmp_path):
  with files.JsonlWriter(tmp_path, 'x') as writer:
    writer.write({'a': 1})
    real = writer._file

    class Full:
      tell, close = real.tell, real.close

      def write(self, data):
        real.write(data[:3])

      def flush(self):
        real.flush()
        raise OSError(28, 'No space left on device')

    writer._file = Full()
    with pytest.raises(UserError, match='No space left'):
      writer.write({'a': 2})
  assert [value for _, value in files.read_jsonl(tmp_path, 'x')] == [{'a': 1}]


def test_an_atomic_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
  path = tmp_path / 'summary.json'
  files.write_json(path, {'a': 1})

  def full(*_):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(files.os, 'fsync', full)
  with pytest.raises(UserError, match='summary.json: No space left'):
    files.write_json(path, {'a': 2})
  assert files.read_json(path) == {'a': 1}
  assert [p.name for p in tmp_path.iterdir()] == ['summary.json']


def test_two_may_write_a_file_at_once_whatever_their_numbers(
  tmp_path, monkeypatch
):
  path = tmp_path / 'table'
  fsync = os.fsync

  def meanwhile(handle):
    monkeypatch.setattr(files.os, 'fsync', fsync)
    files.write_atomic(path, 'theirs')  # by a process of the same number

  monkeypatch.setattr(files.os, 'fsync', meanwhile)
  files.write_atomic(path, 'mine')
  assert path.read_text() == 'mine'
  assert list(tmp_path.iterdir()) == [path]


def test_a_stage_with_other_settings_is_refused(tmp_path):
  stage.begin(tmp_path, 'explore', {'k': 8, 'deep': {'seed': 0}})
  stage.begin(tmp_path, 'explore', {'k': 8, 'deep': {'seed': 0}})
  with pytest.raises(UserError, match='deep.seed was 0, is 1'):
    stage.begin(tmp_path, 'explore', {'k': 8, 'deep': {'seed': 1}})


def shards_of_a_stage(folder):
  """Those of a finished stage: of two lines each."""
  with files.JsonlWriter(folder, records.STEM, shard_lines=2) as writer:
    for name in 'abcde':
      writer.write(records.to_json(named(name)))
  with files.JsonlWriter(folder, 'failures') as writer:
    writer.write({'task_id': 'f'})
  stage.finish(folder, {})
  return files.jsonl_shards(folder, records.STEM)


@pytest.mark.parametrize('number', range(3))
@pytest.mark.parametrize('lost', ['a line', 'all lines', 'the shard'])
def test_lines_that_a_finished_stage_lost_are_noticed(tmp_path, number, lost):
  shards = shards_of_a_stage(tmp_path)
  assert len(list(records.read(tmp_path))) == 5
  path = shards[number]
  left = path.read_bytes().splitlines(keepends=True)[1:]
  path.write_bytes(b''.join(left) if lost == 'a line' else b'')
  if lost == 'the shard':
    path.unlink()
  match = rf'{path.name} has \d lines, and .*summary.json counts [12]:'
  with pytest.raises(UserError, match=match):
    list(records.read(tmp_path))


def test_what_is_removed_with_the_summary_is_meant_to_be(tmp_path):
  """As the advice to try again what was set aside has it."""
  shards_of_a_stage(tmp_path)
  (tmp_path / 'failures-00000.jsonl').unlink()
  with pytest.raises(UserError, match='failures-00000.jsonl has 0 lines'):
    list(files.read_jsonl(tmp_path, 'failures'))
  (tmp_path / 'summary.json').unlink()
  assert list(files.read_jsonl(tmp_path, 'failures')) == []


def test_a_path_in_settings_is_what_it_holds(tmp_path):
  for name, place in (('a', stage.place('/a', '1')), ('b', {'x': {'y': '/a'}})):
    stage.begin(tmp_path, name, {'from': place})
  stage.begin(tmp_path, 'a', {'from': stage.place('/b', '1')})  # moved
  stage.begin(tmp_path, 'a', {'from': stage.place('/a', '')})  # gone
  with pytest.raises(UserError, match='which holds something else'):
    stage.begin(tmp_path, 'a', {'from': stage.place('/a', '2')})
  for other in (stage.place('/b', '2'), stage.place('/b', ''), ''):
    with pytest.raises(UserError, match="from was '/a', is '"):
      stage.begin(tmp_path, 'a', {'from': other})
  # Older settings are a path alone.
  stage.begin(tmp_path, 'b', {'from': {'x': {'y': stage.place('/a', '1')}}})
  with pytest.raises(UserError, match="from.x.y was '/a', is '/b'"):
    stage.begin(tmp_path, 'b', {'from': {'x': {'y': stage.place('/b', '1')}}})


def test_a_missing_stage_is_named_with_its_command(tmp_path):
  with pytest.raises(UserError, match='python -m early_experience.collect'):
    stage.require(tmp_path, 'collect')
  stage.begin(tmp_path, 'collect', {})
  with pytest.raises(UserError, match='is not finished'):
    stage.require(tmp_path, 'collect')


def test_a_workdir_that_cannot_be_written_is_named():
  with pytest.raises(UserError, match='cannot write /proc/nowhere/train'):
    stage.begin('/proc/nowhere', 'train', {})


@pytest.mark.parametrize(
  'value', ['[' * 100_000, '9' * 5000, '"\\ud800"', '"a", "b": "a"']
)
def test_json_that_cannot_be_held_is_bad_input_in_every_file(tmp_path, value):
  line = f'{{"task": "t", "b": {value}}}'
  path = tmp_path / 'file.jsonl'
  path.write_text(line)
  with pytest.raises(UserError, match='line 1: not a whole JSON record'):
    list(files.read_objects(path))
  if 'a' not in value:  # the last of two keys counts in files of checkpoints
    with pytest.raises(UserError, match='file.jsonl is not JSON'):
      files.read_json(path)
  path.write_text(f'{line}\n{{"task": "u", "actions": ["go"]}}\n')
  found = demonstrations.Demonstrations(str(path), 'key', ['t', 'u'])
  assert next(found.play('u', Turn('Here.'))) == 'go'
  with pytest.raises(guard.Misbehaves, match='without a task: 1, as line 1'):
    next(found.play('t', Turn('Here.')))
