"""OpenAI-compatible servers that may be installed, started on a free port."""

import contextlib
import importlib.util
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

START_SECONDS = 300  # vLLM takes 30 on two idle cores
MAX_TOKENS = 4096  # of a prompt and its answer
_ENVIRONMENT = {
  'HF_HUB_OFFLINE': '1',
  'OMP_NUM_THREADS': '1',
  'VLLM_CPU_KVCACHE_SPACE': '1',  # GiB
  'VLLM_NO_USAGE_STATS': '1',
}


def _transformers():
  needed = ('torch', 'transformers', 'fastapi', 'uvicorn')
  if not all(map(importlib.util.find_spec, needed)):
    pytest.skip('needs torch and pip install "transformers[serving]"')
  module = 'transformers.cli.transformers'
  return [sys.executable, '-m', module, 'serve', '--device', 'cpu']


def _vllm():
  python = os.environ.get('EARLY_EXPERIENCE_VLLM')
  if not python and importlib.util.find_spec('vllm'):
    python = sys.executable
  if not python:
    pytest.skip(
      'vllm is not installed; EARLY_EXPERIENCE_VLLM may name a Python with it'
    )
  # Not `vllm serve`, which in vllm-cpu 0.32.0 asks for a package named vllm.
  module = 'vllm.entrypoints.openai.api_server'
  options = f'--dtype float32 --enforce-eager --max-model-len {MAX_TOKENS}'
  return [python, '-m', module, *options.split(), '--model']


SERVERS = {'transformers': _transformers, 'vllm': _vllm}


def find(name: str) -> list[str]:
  """The command of one of `SERVERS`, which a model's folder completes.

  Skips the test where the server is not installed.
  """
  return SERVERS[name]()


@contextlib.contextmanager
def started(
  command: list[str], folder: pathlib.Path, log: pathlib.Path
) -> Iterator[str]:
  """Serves a model, whose name is its folder; yields the base URL.

  Args:
    command: from `find`.
    folder: what transformers can load, tokenizer included.
    log: file for what the server says.
  """
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  # vLLM leaves its sockets where temporary files are.
  with (
    tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch,
    open(log, 'wb') as file,
  ):
    server = subprocess.Popen(
      [*command, str(folder), '--host', '127.0.0.1', '--port', str(port)],
      stdout=file,
      stderr=subprocess.STDOUT,
      env=os.environ | _ENVIRONMENT | {'TMPDIR': scratch},
      start_new_session=True,  # its workers end with it
    )
    try:
      _await(f'http://127.0.0.1:{port}/health', server, log)
      yield f'http://127.0.0.1:{port}/v1'
    finally:
      server.terminate()
      with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(20)
      with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
      server.wait()


def _await(url, server, log):
  end = time.monotonic() + START_SECONDS
  while time.monotonic() < end and server.poll() is None:
    try:
      return urllib.request.urlopen(url, timeout=5).close()
    except (urllib.error.URLError, OSError):
      time.sleep(0.2)
  said = log.read_text(errors='replace')[-2000:]
  pytest.fail(f'the server did not start (code {server.poll()}): {said}')
