"""Lines of `metrics.jsonl`, several taken together."""

import json
import pathlib
from collections.abc import Sequence

_END = 50
_OF_TIME = (
  'tokens_per_s',
  'flops_per_s',
  'utilisation',
  'data_wait_share',
  'checkpoint_share',
)
_OF_LAST = ('step', 'stage', 'seconds', 'lr')


def end_begins(began: int, end: int) -> int:
  """The update after which the end of a stage of training begins.

  That is its last tenth, and `_END` updates at most. A line begins there, so
  that it is the same for every interval of lines and of checkpoints.

  Args:
    began: the last update before the stage.
    end: its own last one.
  """
  return end - min(_END, -(-(end - began) // 10))


def read_until(
  path: pathlib.Path, update: int, key: str = 'step'
) -> list[dict]:
  """The lines of a log up to an update, as far as they are whole.

  Args:
    path: of the log.
    update: or what else `key` counts.
    key: of a line.
  """
  kept = []
  for text in path.read_bytes().splitlines() if path.exists() else ():
    try:
      line = json.loads(text)
      known = line[key] <= update and line['stage'] >= 0
    except (ValueError, TypeError, KeyError):
      break  # cut short by a kill, or damaged
    if not known:
      break
    kept.append(line)
  return kept


def mean(lines: Sequence[dict], before: int) -> dict:
  """What one line over all updates of some neighbouring lines would say.

  A nats-per-token value is weighted by its tokens, a rate and a share of the
  time by the time, anything else by updates.

  Args:
    lines: of one stage, in order.
    before: the last update before them.
  """
  steps = [before, *(line['step'] for line in lines)]
  updates = [b - a for a, b in zip(steps, steps[1:], strict=False)]
  # All updates of a training have as many tokens.
  times = [
    count / (line.get('tokens_per_s') or 1)
    for line, count in zip(lines, updates, strict=True)
  ]
  out = dict(lines[-1])
  for key, value in out.items():
    if key.endswith('/tokens'):
      out[key] = sum(line.get(key) or 0 for line in lines)
    elif key not in _OF_LAST and not isinstance(value, str):
      weight = key.removesuffix('/nll') + '/tokens'
      known = [
        (line[key], line.get(weight, other))
        for line, other in zip(
          lines, times if key in _OF_TIME else updates, strict=True
        )
        if line.get(key) is not None
      ]
      total = sum(weight for _, weight in known)
      out[key] = sum(v * w for v, w in known) / total if total else None
  return out


def end(lines: Sequence[dict], began: int = 0) -> dict | None:
  """The mean over the end of the newest stage, as `end_begins` has it.

  Args:
    lines: of a log, in order; all, or the last of them.
    began: the last update before the first of them or before its stage.

  Returns:
    A line; None where there are none.
  """
  if not lines:
    return None
  last, first = lines[-1], 0
  for number, line in enumerate(lines):
    if line.get('stage') != last.get('stage'):
      began, first = line['step'], number + 1
  before, begins = began, end_begins(began, last['step'])
  while lines[first]['step'] <= begins:
    before, first = lines[first]['step'], first + 1
  return mean(lines[first:], before)
