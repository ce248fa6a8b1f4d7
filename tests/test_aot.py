"""Compiled ahead for other chips: what the step holds, what the user reads.

What is compiled here is for eight fake devices; test_aot_tpu.py has TPUs.
"""

import dataclasses
import functools
import math
import pathlib
import re
import subprocess
import sys

import pytest

from early_experience import config as config_lib
from early_experience.aot import chips, collectives, compiling, hlo, report
from early_experience.model.sharding import AXES
from early_experience.runtime.errors import UserError

ROOT = pathlib.Path(__file__).parent.parent
MODEL = {
  'layers': 3,
  'embed': 64,
  'heads': 4,
  'kv_heads': 2,
  'head_dim': 16,
  'mlp': 96,
  'vocab_size': 1000,
  'tied': False,
  'remat': 'full',
  'attention_block': 32,
  'loss_chunk': 32,
}
ROWS, TOKENS, PARTS = 16, 128, 2


def settings(**changes):
  config = config_lib.default()
  config.model.update(MODEL | changes)
  config.prepare.row_tokens = TOKENS
  config.train.batch_rows, config.train.microbatches = ROWS, PARTS
  config.mesh.fsdp, config.mesh.tensor = 4, 2
  return config


@functools.cache
def compiled():
  target = chips.parse('gpu:8')
  config = settings()
  compiling.choose_attention(config, target)
  mesh = compiling.mesh(config.mesh, target)
  return config, target, mesh, compiling.compile_step(config, mesh)


def test_no_gather_is_larger_than_a_matrix_of_a_layer_or_the_embedding():
  module = hlo.Module(compiled()[-1].text)
  found = [
    one
    for one in collectives.find(module, 8, 1)
    if one.kind == 'all-gather' and one.times
  ]
  matrix, embedding = 64 * 96 // 2 * 4, 1000 // 2 * 64 * 4
  most = max(one.bytes for one in found)
  assert most == embedding
  in_layers = [one for one in found if one.times > PARTS]
  assert max(one.bytes for one in in_layers) == matrix
  # Each layer is gathered forward, and again for the backward pass.
  ups = [one for one in in_layers if one.bytes == matrix]
  assert sum(one.times for one in ups) == 3 * 2 * 3 * PARTS


def test_no_array_has_tokens_by_vocabulary():
  module = hlo.Module(compiled()[-1].text)
  beside = [
    math.prod(array.sizes) // vocabulary
    for inside in module.computations.values()
    for one in inside.values()
    for array in one.arrays
    for vocabulary in (500, 1000)
    if vocabulary in array.sizes
  ]
  tokens = ROWS // PARTS // 4 * TOKENS
  assert 32 in beside  # a chunk of the loss
  assert max(beside) < tokens


def test_the_report_has_the_memory_the_collectives_and_the_time():
  config, target, mesh, program = compiled()
  found = report.make(config, target, dict(mesh.shape), program)
  assert found.fits and found.estimate.total == found.total
  text = report.text(found)
  for part in (
    'on h100-80:8, a mesh of 1x4x2: 16 rows of 128 tokens a step, in 2 parts',
    'by the formula',
    'XLA for CPUs',
    'all-gather',
    'NVLink',
    'The largest buffers',
  ):
    assert part in text
  assert 'NOT FIT' not in text
  row = report.row(found, '`tiny`')
  assert row.count('|') == report.HEADER.splitlines()[0].count('|')
  seconds = found.seconds['compute']
  assert seconds == pytest.approx(found.flops / 8 / 989e12)


def test_the_report_counts_the_blocks_that_attention_visits():
  config, target, mesh, program = compiled()
  make = functools.partial(
    report.make, config, target, dict(mesh.shape), program
  )
  causal, sparse = make(), make(0.2)
  # 4 blocks of 32: no row has more pairs than those below the diagonal.
  assert causal.visited == 10 / 16
  of_attention = 12 * 3 * 4 * 16 * TOKENS * ROWS * TOKENS
  assert causal.flops - sparse.flops == pytest.approx(
    (10 / 16 - 0.2) * of_attention
  )
  text = report.text(sparse)
  assert 'attention: batched, 32; 20.0% of all scores count' in text


def test_a_step_without_collectives_has_a_least_time_too():
  config, target, mesh, program = compiled()
  found = report.make(config, target, dict(mesh.shape), program)
  text = report.text(dataclasses.replace(found, collectives=()))
  assert 'a step: at least' in text and 'in collectives' not in text


def test_what_does_not_fit_names_the_largest_buffers(monkeypatch):
  config, target, mesh, program = compiled()
  small = dataclasses.replace(target.chip, hbm=2**16)
  monkeypatch.setitem(chips.CHIPS, 'h100-80', small)
  text = report.text(report.make(config, target, dict(mesh.shape), program))
  assert 'DOES NOT FIT' in text
  named = text.split('The largest buffers')[1]
  assert 'activations kept' in named and 'moments' in named


def test_what_xla_refuses_does_not_fit_and_says_what_xla_said():
  config, _, mesh, _ = compiled()
  message = 'RESOURCE_EXHAUSTED: Ran out of memory on HBM,\n 30.54G'
  program = compiling.Program('', 0, 0, 0, 0, message, 1.0)
  target = chips.parse('v5e:2x4')
  found = report.make(config, target, dict(mesh.shape), program)
  text = report.text(found)
  assert not found.fits and 'DOES NOT FIT' in text
  assert 'Ran out of memory on HBM, 30.54G' in text
  assert 'The largest buffers' in text
  assert '**' in report.row(found, 'tiny')


@pytest.mark.parametrize(
  'topology, slices, message',
  [
    ('v9:2x2', 1, 'v9:2x2: chips are v5e'),
    ('', 1, 'chips are v5e'),
    ('v5e', 1, 'no shape: as in v5e:4x4'),
    ('v5e:2x', 1, 'no shape'),
    ('h100-80:2x4', 1, 'no shape: as in h100-80:8'),
    ('v5e:2x2', 0, 'slices=0'),
  ],
)
def test_a_topology_that_is_none_is_named(topology, slices, message):
  with pytest.raises(UserError, match=message):
    chips.parse(topology, slices)


@pytest.mark.parametrize(
  'changes, topology, slices, message',
  [
    ({'fsdp': 3}, 'gpu:8', 1, '1x3x2 does not fit 8.*h100-80:8.*-1'),
    ({'fsdp': 2, 'data': 1}, 'gpu:2', 2, 'mesh.data = 1.*slices=2'),
    ({'fsdp': 8}, 'gpu:16', 1, '16 CPU devices'),
  ],
)
def test_a_mesh_that_does_not_fit_is_named(changes, topology, slices, message):
  config = settings()
  config.mesh.update(changes)
  with pytest.raises(UserError, match=message):
    compiling.mesh(config.mesh, chips.parse(topology, slices))


def test_rows_that_do_not_divide_are_named():
  config, _, mesh, _ = compiled()
  config = settings()
  config.train.batch_rows = 12
  with pytest.raises(UserError, match='batch_rows = 12.*multiple of 8'):
    compiling.compile_step(config, mesh)


def test_a_config_for_other_chips_is_spread_over_all_of_a_target():
  def spread(target, given=(), **mesh):
    config = settings()
    config.mesh.update({'data': 1, 'fsdp': 8, 'tensor': 1, **mesh})
    config.train.update({'batch_rows': 16, 'microbatches': 2})
    changes = compiling.spread(config, chips.parse(*target), given)
    assert changes.get('train.batch_rows', 16) == config.train.batch_rows
    return changes

  one, two = (
    {'mesh.data': 1, 'mesh.fsdp': -1},
    {'mesh.data': 2, 'mesh.fsdp': -1},
  )
  assert spread(('gpu:8',)) == {}
  assert spread(('gpu:4',)) == one
  assert spread(('gpu:16',)) == one | {'train.batch_rows': 32}
  assert spread(('gpu:8', 2)) == two | {'train.batch_rows': 32}
  assert spread(('gpu:16',), tensor=2, fsdp=4) == one
  # A size to be inferred covers the target; the rows may still be too few.
  assert spread(('gpu:16',), fsdp=-1) == {'train.batch_rows': 32}
  # What the command line says stays, though it is refused afterwards.
  assert spread(('gpu:16',), ['train.batch_rows']) == one
  with pytest.raises(UserError, match='1x8x1 does not fit 16 devices'):
    spread(('gpu:16',), ['mesh.fsdp'])


def test_slices_are_neighbours_along_data():
  config = settings()
  config.mesh.update({'data': 2, 'fsdp': 2})
  mesh = compiling.mesh(config.mesh, chips.parse('gpu:4', 2))
  assert dict(mesh.shape) == dict(zip(AXES, (2, 2, 2), strict=True))
  ids = [[d.id for d in part.flat] for part in mesh.devices]
  assert ids == [[0, 1, 2, 3], [4, 5, 6, 7]]


def command(*arguments):
  # A process of its own: libtpu reads its environment once.
  return subprocess.run(
    [sys.executable, 'launch/aot.py', '--config=configs/tiny.py', *arguments],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )


def test_the_command_ends_with_0_where_it_fits_and_with_1_where_not():
  # Rows are what need memory: nothing is allocated, however many there are.
  for rows, code in ((8, 0), (10_000_000, 1)):
    result = command(
      '--topology=gpu:1',
      '--config.model.layers=1',
      '--config.model.attention_block=0',
      '--config.prepare.row_tokens=128',
      f'--config.train.batch_rows={rows}',
    )
    assert result.returncode == code, result.stderr
    assert ('DOES NOT FIT' in result.stdout) == bool(code)


def test_a_mistake_is_one_line():
  result = command('--topology=v5e')
  assert result.returncode == 1
  assert result.stderr.startswith('error: ') and result.stderr.count('\n') == 1


def test_the_table_has_every_model_card():
  script = (ROOT / 'launch/aot_cards.sh').read_text()
  table = (ROOT / 'docs/AOT.md').read_text()
  texts = {p.stem: p.read_text() for p in (ROOT / 'configs').glob('*.py')}
  # Cards of environments have no architecture of their own.
  cards = [
    name
    for name, text in texts.items()
    if re.search(r'cards\.(pretrained|llama3)\(\n', text)
  ]
  assert len(cards) >= 6
  for name in cards:
    assert re.search(rf'^card {name} --topology', script, re.MULTILINE)
    assert f'| `{name}`' in table
