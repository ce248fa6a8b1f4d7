"""Other trainers see what ours see, and are timed beside them."""

import pytest

from early_experience.benchmark import peers
from early_experience.runtime.errors import UserError
from tests.test_benchmark import settings

OURS = ('trees', 'flat')


def test_torch_trains_on_the_same_tokens_from_the_same_loss(capsys):
  pytest.importorskip('torch')
  pytest.importorskip('transformers')
  config = settings(
    peers=(*OURS, 'transformers'), peer_updates=2, long_trajectories=0
  )
  (result,) = peers.peers(config)
  rows = result['peers']
  assert rows.keys() == {*OURS, 'transformers'}
  start = rows['flat']['first_loss']
  for row in rows.values():
    assert row['first_loss'] == pytest.approx(start, rel=1e-5)
    assert row['last_loss'] < start
    assert row['timed_updates'] == min(2, row['updates'])
    assert row['seconds'] > 0
    assert row['peak_mib'] > 0
  assert rows['flat']['tokens'] == rows['transformers']['tokens']
  assert rows['trees']['tokens'] < rows['flat']['tokens']
  # Trained on the same rows in the same order.
  assert rows['transformers']['last_loss'] == pytest.approx(
    rows['flat']['last_loss'], rel=1e-4
  )
  assert capsys.readouterr().out.count('token ratio') == 2


def test_a_comparison_with_nobody_is_refused():
  with pytest.raises(UserError, match='at least one other'):
    peers.peers(settings(peers=OURS))
