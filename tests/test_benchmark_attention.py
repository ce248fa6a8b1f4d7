"""Attention and train steps are timed on the same real rows."""

import argparse

import numpy as np
import pytest

from early_experience.benchmark import attention, step
from early_experience.model.attention import sees
from early_experience.runtime.errors import UserError
from tests.model_case import make_tree
from tests.training_case import config_of

TOY = 'tests.naughty_env:NaughtyEnv'


def how(**changes):
  settings = {
    **dict(env=[TOY], trajectories=3, k=2, seed=0, tokens=512, rows=1),
    **dict(heads=2, kv_heads=1, head_dim=8, dtype='float32', block=64),
    **dict(attention='auto', turns=1, file=None),
  }
  return argparse.Namespace(**settings | changes)


def test_each_way_is_timed_on_real_rows_which_are_kept(tmp_path, capsys):
  file = tmp_path / 'rows.npz'
  lines = attention.run(how(file=file))
  assert [(line['rows'], line['attention']) for line in lines] == [
    ('trees', 'auto'),
    ('trees', 'all scores, XLA'),
    ('paths', 'auto'),
  ]
  for line in lines:
    assert line['forward'] > 0 and line['flops'] > 0
  with np.load(file) as kept:
    assert kept[TOY].shape[0] == 3
  # Elsewhere they are read, and no environment is needed.
  again = attention.run(how(file=file, env=None, turns=0))
  assert again[0]['blocks'] == lines[0]['blocks']
  assert 'of peak' in capsys.readouterr().out


def test_what_is_not_in_the_file_is_named(tmp_path):
  np.savez(tmp_path / 'rows.npz', toy=np.ones((3, 2, 16), np.int32))
  file = tmp_path / 'rows.npz'
  with pytest.raises(UserError, match='no rows of alfworld'):
    attention.run(how(file=file, env=['alfworld']))
  with pytest.raises(UserError, match='toy: 2 rows of 16 tokens'):
    attention.run(how(file=file, env=None))


def test_what_is_counted_is_what_is_seen():
  tree = make_tree(0, 64)
  visible_TT = np.asarray(sees(tree.span[None]))[0]
  blocks = visible_TT.reshape(8, 8, 8, 8)
  assert attention.counted(tree.depth[None], tree.span[None], 8) == {
    'blocks': pytest.approx(blocks.any((1, 3)).mean()),
    'whole': pytest.approx(blocks.all((1, 3)).sum() / blocks.any((1, 3)).sum()),
    'tokens': pytest.approx(visible_TT.mean()),
  }


def test_a_step_is_timed_on_trees_and_on_paths(tmp_path, capsys):
  tree = make_tree(0, 32)
  back = np.array([i - max(0, p) for i, p in enumerate(tree.parent)], np.int32)
  rows = np.tile(np.stack([tree.depth, tree.span, back]), 2)[:, None]
  np.savez(tmp_path / 'rows.npz', toy=rows)
  config = config_of()
  config.model.attention_block = 16
  trees, paths = step.run(config, str(tmp_path / 'rows.npz'))
  assert trees['visited'] <= 6 / 16 < paths['visited'] == 10 / 16
  assert trees['flops'] > trees['visited_flops'] > 0
  assert 'cpu, paths' in capsys.readouterr().out
  with pytest.raises(UserError, match='--rows_file'):
    step.run(config, None)
