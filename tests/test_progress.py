"""What long work says of itself: how far, how fast, how long yet."""

import io

from early_experience.runtime import progress


def said(monkeypatch, seconds, compiling=0.0):
  """What is said after 2 of 12 units, 4 of which were there before."""
  now = [0.0]
  monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
  stream = io.StringIO()
  shown = progress.Progress('train', 12, 'updates', done=4, stream=stream)
  with shown.apart():
    now[0] += compiling
  now[0] += seconds
  shown.update(2, note='loss 0.5')
  shown.close()
  return stream.getvalue()


def test_a_log_has_the_rate_and_the_time_left(monkeypatch):
  line = 'train: 6/12 updates 0.1/s ETA 0:01:00 loss 0.5\n'
  assert said(monkeypatch, seconds=20) == line


def test_a_log_is_spared_lines_within_seconds(monkeypatch):
  assert said(monkeypatch, seconds=10) == ''


def test_what_is_set_apart_does_not_slow_the_rate(monkeypatch):
  alone = said(monkeypatch, seconds=20)
  assert said(monkeypatch, seconds=20, compiling=300) == alone
