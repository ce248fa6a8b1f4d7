"""The world-model measures equal those of one branch at a time."""

import dataclasses
import math

import jax
import numpy as np
import pytest

from early_experience import collect, explore
from early_experience.config import default
from early_experience.evaluation import world_model
from early_experience.experience import records, render
from early_experience.model import sharding, table, transformer
from early_experience.tokenizers.sentencepiece_tokenizer import (
  SentencePieceTokenizer,
  train,
)
from tests.close import FLOAT64, assert_exact
from tests.toy_env import ToyEnv
from tests.training_case import mesh_of, model_of


@pytest.fixture(scope='module')
def trajectories(tmp_path_factory):
  """Explored episodes of 2 and 3 steps, two alternatives each."""
  workdir = tmp_path_factory.mktemp('world')
  config = default()
  config.collect.trajectories = 3
  config.explore.k = 2
  collect.collect_from(ToyEnv(), config, workdir)
  explore.explore_in(ToyEnv(), config, workdir)
  return list(records.read(workdir / 'explore'))


@pytest.fixture(scope='module')
def coder(trajectories):
  texts = [step.observation for t in trajectories for step in t.steps]
  return SentencePieceTokenizer(train(texts * 20, 320))


@pytest.fixture(scope='module', autouse=True)
def float64():
  with jax.enable_x64():
    yield


def policy(coder, mesh, **changes):
  settings = {'max_tokens': 256, **FLOAT64, **changes}
  cfg = model_of(coder.vocab_size, **settings)
  with jax.set_mesh(mesh):
    init = jax.jit(
      lambda key: table.init_params(key, cfg),
      out_shardings=table.param_shardings(cfg, mesh),
    )
    return init(jax.random.key(0)), cfg


def measured(
  trajectories, coder, mesh, states=99, style='inline', k=0, **changes
):
  params, cfg = policy(coder, mesh, **changes)
  with jax.set_mesh(mesh):
    return world_model.measure(
      params, cfg, coder, mesh, trajectories, states=states, style=style, k=k
    )


def branch_by_branch(trajectories, coder, style, **changes):
  """(nll, tokens) by feeding every outcome alone, behind its own prompt."""
  mesh = mesh_of((1, 1, 1))
  params, cfg = policy(coder, mesh, **changes)
  hidden = jax.jit(transformer.hidden, static_argnames='cfg')
  nll, count = 0.0, 0
  with jax.set_mesh(mesh):
    head_VD = np.asarray(transformer.output_head(params, cfg))
    for trajectory in trajectories:
      past = render.world_model_prefix(style) + render.opening(
        trajectory.instruction, trajectory.steps[0].observation
      )
      for i, step in enumerate(trajectory.steps):
        pairs = [(step.action, trajectory.outcome(i))]
        pairs += [(a.action, a.observation) for a in step.alternatives]
        for action, outcome in pairs:
          turn = render.Turn('action', action)
          prompt = coder.encode_prompt((*past, turn), 'observation')
          target = [*coder.encode(outcome), *coder.stop_ids]
          ids = prompt + target
          padded = np.array([ids + [0] * (256 - len(ids))], np.int32)
          depth = np.arange(256, dtype=np.int32)[None]
          batch = {'i': padded, 'd': depth, 's': 256 - depth}
          fed = sharding.put_batch(batch, mesh)
          h_BTD = hidden(params, fed['i'], fed['d'], fed['s'], cfg)
          scored = slice(len(prompt) - 1, len(ids) - 1)
          logits = np.asarray(h_BTD)[0, scored] @ head_VD.T
          if cap := cfg.logit_softcap:
            logits = cap * np.tanh(logits / cap)
          own = logits[np.arange(len(target)), target]
          nll += float((np.logaddexp.reduce(logits, axis=1) - own).sum())
          count += len(target)
        past += render.exchange(step.action, trajectory.outcome(i))
  return nll / count, count


@pytest.mark.parametrize(
  'style, cap', [('inline', 0.0), ('instructed', 0.0), ('inline', 0.5)]
)
def test_branches_are_scored_as_if_each_were_alone(
  trajectories, coder, style, cap
):
  few, settings = trajectories[:2], {'style': style, 'logit_softcap': cap}
  expected, tokens = branch_by_branch(few, coder, **settings)
  found = measured(few, coder, mesh_of((1, 1, 1)), **settings)
  assert_exact(found['nll'], expected)
  assert found['tokens'] == tokens
  assert found['states'] == sum(len(t.steps) for t in trajectories[:2])
  assert found['exact_match']['n'] == 3 * found['states']
  assert found['exact_match']['too_long'] == 0
  outcomes = [t.told(i) for t in few for i in range(len(t.steps))]
  outcomes += [a.told for t in few for s in t.steps for a in s.alternatives]
  commonest = max(map(outcomes.count, outcomes))
  assert found['exact_match']['commonest'] == commonest > 1


def test_meshes_and_windows_change_nothing(trajectories, coder):
  expected = measured(trajectories, coder, mesh_of((1, 1, 1)))
  for sizes, rows in (((2, 2, 2), 256), ((1, 1, 1), 128)):
    found = measured(trajectories, coder, mesh_of(sizes), max_tokens=rows)
    assert_exact(found.pop('nll'), expected['nll'])
    assert found == {k: v for k, v in expected.items() if k != 'nll'}


def test_branches_that_a_policy_cannot_read_are_counted(trajectories, coder):
  found = measured(trajectories, coder, mesh_of((1, 1, 1)), max_tokens=64)
  assert found['exact_match']['too_long'] > 0
  assert found['exact_match']['n'] == 3 * found['states']


def test_the_first_alternatives_may_be_asked_for_alone(trajectories, coder):
  found = measured(trajectories, coder, mesh_of((1, 1, 1)), k=1)
  fewer = [
    dataclasses.replace(
      trajectory,
      steps=tuple(
        dataclasses.replace(step, alternatives=step.alternatives[:1])
        for step in trajectory.steps
      ),
    )
    for trajectory in trajectories
  ]
  assert found == measured(fewer, coder, mesh_of((1, 1, 1)))
  assert found['exact_match']['n'] == 2 * found['states']


def test_the_states_are_a_fixed_choice(trajectories, coder):
  found = measured(trajectories, coder, mesh_of((1, 1, 1)), states=2)
  assert found['states'] == 2
  assert found['exact_match']['n'] == 6
  again = measured(trajectories[::-1], coder, mesh_of((1, 1, 1)), states=2)
  assert_exact(again['nll'], found['nll'])


def test_an_outcome_is_exact_when_every_token_is_the_likeliest(
  trajectories, coder, monkeypatch
):
  def all_but_some_ends(params, batch, cfg, vocab):
    ids = np.asarray(batch['tokens'])
    missed = (ids == coder.stop_ids[0]) & (np.asarray(batch['depth']) % 2 == 0)
    return {'nll': np.zeros(ids.shape), 'right': ~missed}

  monkeypatch.setattr(world_model, '_token_scores', all_but_some_ends)
  found = measured(trajectories, coder, mesh_of((1, 1, 1)))
  expected = 0
  for trajectory in trajectories:
    bare = dataclasses.replace(trajectory)
    for script in world_model._scripts(bare, range(len(bare.steps)), 'inline'):
      (sequence,) = coder.encode_script(script)
      expected += len(sequence.ids_T) % 2 == 0
  assert 0 < expected < found['exact_match']['n']
  assert found['exact_match']['count'] == expected
  assert math.isclose(
    found['exact_match']['rate'], expected / found['exact_match']['n']
  )
