"""The estimate beside XLA's plan for TPUs, compiled without one.

pip install "early_experience[tpu-aot]"
python -m pytest -m slow tests/test_memory_tpu.py
"""

import math

import pytest
from ml_collections import ConfigDict

from early_experience import config as config_lib
from early_experience import memory
from early_experience.aot import chips, compiling
from early_experience.model import sharding
from tests.test_memory import MODEL
from tests.training_case import model_of

pytest.importorskip('libtpu')
pytestmark = pytest.mark.slow

_MODEL = MODEL | {'layers': 12, 'dtype': 'bfloat16', 'vocab_size': 32_768}


@pytest.mark.parametrize(
  'settings, sizes, rows, tokens, parts',
  [
    ({'remat': 'full'}, (1, 1, 1), 4, 2048, 2),
    ({'remat': 'full', 'dtype': 'float32'}, (1, 1, 1), 2, 2048, 1),
    ({'remat': 'dots', 'tied': False}, (1, 1, 1), 2, 2048, 1),
    (
      {'remat': 'attention', 'vocab_size': 262_144},
      *((1, 4, 2), 8, 2048, 1),
    ),
  ],
)
def test_the_total_is_within_a_tenth_of_the_peak_on_a_tpu(
  settings, sizes, rows, tokens, parts
):
  config = config_lib.default()
  config.train.batch_rows, config.train.microbatches = rows, parts
  cfg = model_of(**_MODEL | settings)
  found = memory.estimate(
    cfg, config, dict(zip(sharding.AXES, sizes, strict=True)), tokens
  )
  whole = {'data': 1, 'fsdp': -1, 'tensor': 1}
  there = compiling.mesh(ConfigDict(whole), chips.parse('v5p:2x2x2'))
  devices = list(there.devices.flat)
  mesh = sharding.lay_out(sizes, devices[: math.prod(sizes)])
  step = memory.compiled(cfg, config, mesh, tokens)
  by_xla = step.memory_analysis().peak_memory_in_bytes
  assert 0.9 < found.total / by_xla < 1.1
