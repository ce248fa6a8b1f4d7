"""The chunked loss equals the plain one, and never holds all logits."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from early_experience.model import table
from early_experience.model.sharding import put_batch, spec
from early_experience.training import loss
from tests.close import FLOAT64, assert_exact, assert_rounded
from tests.training_case import batch_of, fresh, mesh_of, model_of, rows_of

MESHES = ((1, 1, 1), (2, 2, 2))
V = 32


@pytest.fixture(scope='module', autouse=True)
def float64():
  with jax.enable_x64():
    yield


def case(share, seed=0):
  """Rows in which some positions predict several tokens, and their weights."""
  rng = np.random.default_rng(seed)
  return {
    'hidden': rng.normal(size=(8, 11, 6)),
    'tokens': rng.integers(0, V, (8, 11), np.int32),
    'back': rng.integers(0, np.arange(11) + 1, (8, 11)).astype(np.int32),
    'weight': np.where(
      rng.random((8, 11)) < share, rng.normal(size=(8, 11)), 0
    ),
  }


HEAD = np.random.default_rng(1).normal(size=(V, 6))


def dense(hidden, head, rest, softcap=0.0):
  """The definition, with every logit at once: the weighted sum."""
  source = jnp.arange(rest['tokens'].shape[1])[None] - rest['back']
  logits = jnp.take_along_axis(hidden, source[..., None], axis=1) @ head.T
  if softcap:
    logits = softcap * jnp.tanh(logits / softcap)
  if 'possible' in rest:
    logits = jnp.where(rest['possible'], logits, -jnp.inf)
  logp = jax.nn.log_softmax(logits)
  own = jnp.take_along_axis(logp, rest['tokens'][..., None], axis=-1)
  return -(own[..., 0] * rest['weight']).sum()


def chunked(hidden, head, rest, **settings):
  nll = loss.token_nll(
    hidden,
    head,
    rest['tokens'],
    rest['back'],
    rest['weight'] != 0,
    rest.get('allowed'),
    **settings,
  )
  return (nll * rest['weight']).sum()


def run(function, rows, sizes=(1, 1, 1), dtype=np.float64):
  """Value and gradients, by hidden state and head, on a mesh."""
  with jax.set_mesh(mesh_of(sizes)):
    step, arguments = prepared(function, rows, dtype)
    return jax.device_get(step(*arguments))


def prepared(function, rows, dtype=np.float64):
  mesh = jax.sharding.get_mesh()
  rest = put_batch(rows, mesh)
  hidden = rest.pop('hidden').astype(dtype)
  head = jax.device_put(HEAD, NamedSharding(mesh, spec('vocab')))
  grad = jax.value_and_grad(function, argnums=(0, 1))
  return jax.jit(grad), (hidden, head.astype(dtype), rest)


def reference(rows, softcap=0.0, dtype=np.float64):
  """Of what is left of the numbers in that dtype, computed in float64."""
  rest = dict(rows)
  hidden, head = (
    jnp.asarray(x, dtype).astype(np.float64) for x in (rest.pop('hidden'), HEAD)
  )
  grad = jax.value_and_grad(dense, argnums=(0, 1))
  return grad(hidden, head, rest, softcap)


def contributions(rows):
  """The absolute values of what value and gradients add up, summed."""
  head, size_V = np.abs(HEAD), np.zeros_like(HEAD)
  hidden, weight = np.abs(rows['hidden']), np.abs(rows['weight'])
  value, size_H = 0.0, np.zeros_like(hidden)
  for b, t in zip(*np.nonzero(weight), strict=True):
    source = t - rows['back'][b, t]
    share_V = np.exp(rows['hidden'][b, source] @ HEAD.T)
    share_V /= share_V.sum()
    own = rows['tokens'][b, t]
    value -= np.log(share_V[own]) * weight[b, t]
    slope_V = weight[b, t] * np.where(np.arange(V) == own, 1 - share_V, share_V)
    size_H[b, source] += slope_V @ head
    size_V += slope_V[:, None] * hidden[b, source]
  return value, (size_H, size_V)


@pytest.mark.parametrize('sizes', MESHES)
@pytest.mark.parametrize(
  'share, chunk, softcap',
  [(1.0, 7, 0.0), (0.3, 4, 0.0), (0.3, 10_000, 2.0), (0.0, 7, 2.0)],
  ids=['all scored', 'scattered', 'capped, one chunk', 'none scored'],
)
def test_value_and_gradients_equal_the_dense_definition(
  sizes, share, chunk, softcap
):
  rows = case(share)
  chunks = functools.partial(chunked, chunk=chunk, softcap=softcap)
  got = run(chunks, rows, sizes)
  assert_exact(got, reference(rows, softcap))
  assert np.isfinite(got[0])


def test_devices_may_have_different_numbers_of_chunks():
  rows = case(1.0)
  rows['weight'][:5] = 0  # of the eight rows on four groups of devices
  rows['weight'][6, 3:] = 0
  got = run(functools.partial(chunked, chunk=2), rows, (2, 2, 2))
  assert_exact(got, reference(rows))


@pytest.mark.parametrize('sizes', MESHES)
def test_a_token_may_be_chosen_among_few(sizes):
  """Some tokens are free, but for ids that the tokenizer lacks."""
  rows, vocab = case(0.6), V - 5
  rng = np.random.default_rng(3)
  rows['tokens'] %= vocab
  rows['allowed'] = rng.integers(-1, vocab, (8, 11, 4), np.int32)
  rows['allowed'][..., 0] = rows['tokens']  # what was said was possible
  free = rng.random((8, 11)) < 0.5
  rows['allowed'][free] = -1

  few = functools.partial(chunked, chunk=7, softcap=2.0, vocab=vocab)
  among = (rows['allowed'][..., None] == np.arange(V)).any(2)
  possible = np.where(free[..., None], np.arange(V) < vocab, among)
  want = reference(rows | {'possible': possible}, 2.0)
  assert_exact(run(few, rows, sizes), want)


@pytest.mark.parametrize('sizes', MESHES)
def test_half_precision_is_close(sizes):
  rows = case(0.5)
  got = run(functools.partial(chunked, chunk=5), rows, sizes, jnp.bfloat16)
  assert [x.dtype for x in got[1]] == [jnp.bfloat16] * 2
  want = reference(rows, dtype=jnp.bfloat16)
  assert_rounded(got, want, contributions(rows), 'bfloat16', roundings=1)


def test_the_nll_of_a_token_without_weight_is_zero():
  rows = case(0.4)
  all_nll = lambda h, head, rest: loss.token_nll(
    h, head, rest['tokens'], rest['back'], rest['weight'] != 0, chunk=8
  )
  with jax.set_mesh(mesh_of((1, 1, 1))):
    _, arguments = prepared(all_nll, rows)
    nll = jax.jit(all_nll)(*arguments)
  assert ((np.asarray(nll) > 0) == (rows['weight'] != 0)).all()


def test_the_gradient_of_the_head_crosses_devices_once():
  chunks = functools.partial(chunked, chunk=1)
  with jax.set_mesh(mesh_of((2, 2, 2))):
    step, arguments = prepared(chunks, case(1.0), jnp.bfloat16)
    text = step.lower(*arguments).compile().as_text()
  sums = re.findall(r'= (.*) all-reduce\(', text)
  of_head = [shapes for shapes in sums if f'[{V // 2},6]' in shapes]
  assert len(of_head) == 1 and f'f32[{V // 2},6]' in of_head[0]
  loops = text[: text.index('\nENTRY')]
  assert 'dot(' in loops and 'all-reduce' not in loops


def test_chunks_without_scored_tokens_are_not_visited(monkeypatch):
  visits, logits = [], loss._logits

  def counted(*args):
    jax.debug.callback(lambda: visits.append(1))
    return logits(*args)

  monkeypatch.setattr(loss, '_logits', counted)
  for share in (1.0, 0.3, 0.0):
    visits.clear()
    rows = case(share)
    run(functools.partial(chunked, chunk=4), rows)
    jax.effects_barrier()
    chunks = -(-np.count_nonzero(rows['weight']) // 4)
    assert len(visits) == 2 * chunks  # forward and backward


def test_compiled_step_has_no_array_of_all_logits():
  cfg = model_of(vocab_size=1000, loss_chunk=16)
  mesh = mesh_of((1, 1, 1))
  with jax.set_mesh(mesh):
    params = table.abstract_params(cfg, mesh)
    batch = put_batch(batch_of(rows_of(8, cfg)), mesh)
    text = (
      jax.jit(jax.grad(lambda p, b: loss.sums(p, b, cfg).nll_O.sum()))
      .lower(params, batch)
      .compile()
      .as_text()
    )
  tokens = batch['tokens'].size
  sizes = {
    int(np.prod([int(n) for n in shape.split(',')]))
    for shape in re.findall(r'f32\[([\d,]*1000[\d,]*)\]', text)
  }
  assert 16 * 1000 in sizes  # a chunk's
  assert max(sizes) < tokens * 1000


def test_a_position_predicts_all_its_branches():
  # root 0, then 1 and its sibling 3 both predicted at position 0.
  cfg = model_of(**FLOAT64)
  tree = {
    'tokens': np.array([[1, 5, 6, 7]], np.int32),
    'depth': np.array([[0, 1, 2, 1]], np.int32),
    'back': np.array([[0, 1, 1, 3]], np.int32),
    'span': np.array([[4, 2, 1, 1]], np.int32),
    'weights': np.zeros((1, 4, 3), np.float32),
  }
  tree['weights'][0, 1:, 0] = 1
  flat = []
  for ids in ([1, 5, 6], [1, 7]):
    n = len(ids)
    flat.append(
      {
        'tokens': np.array([ids], np.int32),
        'depth': np.arange(n, dtype=np.int32)[None],
        'back': np.minimum(1, np.arange(n, dtype=np.int32))[None],
        'span': np.arange(n, 0, -1, dtype=np.int32)[None],
        'weights': np.float32(np.arange(n) > 0)[None, :, None]
        * np.eye(3, dtype=np.float32)[0],
      }
    )
  mesh = mesh_of((1, 1, 1))
  with jax.set_mesh(mesh):
    params = fresh(cfg)
    sums = jax.jit(loss.sums, static_argnums=2)
    parts = [sums(params, put_batch(row, mesh), cfg) for row in flat]
    got = sums(params, put_batch(tree, mesh), cfg)
  want = sum(part.nll_O for part in parts)
  assert_exact(got.nll_O, want)
  np.testing.assert_array_equal(got.weight_O, [3, 0, 0])


def test_the_cap_of_the_model_reaches_its_loss():
  cfg = model_of(logit_softcap=1e-4)
  with jax.set_mesh(mesh_of((1, 1, 1))):
    params = fresh(cfg)
    batch = put_batch(batch_of(rows_of(4, cfg)), jax.sharding.get_mesh())
    got = jax.jit(loss.sums, static_argnums=2)(params, batch, cfg)
  # So low a cap makes all tokens equally likely.
  want = np.log(cfg.vocab_size) * np.asarray(got.weight_O)
  np.testing.assert_allclose(got.nll_O, want, rtol=1e-4)
