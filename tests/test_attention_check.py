"""A way to attend that is wrong on its device is not used there."""

import dataclasses

import jax
import pytest

from early_experience.model import (
  attention_batched,
  attention_check,
  attention_hopper,
)
from tests.model_case import make_cfg, make_mesh

CFG = make_cfg(attention='batched', attention_block=32)


def proven(cfg):
  with jax.set_mesh(make_mesh()):
    return attention_check.proven(cfg)


@pytest.mark.parametrize('changes', [{}, {'window': 40, 'global_every': 2}])
def test_what_agrees_with_the_loops_is_taken(changes, capsys):
  cfg = make_cfg(attention='batched', attention_block=32, **changes)
  assert proven(cfg) == cfg
  assert capsys.readouterr().err == ''


@pytest.mark.parametrize('fault', ['forward', 'backward'])
def test_what_differs_gives_way_to_the_loops_loudly(fault, monkeypatch, capsys):
  right = getattr(attention_batched, fault)

  def wrong(*arguments):
    first, *others = right(*arguments)
    return 1.1 * first, *others

  monkeypatch.setattr(attention_batched, fault, wrong)
  assert proven(CFG) == dataclasses.replace(CFG, attention='loops')
  assert "attention 'batched' is not right" in capsys.readouterr().err


def test_what_does_not_compile_gives_way_too(monkeypatch, capsys):
  def refuse(*arguments):
    raise NotImplementedError('no such instruction')

  monkeypatch.setattr(attention_batched, 'forward', refuse)
  assert proven(CFG).attention == 'loops'
  assert 'no such instruction' in capsys.readouterr().err


def test_for_kernels_of_gpus_many_pairs_at_a_time_are_the_next(
  monkeypatch, capsys
):
  monkeypatch.setattr(attention_hopper, 'forward', lambda *arguments: 1 / 0)
  assert proven(dataclasses.replace(CFG, attention='hopper')) == CFG
  assert "'batched' is taken" in capsys.readouterr().err


def test_on_a_cpu_nothing_is_tried(monkeypatch):
  monkeypatch.setattr(attention_check, '_difference', None)
  cfg = make_cfg()
  assert proven(cfg) is cfg
