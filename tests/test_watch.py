"""What is watched while it trains: jumps, the best, time, FLOPs, a trace."""

import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest

from early_experience.model import table
from early_experience.train import train
from early_experience.training import flops, log_lines, metrics
from early_experience.training.checkpoint import Checkpoints
from tests.training_case import config_of, model_of, prepared


def values(loss):
  zeros = np.zeros(3)
  scalars = {'loss': loss, 'grad_norm': 1.0, 'lr': 1e-3, 'scored': 10}
  return {'nll': zeros, 'weight': zeros, **scalars}


def log_of(folder, ratio, every=10):
  return metrics.Log(folder, 0, every, ratio, 100, lambda scored: 2.0 * scored)


def take(log, losses):
  for update, loss in enumerate(losses, 1):
    log.add(update, 0, values(loss))
  log.flush()


@pytest.fixture
def workdir(tmp_path):
  return prepared(tmp_path)


def lines(workdir):
  text = (workdir / 'train' / 'tiny' / metrics.METRICS).read_text()
  return [json.loads(line) for line in text.splitlines()]


def test_a_jump_of_the_loss_ends_the_run_and_says_how_far(tmp_path):
  steady = [1.0] * metrics.WINDOW
  with pytest.raises(metrics.Diverged, match='loss is 2.1, more than .* = 2.0'):
    take(log_of(tmp_path, 2.0), [*steady, 1.9, 2.1])
  take(log_of(tmp_path, 0.0), [*steady, 100.0])
  take(log_of(tmp_path, 2.0), [1.0, 100.0])  # too early to tell


def test_a_run_that_goes_on_is_measured_by_what_it_did_before(tmp_path):
  take(log_of(tmp_path, 2.0), [1.0] * 2 * metrics.WINDOW)
  again = lambda: metrics.Log(tmp_path, 100, 10, 2.0, 100, float)
  log = again()
  log.start(0, 200)
  with pytest.raises(metrics.Diverged, match='loss is 50, more than .* at'):
    log.add(101, 0, values(50.0))
    log.flush()
  log = again()
  log.start(100, 200)  # another stage
  log.add(101, 1, values(50.0))
  log.flush()


def test_a_stage_is_not_measured_by_the_one_before(tmp_path):
  log = log_of(tmp_path, 2.0)
  take(log, [1.0] * metrics.WINDOW)
  log.start(50, 51)
  take(log, [100.0])


def end_of(folder, every, saves, began, updates):
  """What the log says of a stage's end, flushed as checkpoints flush it."""
  log = log_of(folder, 0.0, every)
  for stage, first, last in ((0, 1, began), (1, began + 1, began + updates)):
    log.start(first - 1, last)
    for update in range(first, last + 1):
      nll = np.array([1 / update, update, 0.0])
      weight = np.array([1.0, 1.0 + update % 3, 0.0])
      some = {**values(update), 'nll': nll * weight, 'weight': weight}
      log.add(update, stage, some)
      if update % saves == 0 or update == last:
        log.flush()
  log.close()
  text = (folder / metrics.METRICS).read_text()
  end = log_lines.end([json.loads(line) for line in text.splitlines()])
  assert (
    end
    == log.ends()[1]
    == metrics.Log(folder, 10**6, 10, 0.0, 1, float).ends()[1]
  )
  return end


@pytest.mark.parametrize('every, saves', [(1, 7), (10, 119), (1000, 49)])
@pytest.mark.parametrize(
  'updates, window', [(9, 1), (120, 12), (200, 20), (600, 50)]
)
def test_the_end_of_training_does_not_depend_on_any_interval(
  tmp_path, every, saves, updates, window
):
  end = end_of(tmp_path, every, saves, 17, updates)
  last = range(18 + updates - window, 18 + updates)
  assert end['imitation/nll'] == pytest.approx(np.mean([1 / u for u in last]))
  scored = [1 + u % 3 for u in last]
  assert end['world_model/tokens'] == pytest.approx(sum(scored))
  assert end['world_model/nll'] == pytest.approx(
    np.average(last, weights=scored)
  )
  assert end['reflection/nll'] is None
  assert end['loss'] == pytest.approx(np.mean(last))


def test_what_train_says_of_the_end_is_the_same_for_every_checkpoint_interval(
  tmp_path, capsys
):
  said = []
  for every in (2, 100):
    workdir = tmp_path / str(every)
    workdir.mkdir()
    prepared(workdir)
    config = config_of()
    config.train.checkpoint_every_steps = every
    train(config, workdir)
    said.append(capsys.readouterr().out.split('at the end: ')[1])
  assert said[0] == said[1] != 'untrained\n'


def test_the_save_between_two_stages_is_time_of_the_training(tmp_path):
  with log_of(tmp_path, 0.0) as log:
    take(log, [1.0, 1.0])
    before = log.last['seconds']
    log.checkpoint_seconds += 100.0
    log.start(2, 4)
    log.add(3, 1, values(1.0))
    log.flush()
  assert log.last['seconds'] > before + 100
  assert log.last['checkpoint_share'] == 0


def test_every_field_of_a_line_is_explained(tmp_path):
  log = log_of(tmp_path, 0.0)
  take(log, [1.0])
  for field in log.last:
    named = re.sub('^.*/', 'OBJECTIVE/', field)
    assert re.search(rf'\b{named}\b', metrics.__doc__), field


def test_the_checkpoint_of_the_lowest_loss_is_kept_too(monkeypatch, workdir):
  """Whatever came after it."""
  told = iter([5.0, 2.0, 4.0, 3.0])
  save = Checkpoints.save
  monkeypatch.setattr(
    Checkpoints,
    'save',
    lambda self, state, position, loss: save(self, state, position, next(told)),
  )
  config = config_of(keep_checkpoints=1, keep_best_checkpoints=1)
  train(config, workdir)  # saves after 2, 4, 6 and 7 updates
  folder = workdir / 'train' / 'tiny' / 'checkpoints'
  kept = {path.name for path in folder.iterdir() if path.name.isdigit()}
  assert kept == {'4', '7'}


def test_a_trace_of_the_chosen_updates_is_written(workdir):
  train(config_of(profile_steps=(2, 3)), workdir)
  (trace,) = (workdir / 'train' / 'tiny' / 'profile').rglob('*.xplane.pb')
  assert trace.stat().st_size > 0


def test_waits_are_shares_of_the_time(workdir):
  train(config_of(), workdir)
  for line in lines(workdir):
    assert 0 <= line['data_wait_share'] < 1
    assert 0 <= line['checkpoint_share'] < 1


def test_flops_count_what_is_scored(tmp_path):
  with log_of(tmp_path, 0.0, every=4) as log:
    take(log, [1.0] * 4)
  seconds = log.last['seconds']
  assert log.last['flops_per_s'] == pytest.approx(4 * 2.0 * 10 / seconds)


def test_frozen_weights_have_no_gradient_to_count():
  cfg = model_of(tied=False)
  rows = {path: math.prod(row.shape) for path, row in table.table(cfg).items()}
  layers = sum(size for path, size in rows.items() if path.startswith('layers'))
  attention = 12 * cfg.layers * cfg.heads * cfg.head_dim * 7
  of = lambda cfg, scored: flops.model_flops(cfg, 2, 7, scored)
  assert of(cfg, 0) == 14 * (6 * layers + attention)
  assert of(cfg, 5) - of(cfg, 0) == 5 * 6 * rows['head']
  lora = model_of(tied=False, lora_rank=2, lora_targets=('q',))
  adapters = table.count(lora, trained=True)
  assert of(lora, 0) == 14 * (4 * layers + 6 * adapters + attention)
  assert of(lora, 5) - of(lora, 0) == 5 * 4 * rows['head']


def test_training_starts_without_pytorch():
  """It takes seconds, and here it is for other stages alone."""
  code = 'import sys, early_experience.train; print("torch" in sys.modules)'
  result = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert result.stdout == 'False\n'
