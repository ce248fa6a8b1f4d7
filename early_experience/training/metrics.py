"""What training reports: JSONL and TensorBoard, never making the device wait.

The values of an update are fetched after the next one has been dispatched.

A line of `metrics.jsonl` is of the updates since the line before; there is one
every so many updates, at each checkpoint, and where a stage's end begins:
  step, stage: updates done over all stages; index of the stage.
  loss, grad_norm: means of what is minimised, and of the norm before clipping.
  lr: of the last update.
  OBJECTIVE/nll, OBJECTIVE/tokens: nats a weighted token, null where there are
    none; and the sum of the weights.
  tokens_per_s: padding included.
  flops_per_s, utilisation: by `flops.model_flops`; as a share of the devices'
    peak, null where that is not known.
  data_wait_share, checkpoint_share: of the time, in which no update ran for
    want of a batch; and that saves took.
  seconds: since the training began, but for compiling, restoring and what is
    saved at its end.
"""

import collections
import dataclasses
import json
import math
import pathlib
import sys
import time
from collections.abc import Callable

import jax

from early_experience.experience.render import OBJECTIVES
from early_experience.runtime import distributed, files
from early_experience.runtime.errors import UserError
from early_experience.training import log_lines
from early_experience.training.flops import PEAK_FLOPS

# tensorboardX would import PyTorch where it finds it: seconds, to name a type.
_had_torch = sys.modules.setdefault('torch', None)
import tensorboardX  # noqa: E402

if _had_torch is None:
  del sys.modules['torch']

METRICS = 'metrics.jsonl'

WINDOW = 50  # updates of a stage whose mean loss a jump is measured by


class Diverged(Exception):
  """The loss or the gradient of an update is not finite, or the loss jumped."""

  def __init__(self, update: int, reason: str):
    super().__init__(f'{reason} at update {update}')
    self.update = update


@dataclasses.dataclass
class _Interval:
  """What has been fetched since the last line."""

  updates: int = 0
  loss: float = 0.0
  grad_norm: float = 0.0
  lr: float = 0.0
  flops: float = 0.0
  nll: tuple[float, ...] = (0.0,) * len(OBJECTIVES)
  weight: tuple[float, ...] = (0.0,) * len(OBJECTIVES)


class Log:
  """Writes a line every so many updates.

  Args:
    folder: of the training; holds `metrics.jsonl` and `tensorboard/`.
    done: updates done before; lines beyond them are of a run that was cut
      off, will be written again, and are removed.
    every: updates a line.
    max_loss_ratio: of a loss to the mean of the last `WINDOW`; 0 = any.
    tokens: of one update, padding included.
    flops: of one update, by the number of its scored tokens.

  Attributes:
    last: the newest line, or {}.
    data_seconds, checkpoint_seconds: of this interval, that the device waited
      for batches and the caller for saves.
  """

  def __init__(
    self,
    folder,
    done: int,
    every: int,
    max_loss_ratio: float,
    tokens: int,
    flops: Callable[[float], float],
  ):
    self._path = pathlib.Path(folder) / METRICS
    lines = distributed.first_then_all(lambda: keep_until(self._path, done))
    self.last, self._stages = {}, {}
    for line in lines:
      self._remember(line)
    self._kept = lines[-WINDOW - 1 :]
    self._board = None
    if distributed.is_first():
      self._board = board(folder, done)
    self._ratio, self._losses = max_loss_ratio, collections.deque([], WINDOW)
    self._every, self._tokens, self._flops = every, tokens, flops
    self._seconds = self.last.get('seconds', 0.0)
    self._pending, self._interval = None, _Interval()
    self.data_seconds = self.checkpoint_seconds = 0.0
    self.start(0, 0)

  def start(self, began: int, end: int) -> None:
    """Starts a stage: what went before is no training, as compiling is.

    Args:
      began: the last update before the stage, whether it goes on or not.
      end: its own last one.
    """
    self._end_begins = log_lines.end_begins(began, end)
    self._losses.clear()  # of other objectives
    # A stage that goes on is watched as if it had never stopped; nearly, for
    # lines have means.
    for line in self._kept:
      updates, began = line['step'] - began, max(began, line['step'])
      self._losses.extend([line['loss']] * min(updates, WINDOW))
    # The save at the end of the stage before comes after its last line.
    self._seconds += self.checkpoint_seconds
    self._mark = time.perf_counter()
    self.data_seconds = self.checkpoint_seconds = 0.0

  def add(self, update: int, stage: int, values: dict[str, jax.Array]) -> None:
    """Takes an update's metrics; fetches those of the one before.

    Raises:
      Diverged: the loss or the gradient of that one is not finite, or jumped.
    """
    pending, self._pending = self._pending, (update, stage, values)
    self._take(pending)

  def flush(self) -> None:
    """Waits for the last update, and ends its interval with a line.

    Raises:
      Diverged: see `add`.
    """
    pending, self._pending = self._pending, None
    self._take(pending, last=True)

  def _take(self, pending, last=False):
    if pending is None:
      return
    update, stage, values = pending
    values = jax.device_get(values)
    for what in ('loss', 'grad_norm'):
      if not math.isfinite(values[what]):
        raise Diverged(update, f'{what} is {float(values[what])}')
    self._check_jump(update, float(values['loss']))
    total = self._interval
    total.updates += 1
    total.loss += float(values['loss'])
    total.grad_norm += float(values['grad_norm'])
    total.lr = float(values['lr'])
    total.flops += self._flops(float(values['scored']))
    total.nll = _plus(total.nll, values['nll'])
    total.weight = _plus(total.weight, values['weight'])
    if last or update == self._end_begins or update % self._every == 0:
      self._write(update, stage)

  def _check_jump(self, update, loss):
    if self._ratio and len(self._losses) == WINDOW:
      mean = sum(self._losses) / WINDOW
      if loss > self._ratio * mean:
        raise Diverged(
          update,
          f'loss is {loss:.4g}, more than config.train.max_loss_ratio ='
          f' {self._ratio} times its mean {mean:.4g} of {WINDOW} updates,',
        )
    self._losses.append(loss)

  def _write(self, update, stage):
    total, self._interval = self._interval, _Interval()
    now = time.perf_counter()
    seconds, self._mark = now - self._mark, now
    data, self.data_seconds = self.data_seconds, 0.0
    saves, self.checkpoint_seconds = self.checkpoint_seconds, 0.0
    self._seconds += seconds
    rate = total.updates / seconds
    peak = PEAK_FLOPS.get(jax.devices()[0].device_kind)
    flops = total.flops / seconds
    line = {
      'step': update,
      'stage': stage,
      'loss': total.loss / total.updates,
      'grad_norm': total.grad_norm / total.updates,
      'lr': total.lr,
    }
    for name, nll, weight in zip(
      OBJECTIVES, total.nll, total.weight, strict=True
    ):
      line[f'{name}/nll'] = nll / weight if weight else None
      line[f'{name}/tokens'] = weight
    line |= {
      'tokens_per_s': self._tokens * rate,
      'flops_per_s': flops,
      'utilisation': flops / (peak * _devices()) if peak else None,
      'data_wait_share': data / seconds,
      'checkpoint_share': saves / seconds,
      'seconds': self._seconds,
    }
    self._remember(line)
    if not distributed.is_first():
      return
    append(self._path, line)
    for key, value in line.items():
      if key != 'step' and value is not None:
        self._board.add_scalar(key, value, update)

  def _remember(self, line):
    stage, before = line['stage'], self.last.get('step', 0)
    began, lines = self._stages.setdefault(stage, (before, []))
    lines.append(line)
    begins = log_lines.end_begins(began, line['step'])
    while lines[1:] and lines[1]['step'] <= begins:
      del lines[0]
    self.last = line

  def ends(self) -> dict[int, dict]:
    """What `log_lines.end` says of each stage that has lines, by index."""
    return {
      stage: log_lines.end(lines, began)
      for stage, (began, lines) in self._stages.items()
    }

  def close(self) -> None:
    if self._board:
      self._board.close()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()


def _devices():
  return jax.sharding.get_abstract_mesh().size


def _plus(total, values):
  return tuple(a + float(b) for a, b in zip(total, values, strict=True))


def board(folder, done: int) -> tensorboardX.SummaryWriter:
  """TensorBoard's file in a folder; what is later than `done` is dropped."""
  path = str(pathlib.Path(folder) / 'tensorboard')
  return tensorboardX.SummaryWriter(path, purge_step=done + 1)


def append(path: pathlib.Path, line: dict) -> None:
  """Adds a line to a log.

  Raises:
    UserError: it cannot be written.
  """
  try:
    with open(path, 'a', encoding='utf-8') as file:
      file.write(json.dumps(line) + '\n')
  except OSError as error:
    raise UserError(f'cannot write {path}: {error.strerror}') from error


def keep_until(path: pathlib.Path, done: int, key: str = 'step') -> list[dict]:
  """Drops the lines of a log that were written later; returns those kept.

  Args:
    path: of the log.
    done: updates, or what else `key` counts.
    key: of a line.
  """
  kept = log_lines.read_until(path, done, key)
  if distributed.is_first():
    text = ''.join(json.dumps(line) + '\n' for line in kept)
    files.write_atomic(path, text)
  return kept
