"""What all peers share: rows in, one line of JSON for each command.

A program is started as

    python PROGRAM.py ROWS.npz PROBE.npz MODEL LEARNING_RATE THREADS

where MODEL is the folder of a Hugging Face checkpoint, and both files hold
int32 `tokens`, `depth`, `back`, `span` and float32 `weight`, each
[batches, B, T]. It answers `{"do": "probe"}` with the mean nll of the probe's
scored tokens, and `{"do": "update", "batch": I}` with the time that it took.
"""

import json
import os
import resource
import sys
import time
import types


def settings() -> types.SimpleNamespace:
  """The command line: rows, probe, model, rate, threads.

  Call it before the import of what makes threads: they are then as many as the
  cores that this process may use.
  """
  rows, probe, model, rate, threads = sys.argv[1:]
  cores = sorted(os.sched_getaffinity(0))[-int(threads) or None :]
  os.sched_setaffinity(0, cores)
  return types.SimpleNamespace(
    rows=rows, probe=probe, model=model, rate=float(rate), threads=len(cores)
  )


def batches(path: str) -> list[dict]:
  """The batches of a file, each array [B, T]."""
  import numpy as np

  with np.load(path) as stored:
    arrays = dict(stored)
  return [
    {name: value[i] for name, value in arrays.items()}
    for i in range(len(arrays['tokens']))
  ]


def documents(batch: dict) -> list[dict]:
  """The sequences of a batch of flat rows, each array [its tokens].

  What is alone is padding.
  """
  found = []
  for row in range(len(batch['tokens'])):
    depth = batch['depth'][row]
    starts = [i for i, x in enumerate(depth) if x == 0]
    for start, end in zip(starts, [*starts[1:], len(depth)], strict=True):
      if end - start > 1:
        found.append({k: v[row, start:end] for k, v in batch.items()})
  return found


def serve(peer: object, commands: object = None, answers: object = None):
  """Answers commands until there are no more.

  Args:
    peer: has `probe()`, the mean nll of the probe's scored tokens, and
      `update(i)`, which trains on a batch and returns when that is done.
    commands: lines; the standard input.
    answers: the standard output.
  """
  for line in commands or sys.stdin:
    command = json.loads(line)
    answer = {}
    if command['do'] == 'probe':
      answer['loss'] = float(peer.probe())
    else:
      start, cpu = time.perf_counter(), time.process_time()
      peer.update(command['batch'])
      answer['seconds'] = time.perf_counter() - start
      answer['cpu_seconds'] = time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer['peak_mib'] = peak / 1024
    print(json.dumps(answer), file=answers or sys.stdout, flush=True)


def main(make: object) -> None:
  """Runs a program: `make(settings)` is its peer.

  Whatever libraries print goes to the standard error.
  """
  chosen = settings()
  answers = os.fdopen(os.dup(1), 'w', encoding='utf-8')
  os.dup2(2, 1)
  serve(make(chosen), answers=answers)
