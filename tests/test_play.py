"""Play: the world where no expert went, for the world model alone."""

import pytest

from early_experience import cards, play, recipes
from early_experience.collect import collect
from early_experience.envs.interface import Task
from early_experience.experience import records
from early_experience.explore import explore
from early_experience.preparation import sources
from early_experience.prepare import prepare
from early_experience.runtime import files
from early_experience.runtime.errors import UserError

EXPERTS, PLAYED = 3, 4


@pytest.fixture
def config():
  config = cards.laptop()
  cards.small_rooms(config)
  config.env.kwargs.train_games = 12
  config.collect.trajectories = EXPERTS
  config.cluster.workers = 1
  config.play.tasks = PLAYED
  config.play.max_steps = 3
  config.play.k = 2
  config.prepare.vocab_size = 400
  config.prepare.held_out = 0.0
  config.prepare.rows = recipes.row_sets(('expert', 'play'), k=2)
  return config


@pytest.fixture
def workdir(config, tmp_path):
  collect(config, tmp_path)
  return tmp_path


def test_tasks_without_a_demonstration_are_played_and_branched(config, workdir):
  summary = play.play(config, workdir)
  shown = {t.task_id for t in records.read(workdir / 'collect')}
  played = list(records.read(workdir / 'play'))
  assert len(played) == PLAYED and not shown & {t.task_id for t in played}
  for trajectory in played:
    assert trajectory.expert == 'uniform' and len(trajectory.steps) == 3
    for step in trajectory.steps:
      assert step.action in step.admissible
      others = {other.action for other in step.alternatives}
      assert len(others) == 2 and step.action not in others
  assert summary['states'] == 3 * PLAYED
  assert summary['branches'] == 2 * 3 * PLAYED


def test_what_is_played_depends_on_the_seed_and_the_task_alone(
  config, workdir, tmp_path
):
  play.play(config, workdir)
  first = list(records.read(workdir / 'play'))
  config.collect.trajectories = EXPERTS + 1
  other = tmp_path / 'other'
  collect(config, other)
  play.play(config, other)
  again = {t.task_id: t for t in records.read(other / 'play')}
  same = [t for t in first if t.task_id in again]
  assert len(same) == PLAYED - 1
  assert all(again[t.task_id] == t for t in same)


def test_a_run_that_was_stopped_goes_on(config, workdir):
  play.play(config, workdir)
  whole = list(files.read_jsonl(workdir / 'play', records.STEM))
  (path,) = (workdir / 'play').glob('trajectories-*.jsonl')
  lines = path.read_bytes().splitlines(keepends=True)
  path.write_bytes(b''.join(lines[:2]) + lines[2][:40])
  (workdir / 'play' / 'summary.json').unlink()
  play.play(config, workdir)
  after = list(files.read_jsonl(workdir / 'play', records.STEM))
  assert [v for _, v in after] == [v for _, v in whole]


def test_the_world_model_alone_learns_of_it(config, workdir):
  play.play(config, workdir)
  explore(config, workdir)
  summary = prepare(config, workdir)
  scored = summary['rows']['play']['scored']
  assert scored['world_model'] > 0
  assert scored['imitation'] == scored['reflection'] == 0
  assert summary['trajectories'] == {
    'train': EXPERTS,
    'held_out': 0,
    'played': PLAYED,
  }


def test_rows_of_play_have_no_expert(config, workdir):
  play.play(config, workdir)
  config.prepare.rows.play.datasets = ('imitation', 'world_model')
  with pytest.raises(UserError, match='rows.play is of play.* no imitation'):
    sources.find(workdir, config.prepare, False)


def test_rows_of_play_ask_for_it(config, workdir):
  explore(config, workdir)
  with pytest.raises(UserError, match='run first: .*early_experience.play'):
    prepare(config, workdir)


def test_a_world_that_is_all_demonstrated_is_refused(config, workdir, tmp_path):
  config.env.kwargs.train_games = EXPERTS
  other = tmp_path / 'other'
  collect(config, other)
  with pytest.raises(UserError, match='each of the 3 tasks .*demonstrated'):
    play.play(config, other)
  assert not (other / 'play').exists()


def test_an_environment_without_a_list_is_refused():
  class Silent:
    name, done = 'silent', False

    def reset(self, task):
      return self

    def admissible(self):
      return None

  with pytest.raises(UserError, match='silent does not list its actions'):
    play.wander(Silent(), Task('a', 'train', 'any'), 3, 0)
