"""Compiles a config's train step for chips that are not here, and says whether
it fits, what it sends, and how long it takes at least.

  pip install "early_experience[tpu-aot]"
  python launch/aot.py --config=configs/llama3_1_8b.py --topology=v5p:2x2x2
  python launch/aot.py --config=... --topology=v6e:16x16 --slices=2 \
      --config.mesh.data=2 --config.mesh.fsdp=-1 --config.train.batch_rows=512

Chips: v5e, v5p, v6e in the shapes of their slices; h100-80:8 and a100-80:8,
whose memory is estimated and whose collectives are those that XLA for CPUs
makes. Exit code 1: it does not fit, or an error in one line.
"""

import os
import sys

import jax
from absl import flags
from ml_collections import ConfigDict

from early_experience import cli, files
from early_experience.aot import chips, compiling, report

TOPOLOGY = flags.DEFINE_string('topology', None, 'CHIP:SHAPE, as v5e:16x16')
SLICES = flags.DEFINE_integer('slices', 1, 'of it; config.mesh.data spans them')
MARKDOWN = flags.DEFINE_bool('markdown', False, 'print a row of docs/AOT.md')
HLO = flags.DEFINE_string('hlo', '', 'file to write the optimised HLO to')


def main(config: ConfigDict, workdir: str | None = None) -> None:
  """Prints the report; exits with 1 where the step does not fit."""
  target = chips.parse(TOPOLOGY.value or '', SLICES.value)
  jax.config.update('jax_platforms', 'cpu')
  if not target.chip.is_tpu:
    jax.config.update('jax_num_cpu_devices', target.chips)
  mesh = compiling.mesh(config.mesh, target)
  program = compiling.compile_step(config, mesh)
  if HLO.value and program.text:
    files.write_atomic(HLO.value, program.text)
  found = report.make(config, target, dict(mesh.shape), program)
  if MARKDOWN.value:
    print(report.row(found, _name()), flush=True)
  else:
    print(report.text(found))
  if not found.fits:
    sys.exit(1)


def _name():
  """The config and its overrides, as they were given."""
  given = [arg for arg in sys.argv[1:] if arg.startswith('--config')]
  path = given[0].partition('=')[2].removeprefix('configs/')
  changes = [arg.removeprefix('--config.') for arg in given[1:]]
  return ' '.join([f'`{path.removesuffix(".py")}`', *changes])


if __name__ == '__main__':
  sys.path.insert(0, os.getcwd())  # as `python -m` does, for config files
  cli.run(main, needs_workdir=False)
