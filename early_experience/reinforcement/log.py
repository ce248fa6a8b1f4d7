"""What reinforcement learning reports: a line an iteration, and TensorBoard.

A line of `metrics.jsonl`, of the policy that sampled the iteration:
  iteration, step, stage: from 0; updates done after it; always 0.
  step_before, environment_steps_before: of the policy itself.
  success/rate, low, high: of the episodes, each that failed unsolved; the 95%
    interval is over tasks. Of questions made from records: of the answers.
  panel/rate, low, high: of the fixed tasks, in the iterations that play them,
    and in a last line of its own.
  reward: mean of the episodes.
  episodes, episodes_failed, out_of_context, invalid_rate: counts, and a share
    of the decisions; of outcomes that are foretold, the share cut off.
  environment_steps: decisions since the run began; none where questions are
    asked.
  groups_even, groups_failed: whose decisions are not learnt from; without
    variance, or for a failed episode.
  entropy: an estimate, nats a sampled token.
  gap, gap_max: mean and most of |log-probability by the trainer - by the
    sampler|; importance_capped: share of tokens whose weight was cut.
  kl: to the start (k3), nats a token; null where it is not kept.
  clipped: share of the advantages that had no gradient, over the updates.
    These are null where no decision is learnt from.
  tokens_flat, tokens_tree, tokens_ratio, tokens_rows, rows: of what was learnt
    from; in rows with what windows repeat.
  updates, loss, grad_norm, lr, OBJECTIVE/nll, OBJECTIVE/tokens: as in training.
  seconds_sampling, seconds_training, seconds_panel: of the iteration; sampling
    is 0 where the episodes were there already.
"""

import pathlib

from early_experience.runtime import distributed
from early_experience.training import metrics


class Log:
  """Writes a line an iteration, in the first process.

  Args:
    folder: of the run; holds `metrics.jsonl` and `tensorboard/`.
    done: iterations done; what was written later will be written again.

  Attributes:
    lines: all so far.
  """

  def __init__(self, folder, done: int):
    self._path = pathlib.Path(folder) / metrics.METRICS
    self.lines = distributed.first_then_all(
      lambda: metrics.keep_until(self._path, done - 1, 'iteration')
    )
    self._board = None
    if distributed.is_first():
      self._board = metrics.board(folder, done - 1)

  def write(self, iteration: int, step: int, line: dict) -> None:
    """Adds a line; its `environment_steps` are those of the iteration."""
    last = self.lines[-1] if self.lines else {}
    before = last.get('environment_steps', 0)
    steps = before + line.get('environment_steps', 0)
    line = {'iteration': iteration, 'step': step, 'stage': 0} | line
    line['step_before'] = last.get('step', 0)
    line['environment_steps_before'] = before
    line['environment_steps'] = steps
    self.lines.append(line)
    if self._board is None:
      return
    metrics.append(self._path, line)
    for key, value in line.items():
      if key not in ('iteration', 'stage') and value is not None:
        self._board.add_scalar(key, value, iteration)
    self._board.flush()

  def close(self) -> None:
    if self._board is not None:
      self._board.close()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()
