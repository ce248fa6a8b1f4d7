"""A step compiled for real TPUs, none of which is here; needs libtpu.

pip install "early_experience[tpu-aot]"; python -m pytest tests/test_aot_tpu.py
"""

import importlib.util

import pytest

from tests.test_aot import command

HAVE = importlib.util.find_spec('libtpu') is not None
needs_libtpu = pytest.mark.skipif(not HAVE, reason='libtpu is not installed')


@needs_libtpu
@pytest.mark.parametrize(
  'arguments, shown',
  [
    (
      ['v5e:2x2', '--config.mesh.tensor=1'],
      ['v5e:2x2, a mesh of 1x4x1', 'ICI'],
    ),
    (
      ['v6e:2x2', '--slices=2', '--config.mesh.data=2'],
      ['2 x v6e:2x2, a mesh of 2x4x1', 'network'],
    ),
  ],
)
def test_a_step_is_compiled_for_tpus_that_are_not_here(arguments, shown):
  topology, *others = arguments
  result = command(f'--topology={topology}', *others)
  assert result.returncode == 0, result.stderr
  for part in ('as XLA plans it', 'in use', 'all-gather', *shown):
    assert part in result.stdout
  assert 'unknown length' not in result.stdout


@needs_libtpu
def test_one_chip_has_no_collectives_but_a_least_time():
  result = command('--topology=v5e:1x1')
  assert result.returncode == 0, result.stderr
  assert 'a step: at least' in result.stdout
  assert 'in collectives' not in result.stdout


@needs_libtpu
def test_what_needs_more_than_the_chip_has_ends_with_1():
  result = command(
    '--topology=v5e:2x2',
    '--config.train.batch_rows=4096',
    '--config.model.embed=4096',
    '--config.model.attention_block=0',
  )
  assert result.returncode == 1, result.stderr
  assert 'DOES NOT FIT' in result.stdout
  assert 'RESOURCE_EXHAUSTED' in result.stdout


@needs_libtpu
def test_a_shape_that_no_slice_has_is_one_line():
  result = command('--topology=v5e:3x3', '--config.train.batch_rows=9')
  assert result.returncode == 1
  assert 'error: --topology=v5e:3x3: ' in result.stderr


@pytest.mark.skipif(HAVE, reason='libtpu is installed')
def test_without_libtpu_the_extra_is_named():
  result = command('--topology=v5e:2x2')
  assert result.returncode == 1
  assert result.stderr == (
    'error: libtpu is not installed; run: pip install'
    ' "early_experience[tpu-aot]"\n'
  )
