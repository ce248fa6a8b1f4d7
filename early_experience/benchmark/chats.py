"""How much flat chat files share: what the prefix merge finds in them.

python -m early_experience.benchmark chats --config=configs/alfworld.py

Expert episodes are explored, reflected on and prepared, once from the records
and once from chat files that they were exported to and imported from, in each
layout. All of them have one tokenizer.
"""

import contextlib
import copy
import io
import pathlib
import tempfile

from ml_collections import ConfigDict

from early_experience import chats, recipes
from early_experience.collect import collect
from early_experience.config import checked
from early_experience.experience.chat_export import LAYOUTS, Variant
from early_experience.explore import explore
from early_experience.prepare import prepare
from early_experience.reflect import reflect
from early_experience.runtime import cli

ANSWERS = {'turns': 'labels', 'states': 'tags'}  # as the authors have them


def main() -> None:
  cli.run(sharing, needs_workdir=False)


@checked
def sharing(config: ConfigDict, workdir: str | None = None) -> dict:
  """Prints and returns tokens flat and as trees, by source and row set.

  Args:
    config: its environment and `config.benchmark` say of what.
    workdir: unused; the data is made in a temporary folder.
  """
  config = copy.deepcopy(config)
  with config.unlocked():
    config.collect.trajectories = config.benchmark.trajectories
    config.explore.k = config.benchmark.k
    config.prepare.rows = recipes.row_sets(
      ('expert', 'world', 'reflect', 'joint'), config.benchmark.k
    )
    config.prepare.held_out = 0.0
  with tempfile.TemporaryDirectory() as folder:
    data = pathlib.Path(folder)
    for stage in (collect, explore, reflect):
      _quietly(stage, config, data)
    result = {'records': _quietly(prepare, config, data)['rows']}
    config.prepare.tokenizer = str(data / 'prepare')
    config.prepare.source = 'import'
    for layout in LAYOUTS:
      files, run = data / layout, data / f'{layout}_run'
      variant = Variant(layout, ANSWERS[layout])
      chats.export_chats(str(data), str(files), variant)
      chats.import_chats(str(run), str(files))
      result[layout] = _quietly(prepare, config, run)['rows']
  print(
    f'{config.benchmark.trajectories} trajectories of {config.env.name},'
    f' K={config.benchmark.k}; tokens flat, as trees, ratio:'
  )
  for source, row_sets in result.items():
    for name, row_set in row_sets.items():
      print(
        f'  {source} {name}: {row_set["flat_tokens"]:,}'
        f' {row_set["tree_tokens"]:,} {row_set["ratio"]:.2f}'
      )
  return result


def _quietly(stage, config, workdir):
  with contextlib.redirect_stdout(io.StringIO()):
    return stage(config, str(workdir))


if __name__ == '__main__':
  main()
