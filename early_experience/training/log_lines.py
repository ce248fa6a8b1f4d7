"""Lines of `metrics.jsonl`, several taken together."""

import json
import pathlib
from collections.abc import Sequence

# Updates that the end of a stage of training is measured over. A line begins
# there, so that it is the same for every interval of lines and checkpoints.
END = 50


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

  A nats-per-token value is weighted by its tokens, anything else by updates.

  Args:
    lines: of one stage, in order.
    before: the last update before them.
  """
  steps = [before, *(line['step'] for line in lines)]
  updates = [b - a for a, b in zip(steps, steps[1:], strict=False)]
  out = dict(lines[-1])
  for key, value in out.items():
    if key.endswith('/tokens'):
      out[key] = sum(line.get(key) or 0 for line in lines)
    elif key not in ('step', 'stage') and not isinstance(value, str):
      weight = key.removesuffix('/nll') + '/tokens'
      known = [
        (line[key], line.get(weight, count))
        for line, count in zip(lines, updates, strict=True)
        if line.get(key) is not None
      ]
      total = sum(weight for _, weight in known)
      out[key] = sum(v * w for v, w in known) / total if total else None
  return out


def end(lines: Sequence[dict]) -> dict | None:
  """The mean of the newest stage's last `END` updates.

  Args:
    lines: of a log, in order; all, or the last of them.

  Returns:
    A line; None where there are none. `seconds` are those of the last one.
  """
  if not lines:
    return None
  last, first = lines[-1], len(lines) - 1
  while first and _at_the_end(lines[first - 1], last):
    first -= 1
  before = lines[first - 1]['step'] if first else 0
  found = mean(lines[first:], before)
  return found | {k: last[k] for k in ('seconds', 'lr') if k in last}


def _at_the_end(line, last):
  same = line.get('stage') == last.get('stage')
  return same and line['step'] > last['step'] - END
