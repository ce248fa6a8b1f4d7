"""Processes that share a model read a share of its checkpoint each."""

import re

from early_experience.benchmark import weights

SMALL = {'vocab_size': 4096, 'hidden_size': 512, 'intermediate_size': 2048}


def test_two_processes_read_their_own_halves(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(weights, '_CONFIG', weights._CONFIG | SMALL)
  weights.generate(tmp_path / 'made', 8, 'float32')
  files = (tmp_path / 'made').glob('*.safetensors')
  stored = sum(path.stat().st_size for path in files) / 1e6
  weights.report(tmp_path / 'made', 'float32', processes=2, devices=2)
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 2
  for line in lines:
    shards, read, largest, rise = map(int, re.findall(r'(\d+) MB', line))
    assert shards - 1 <= read <= shards + 1  # beside tensors: some headers
    assert stored / 2 <= shards <= stored / 2 + 1  # norms are whole in both
    # What XLA takes for compiling is no part of a small model.
    assert rise < shards + largest + 100
