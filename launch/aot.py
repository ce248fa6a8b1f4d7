r"""Compiles a config's train step for chips that are not here, and says whether
it fits, what it sends, and how long it takes at least.

  pip install "early_experience[tpu-aot]"
  python launch/aot.py --config=configs/llama3_1_8b.py --topology=v5e:16x16
  python launch/aot.py --config=... --topology=v6e:4x4 --slices=2 \
      --config.mesh.data=2 --config.mesh.fsdp=4 --config.mesh.tensor=4

Where the config file is for other chips, and the command line does not say how,
the mesh is spread over the topology and the batch grows until it can be split:
the overrides that `train` then needs are printed first.

Chips: v5e, v5p, v6e in the shapes of their slices; h100-80:8 and a100-80:8,
whose memory is estimated and whose collectives are those that XLA for CPUs
makes. Exit code 1: it does not fit, or an error in one line.
"""

import os
import sys

import jax
from absl import flags
from ml_collections import ConfigDict, config_flags

from early_experience.aot import chips, compiling, report
from early_experience.config import checked
from early_experience.runtime import cli, files, paths

TOPOLOGY = flags.DEFINE_string('topology', None, 'CHIP:SHAPE, as v5e:16x16')
SLICES = flags.DEFINE_integer('slices', 1, 'of it; config.mesh.data spans them')
MARKDOWN = flags.DEFINE_bool('markdown', False, 'print a row of docs/AOT.md')
VISIBLE = flags.DEFINE_float(
  'visible',
  None,
  'share of pairs of blocks, by benchmark attention',
  lower_bound=0.0,
  upper_bound=1.0,
)
HLO = flags.DEFINE_string('hlo', '', 'file to write the optimised HLO to')


@checked
def main(config: ConfigDict, workdir: str | None = None) -> None:
  """Prints the report; exits with 1 where the step does not fit."""
  target = chips.parse(TOPOLOGY.value or '', SLICES.value)
  jax.config.update('jax_platforms', 'cpu')
  if not target.chip.is_tpu:
    jax.config.update('jax_num_cpu_devices', target.chips)
  given = config_flags.get_override_values(flags.FLAGS['config'])
  changes = compiling.spread(config, target, given)
  if changes and not MARKDOWN.value:
    words = ' '.join(
      f'--config.{key}={value}' for key, value in changes.items()
    )
    print(f'spread over {target} by {words}', flush=True)
  compiling.choose_attention(config, target)
  mesh = compiling.mesh(config.mesh, target)
  program = compiling.compile_step(config, mesh)
  if HLO.value and program.text:
    files.write_atomic(paths.given(HLO.value, '--hlo'), program.text)
  sizes = dict(mesh.shape)
  found = report.make(config, target, sizes, program, VISIBLE.value)
  if MARKDOWN.value:
    print(report.row(found, _name({**given, **changes})), flush=True)
  else:
    print(report.text(found))
  if not found.fits:
    sys.exit(1)


def _name(changes):
  """The config file, and what differs from it."""
  path = config_flags.get_config_filename(flags.FLAGS['config'])
  stem = path.removeprefix('configs/').replace('.py', '', 1)
  return ' '.join([f'`{stem}`', *(f'{k}={v}' for k, v in changes.items())])


if __name__ == '__main__':
  sys.path.insert(0, os.getcwd())  # as `python -m` does, for config files
  cli.run(main, needs_workdir=False)
