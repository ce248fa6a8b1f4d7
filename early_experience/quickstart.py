"""Runs every stage in turn, several recipes side by side."""

import pathlib
import time

from ml_collections import ConfigDict

from early_experience import recipes
from early_experience.chats import import_chats
from early_experience.collect import collect
from early_experience.config import checked, settled
from early_experience.evaluation import panel, policies
from early_experience.explore import explore
from early_experience.preparation.chats import IMPORT
from early_experience.reflect import reflect
from early_experience.report import report
from early_experience.reporting import round_folders, text
from early_experience.runtime import cli, config_file
from early_experience.runtime.errors import UserError
from early_experience.runtime.progress import clock
from early_experience.summarise import summarise


@checked
def quickstart(config: ConfigDict, workdir: str) -> dict:
  """Runs the loop; continues where it was stopped. Ends with the table.

  Before it another loop, where `config.quickstart.first` names one; and `rl`
  after the recipes of `config.quickstart.rl`.

  Raises:
    UserError: a setting is wrong, or a stage refuses.
  """
  # Here, for the workers of collect and explore import this module again, and
  # do without jax.
  from early_experience.evaluate import evaluate
  from early_experience.prepare import prepare
  from early_experience.rl import rl
  from early_experience.train import train

  start = time.monotonic()
  chosen = {
    name: recipes.select(config, name) for name in config.quickstart.recipes
  }
  _check_rl(config.quickstart.rl, chosen)
  if config.quickstart.chats and config.prepare.source != IMPORT:
    raise UserError(
      'config.quickstart.chats has chats to import, which only'
      f' config.prepare.source={IMPORT} learns from'
    )
  for each in chosen.values():  # before any stage begins
    settled(each)
  if config.quickstart.first:
    for key in ('hf', 'checkpoint'):
      if config.init[key]:
        raise UserError(
          f'config.quickstart.first and config.init.{key} both say where'
          ' parameters come from: leave one empty'
        )
    start_at = _first(config.quickstart.first, workdir)
    for each in (config, *chosen.values()):
      each.init.checkpoint = start_at
  if config.quickstart.chats:
    print(import_chats(workdir, config.quickstart.chats))
  for stage in (*_before(config), prepare):
    stage(config, workdir)
  results = {}
  for recipe, own in chosen.items():
    if own.evaluate.policy not in policies.NOT_OURS:
      train(own, workdir)
    results[recipe] = evaluate(own, workdir)
    if recipe in config.quickstart.rl:
      rl(own, workdir)
      own.evaluate.policy = 'rl'
      results[panel.after_rl(recipe)] = evaluate(own, workdir)
  report(config, workdir)
  print(text.table(results))
  print(f'page: {workdir}/report/index.html')
  print(f'took {clock(time.monotonic() - start)}')
  return results


def _before(config):
  """The stages that `prepare` has its data from."""
  if config.prepare.source == IMPORT:
    return ()
  summaries = (summarise,) if config.summarise.enabled else ()
  return collect, explore, *summaries, reflect


def _check_rl(names, chosen):
  for name in names:
    own = chosen.get(name)
    if own is None or own.evaluate.policy in policies.NOT_OURS:
      raise UserError(
        f'config.quickstart.rl has {name!r}, which is none of'
        ' config.quickstart.recipes that has parameters'
      )


def _first(place, workdir):
  """Runs another config's loop in WORKDIR/first; the folder of its policy."""
  with config_file.opened('config.quickstart.first', place) as opened:
    defined, _, recipe = opened
    made = defined.get('get_config')
    config = made and made(*recipe)
  if not isinstance(config, ConfigDict):
    raise UserError(
      f'config.quickstart.first={place}: it has no get_config() that returns a'
      ' config'
    )
  config.quickstart.recipes = (config.name,)
  folder = pathlib.Path(workdir, round_folders.FIRST)
  quickstart(config, str(folder))
  return str(folder / 'train' / config.name)


if __name__ == '__main__':
  cli.run(quickstart)
