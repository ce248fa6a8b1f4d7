"""A real Ray cluster on this machine: workers and drivers die, nothing else."""

import pathlib
import tempfile

import pytest

from early_experience import collect, evaluate, explore
from early_experience.runtime import files
from early_experience.runtime.errors import UserError
from early_experience.work import workers
from tests import test_served_policy, waiting
from tests.fake_endpoint import FakeEndpoint
from tests.test_suspects import dies_at_first
from tests.test_workers import set_aside, settings, start, written
from tests.toy_env import ToyEnv

ray = pytest.importorskip('ray')


@pytest.fixture(scope='module')
def address():
  from ray.cluster_utils import Cluster

  with (
    tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
    pytest.MonkeyPatch.context() as patch,
  ):
    # It notes the address there too, in a folder that it does not make.
    patch.setenv('RAY_TMPDIR', folder)
    (pathlib.Path(folder) / 'ray').mkdir()
    cluster = Cluster(
      initialize_head=True,
      head_node_args={
        'num_cpus': 2,
        'include_dashboard': False,
        'temp_dir': folder,  # short, as names of sockets must be
      },
    )
    yield cluster.address
    cluster.shutdown()


def test_killed_workers_and_drivers_change_no_record(tmp_path, address):
  collect.collect_from(ToyEnv(), settings(), tmp_path / 'undisturbed')
  explore.explore_in(ToyEnv(), settings(), tmp_path / 'undisturbed')
  # Task 1 kills its worker, task 2 raises; task 4 hangs until the driver is
  # killed.
  config = settings(
    faults={'train-1': 'kill', 'train-2': 'raise', 'train-4': 'hang'},
    once=str(tmp_path / 'marks'),
  )
  config.cluster.update(address=address, unit_timeout_seconds=300.0)
  run = tmp_path / 'run'
  collect.collect_from(ToyEnv(), config, run)
  (tmp_path / 'marks').mkdir()
  shard = run / 'explore' / 'trajectories-00000.jsonl'
  driver = start('explore', config, run)
  waiting.until(
    lambda: shard.exists() and shard.read_bytes().count(b'\n') == 3, shard
  )
  waiting.until((tmp_path / 'marks' / 'train-4').exists, 'hang')
  driver.kill()
  driver.wait()
  assert len(list((tmp_path / 'marks').iterdir())) == 3
  assert start('explore', config, run).wait(waiting.SECONDS) == 0
  assert written(run) == written(tmp_path / 'undisturbed')


def test_what_hangs_or_kills_its_worker_each_time_is_set_aside(
  tmp_path, address
):
  config = settings(faults={'train-0': 'hang', 'train-1': 'crash'})
  config.cluster.update(address=address, tries=2, unit_timeout_seconds=4.0)
  summary = collect.collect(config, tmp_path)
  assert summary['set_aside'] == {'crash': 1, 'hang': 1}
  assert list(set_aside(tmp_path / 'collect')) == ['train-0', 'train-1']
  assert summary['trajectories'] == 4


def test_a_unit_whose_workers_are_killed_is_tried_alone(tmp_path, address):
  cluster = settings().cluster
  cluster.update(address=address, tries=2)
  units = [(tmp_path, 2, number) for number in range(4)]
  found = list(workers.run(dies_at_first, units, cluster, 4))
  assert found == [(unit, unit[2]) for unit in units]


def test_no_cluster_is_said_in_one_line(tmp_path):
  config = settings()
  config.cluster.address = '127.0.0.1:1'
  with pytest.raises(UserError, match='address=127.0.0.1:1: no Ray cluster'):
    collect.collect(config, tmp_path)


def chance(address='', **kwargs):
  config = settings(**kwargs)
  config.name, config.evaluate.policy = 'chance', 'random'
  config.evaluate.splits, config.evaluate.max_steps = ('test',), 3
  config.evaluate.batch_tasks = 5
  config.cluster.update(address=address, unit_timeout_seconds=5.0, tries=1)
  return config


def test_episodes_are_played_on_the_cluster_as_they_are_here(tmp_path, address):
  evaluate.evaluate_in(ToyEnv, chance(), str(tmp_path / 'here'))
  # Each hurts those beside it, and none is to blame for good.
  config = chance(
    address,
    faults={'test-1': 'kill', 'test-2': 'hang'},
    once=str(tmp_path / 'marks'),
  )
  (tmp_path / 'marks').mkdir()
  summary = evaluate.evaluate(config, str(tmp_path / 'run'))
  assert len(list((tmp_path / 'marks').iterdir())) == 2
  assert summary['set_aside'] == {}
  assert played(tmp_path / 'run') == played(tmp_path / 'here')


@pytest.mark.slow
def test_an_episode_that_kills_its_actor_each_time_is_set_aside(
  tmp_path, address
):
  config = chance(address, faults={'test-1': 'vanish', 'test-2': 'hang'})
  summary = evaluate.evaluate(config, str(tmp_path))
  assert summary['set_aside'] == {'crash': 1, 'hang': 1}
  aside = set_aside(tmp_path / 'evaluate' / 'chance')
  assert set(aside) == {'test/test-1', 'test/test-2'}
  assert len(played(tmp_path)) == 6


def played(workdir):
  found = files.read_jsonl(workdir / 'evaluate' / 'chance', 'rollouts')
  return sorted((r for _, r in found), key=lambda r: r['task_id'])


def test_a_served_model_plays_on_the_cluster_and_is_asked_from_here(
  tmp_path, address
):
  pytest.importorskip('openai')
  config = test_served_policy.settings()
  config.env.name = 'tests.toy_env:ToyEnv'
  config.cluster.address = address
  with FakeEndpoint(test_served_policy.expert) as endpoint:
    config.evaluate.openai.base_url = endpoint.url
    summary = evaluate.evaluate(config, str(tmp_path))
  assert summary['splits']['test']['success']['count'] == 6
  assert (tmp_path / 'answers.sqlite').exists()
