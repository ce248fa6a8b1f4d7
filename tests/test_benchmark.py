"""The benchmarks compare like with like."""

import pytest

from configs import tiny
from early_experience.benchmark import loader, loss, tree
from early_experience.runtime.errors import UserError
from tests.training_case import ROW_TOKENS, config_of, prepared


def settings(**changes):
  config = tiny.get_config()
  config.prepare.row_tokens = 512
  config.benchmark.trajectories = 2
  config.benchmark.k = 2
  config.benchmark.long_steps = 8
  config.benchmark.long_trajectories = 1
  config.benchmark.long_row_tokens = 1024
  config.benchmark.long_flat_row_tokens = 512
  config.benchmark.update(changes)
  return config


def test_both_layouts_train_the_same_supervision(capsys):
  usual, long = tree.tree(settings())
  for result in (usual, long):
    assert result['flat']['scored'] == result['tree']['scored']
    assert result['flat']['batch_tokens'] == result['tree']['batch_tokens']
    assert result['token_ratio'] > 1
    assert result['flat']['seconds'] > 0
  assert (usual['episodes'], long['episodes']) == (2, 1)
  assert long['mean_steps'] >= 8
  assert capsys.readouterr().out.count('times the seconds') == 2


def test_flat_rows_that_lose_supervision_are_no_comparison():
  with pytest.raises(UserError, match='flat_row_tokens'):
    tree.tree(settings(flat_row_tokens=128))


def test_the_loss_costs_what_is_scored_and_less_than_all_logits(capsys):
  result = loss.run(vocab=20_000, tokens=512, embed=32, chunk=16)
  assert result['seconds'][0.05] < 0.5 * result['seconds'][1.0]
  assert result['temp_bytes'] < 4 * 512 * 20_000
  assert '5% scored' in capsys.readouterr().out


def test_the_loader_is_timed_by_itself_and_in_training(tmp_path, capsys):
  workdir = prepared(tmp_path)
  config = config_of()
  config.train.stages[0].warmup_steps = 9
  found = loader.run(config, workdir, batches=3, updates=2)
  assert found['tokens_per_s'] == found['rows_per_s'] * ROW_TOKENS
  assert 0 <= found['data_wait_share'] < 1
  assert 'training waits for data' in capsys.readouterr().out
