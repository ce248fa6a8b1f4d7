"""One process of many, under a watcher that says when another one has died.

jax then ends this one out of C++, with its own log and the stacks of all
threads. The process that was started only watches, and tells it in one line;
the training is a child of it, which gets its signals and ends with it.
"""

import os
import re
import signal
import subprocess
import sys

from early_experience.runtime import cluster, process

_WATCHER = 'EARLY_EXPERIENCE_WATCHER'  # its number, for the child
# The first words of C++ about a death, and the last.
_BEGINS = re.compile(
  rb'[EFW]\d{4} [\d:.]+ +\d+ (coordination_|preemption_sync_|client\.h)'
)
_DEATH = b'JAX distributed service detected fatal errors'
_SILENT = re.compile(rb'stopped sending heartbeats\):\s*(\d+(?:[,\s]+\d+)*)')
_LEADER = b'leader task'
_HOLD_SECONDS = 5.0  # for which what may be about a death is held back


_parent = int(os.environ.pop(_WATCHER, '0'))  # not for what it starts itself


def watched() -> bool:
  """Whether this process is the child of a watcher."""
  return _parent > 0


def watch() -> None:
  """Returns in a child of this process; here it watches, and never returns."""
  if watched():
    if not process.tie_to(_parent, signal.SIGKILL):
      os._exit(1)
    return
  child = subprocess.Popen(
    [sys.executable, *sys.orig_argv[1:]],
    env=os.environ | {_WATCHER: str(os.getpid())},
    stderr=subprocess.PIPE,
  )
  with process.noted(child.send_signal, *process.ASKING):
    death = _relay(child)
    code = child.wait()
  if death:
    cluster.leave(f'error: {death}', 1)
  sys.stderr.flush()
  os._exit(code if code >= 0 else 128 - code)


def _relay(child):
  """Hands on what the child says; returns what it says of a death."""
  pipe, rest, held = child.stderr.fileno(), b'', []
  while True:
    ended = child.poll() is not None
    if not process.readable(pipe, _HOLD_SECONDS):
      if ended:  # and what it has started has not
        break
      _say(held)  # it is nothing that ends a process
      held = []
      continue
    part = os.read(pipe, 1 << 16)
    *lines, rest = (rest + part).split(b'\n')
    lines = [line + b'\n' for line in lines]
    if not part and rest:
      lines.append(rest)
    for index, line in enumerate(lines):
      if held or _BEGINS.match(line):
        held += lines[index:]
        break
      _say([line])
    if not part:
      break
  text = b''.join(held)
  if _DEATH in text:
    return _told(text)
  _say(held)
  return ''


def _told(text):
  silent = _SILENT.search(text)
  if silent:
    numbers = re.findall(rb'\d+', silent[1])
    who = f'process {", ".join(number.decode() for number in numbers)}'
  else:
    who = 'process 0' if _LEADER in text else 'another process'
  return (
    f'{who} of this training has ended or is out of reach, and the others with'
    ' it; the same command, for all of them, goes on from the last checkpoint'
  )


def _say(lines):
  for line in lines:
    sys.stderr.write(line.decode(errors='replace'))
  sys.stderr.flush()
