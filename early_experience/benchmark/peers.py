"""One epoch of the same experience here and in other trainers, side by side.

sh launch/peers.sh peers_venvs
python -m early_experience.benchmark peers --config=configs/quickstart.py

Same parameters (a Hugging Face folder that is written first), same scored
tokens, same optimizer, float32, no padding: as trees and flat here, and flat in
torch with transformers, in TRL and in tunix, each in its own process and
virtual environment. They take turns update by update, so that all share the
noise; starting, compiling and a first update are not counted. The first loss
of all is on the same rows, and must be the same. What is not installed is left
out.
"""

import contextlib
import copy
import dataclasses
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import jax
import numpy as np
from ml_collections import ConfigDict

from early_experience.benchmark import layouts
from early_experience.config import checked
from early_experience.hf import write
from early_experience.model import config as model_config
from early_experience.model import sharding, table
from early_experience.runtime import cli, files
from early_experience.runtime.errors import UserError
from early_experience.runtime.progress import Progress
from early_experience.tokenizers import saved

_PROGRAMS = pathlib.Path(__file__).parent / 'peer_programs'
_SAME = 1e-4  # of the first losses: what float32 may differ by, relative
# Peer: its program, its virtual environment ('' = this Python), and what this
# Python needs to run it where that is not there.
_ROADS = {
  'trees': ('ours', '', ()),
  'flat': ('ours', '', ()),
  'transformers': ('transformers_flat', 'torch', ('torch', 'transformers')),
  'trl': ('trl_flat', 'torch', ('torch', 'trl')),
  'tunix': ('tunix_flat', 'tunix', ('tunix',)),
}
# What a model is computed with, beside its architecture.
_RUNTIME = ('max_tokens', 'remat', 'attention_block', 'loss_chunk')


def main() -> None:
  cli.run(peers, needs_workdir=False)


@checked
def peers(config: ConfigDict, workdir: str | None = None) -> list[dict]:
  """Prints and returns the comparison for the config's and for long episodes.

  Args:
    config: its environment, model and batch are those of the comparison.
    workdir: unused; the data is made in a temporary folder.

  Raises:
    UserError: none of the others is installed, or one of them failed or
      computes another loss.
  """
  config = copy.deepcopy(config)
  config.model.rope_theta = 1e6  # tunix 0.1.7 knows no other for Llamas
  config.model.dtype = config.model.param_dtype = 'float32'
  roads = _installed(config.benchmark)
  return [_compare(roads, *case) for case in layouts.usual_and_long(config)]


def _installed(settings):
  """The Python and the program of each peer that can run."""
  found = {}
  for name in settings.peers:
    program, folder, needed = _ROADS[name]
    python = pathlib.Path(settings.peer_folder, folder, 'bin', 'python')
    if folder and python.exists():
      found[name] = (str(python), program)
    elif all(map(importlib.util.find_spec, needed)):
      found[name] = (sys.executable, program)
    else:
      print(f'{name}: not installed; sh launch/peers.sh {settings.peer_folder}')
  if not found.keys() > {'trees', 'flat'}:
    raise UserError(
      'config.benchmark.peers: trees, flat and at least one other are compared'
    )
  return found


def _compare(roads, label, config, flat_row_tokens, min_steps):
  with tempfile.TemporaryDirectory() as folder:
    data = pathlib.Path(folder)
    config, steps, prepared = layouts.make(
      label, config, flat_row_tokens, min_steps, data
    )
    counts = {}
    for layout, summary in prepared.items():
      made = layouts.batches(config, data / layout, summary)
      counts[layout] = _write_batches(data / f'{layout}.npz', made, layout)
    coder = saved.load(data / 'tree' / 'prepare')
    _write_model(config, coder.vocab_size, data / 'model')
    running = {}
    try:
      for name, (python, program) in roads.items():
        layout = 'tree' if name == 'trees' else 'flat'
        running[name] = _Peer(
          name, python, program, data, layout, counts[layout], config
        )
      for peer in running.values():
        peer.ready()
      _check_same_start(label, running)
      _race(running, config.benchmark.peer_updates)
    finally:
      for peer in running.values():
        peer.stop()
  tokens = {name: s['packed_tokens'] for name, s in prepared.items()}
  return _show(label, config, steps, running, tokens)


def _write_batches(path, batches, layout):
  """One weight a token, whatever its objective; returns how many batches."""
  arrays = {
    name: np.stack([batch[name] for batch in batches]) for name in batches[0]
  }
  weight = arrays.pop('weights').sum(-1)
  if layout == 'flat' and not np.isin(weight, (0, 1)).all():
    raise UserError('a token is scored twice: no label says that')
  np.savez(path, weight=weight, **arrays)
  return len(batches)


def _write_model(config, vocab_size, folder):
  """Fresh parameters, as transformers loads them, and how we compute them."""
  cfg = model_config.from_config(config.model, vocab_size)
  mesh = sharding.machine_mesh(cfg.embed)
  with jax.set_mesh(mesh):
    params = table.make_params(jax.random.key(config.seed), cfg, mesh)
    write.write_params(params, cfg, folder, 'float32', {})
  runtime = {name: config.model[name] for name in _RUNTIME}
  files.write_json(folder / 'runtime.json', runtime)


@dataclasses.dataclass
class _Spent:
  """Of all updates so far."""

  updates: int = 0
  seconds: float = 0.0
  cpu_seconds: float = 0.0


class _Peer:
  """A program that trains, and waits to be asked."""

  def __init__(self, name, python, program, data, layout, batches, config):
    self.name, self.layout, self.batches = name, layout, batches
    self.spent = _Spent()
    root = str(_PROGRAMS.parents[2])
    self._log = open(data / f'{name}.log', 'w+', encoding='utf-8')  # noqa: SIM115
    self._process = subprocess.Popen(
      [
        python,
        str(_PROGRAMS / f'{program}.py'),
        str(data / f'{layout}.npz'),
        str(data / 'flat.npz'),
        str(data / 'model'),
        str(config.budget.lr_peak),
        str(config.benchmark.peer_threads),
      ],
      env=os.environ | {'PYTHONPATH': root, 'HF_HUB_OFFLINE': '1'},
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=self._log,
      encoding='utf-8',
    )
    self.first_loss = self.last_loss = self.peak_mib = None
    self._tell(do='probe')
    self._tell(do='update', batch=0)  # compiles, and warms caches and pages

  def ready(self):
    self.first_loss = self._hear()['loss']
    self._hear()

  def probe(self):
    self._tell(do='probe')
    return self._hear()['loss']

  def update(self, number):
    self._tell(do='update', batch=number)
    answer = self._hear()
    self.spent.updates += 1
    self.spent.seconds += answer['seconds']
    self.spent.cpu_seconds += answer['cpu_seconds']
    self.peak_mib = answer['peak_mib']

  def stop(self):
    self._process.kill()
    self._process.wait()
    self._log.close()

  def _tell(self, **command):
    with contextlib.suppress(BrokenPipeError):  # `_hear` says why
      self._process.stdin.write(json.dumps(command) + '\n')
      self._process.stdin.flush()

  def _hear(self):
    answer = self._process.stdout.readline()
    if not answer:
      self._log.seek(0)
      said = self._log.read().strip().splitlines() or ['nothing was said']
      raise UserError(f'{self.name} ended: {said[-1]}')
    return json.loads(answer)


def _check_same_start(label, running):
  want = running['flat'].first_loss
  for name, peer in running.items():
    if abs(peer.first_loss / want - 1) > _SAME:
      raise UserError(
        f'{label}: the first loss of {name} is {peer.first_loss:.6f}, not'
        f' {want:.6f}: it does not see the same data, or not the same model'
      )


def _race(running, most):
  """Trains each on its batches, those that are furthest behind first."""
  plans = {}
  for name, peer in running.items():
    count = min(peer.batches, most or peer.batches)
    plans[name] = [i * peer.batches // count for i in range(count)]
  total = sum(map(len, plans.values()))
  progress = Progress('benchmark peers', total, 'updates')
  for _ in range(total):
    name = min(plans, key=lambda n: running[n].spent.updates / len(plans[n]))
    running[name].update(plans[name][running[name].spent.updates])
    progress.update()
  progress.close()
  for peer in running.values():
    peer.last_loss = peer.probe()


def _show(label, config, steps, running, tokens):
  result = layouts.describe(label, config, steps)
  result['peers'] = {}
  print(
    f'  {"":12} {"tokens":>9} {"updates":>9} {"s an epoch":>11}'
    f' {"CPU s":>9} {"tokens/s":>9} {"peak MiB":>9}  loss'
  )
  for name, peer in running.items():
    spent = peer.spent
    share = peer.batches / spent.updates
    row = {
      'tokens': tokens[peer.layout],
      'updates': peer.batches,
      'timed_updates': spent.updates,
      'seconds': spent.seconds * share,
      'cpu_seconds': spent.cpu_seconds * share,
      'peak_mib': peer.peak_mib,
      'first_loss': peer.first_loss,
      'last_loss': peer.last_loss,
    }
    result['peers'][name] = row
    of = f'{spent.updates}/{peer.batches}'
    print(
      f'  {name:12} {row["tokens"]:9,} {of:>9} {row["seconds"]:11.2f}'
      f' {row["cpu_seconds"]:9.2f} {row["tokens"] / row["seconds"]:9,.0f}'
      f' {row["peak_mib"]:9,.0f}  {row["first_loss"]:.4f} ->'
      f' {row["last_loss"]:.4f}'
    )
  result['token_ratio'] = tokens['flat'] / tokens['tree']
  for unit in ('seconds', 'cpu_seconds'):
    result |= _speed_up(result, unit)
  return result


def _speed_up(result, unit):
  """Prints and returns the pair, trees against the fastest of the others."""
  spent = {name: row[unit] for name, row in result['peers'].items()}
  trees, flat = spent.pop('trees'), spent.pop('flat')
  best = min(spent, key=spent.get)
  speed_up, ratio = spent[best] / trees, result['token_ratio']
  print(
    f'  by {unit.replace("cpu_", "CPU ")}: token ratio {ratio:.2f}; trees are'
    f' {speed_up:.2f} times faster than {best}, {speed_up / ratio:.2f} of the'
    f' ratio; flat here is {spent[best] / flat:.2f} times as fast as {best}'
  )
  return {f'best_by_{unit}': best, f'speed_up_by_{unit}': speed_up}


if __name__ == '__main__':
  main()
