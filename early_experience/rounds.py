"""Runs the loop in rounds: what a policy does is what the next one learns from.

The policy of a round proposes the alternatives of the next one: in all states
that there are, and in those that it reaches by itself, where the environment's
expert can be asked what it would do. What was explored stays. Each round is a
workdir of its own, WORKDIR/round-N.
"""

import copy
import pathlib
import time

from ml_collections import ConfigDict

from early_experience.collect import collect
from early_experience.config import checked, settled
from early_experience.explore import explore
from early_experience.language import cache
from early_experience.reflect import reflect
from early_experience.report import report
from early_experience.reporting import round_folders, text
from early_experience.runtime import cli
from early_experience.runtime.errors import UserError
from early_experience.runtime.progress import clock
from early_experience.summarise import summarise


@checked
def rounds(config: ConfigDict, workdir: str) -> dict:
  """Runs `config.rounds`; continues where it was stopped. Ends with the table.

  Returns:
    The summary of each round's evaluation, all on the same tasks.

  Raises:
    UserError: a setting is wrong, or a stage refuses.
  """
  # Here, for the workers of collect and explore import this module again, and
  # do without jax.
  from early_experience.evaluate import evaluate
  from early_experience.prepare import prepare
  from early_experience.train import train
  from early_experience.visit import visit

  start = time.monotonic()
  each = [
    of_round(config, workdir, number + 1) for number in range(config.rounds)
  ]
  for own in each:  # before any stage begins
    settled(own)
  found, before = {}, None
  for number, own in enumerate(each, 1):
    here = str(round_folders.folder(workdir, number))
    if before is None:
      collect(own, here)
    else:
      visit(own, here, before)
    explore(own, here)
    if own.summarise.enabled:
      summarise(own, here)
    if any('reflection' in r.datasets for r in own.prepare.rows.values()):
      reflect(own, here)
    prepare(own, here)
    train(own, here)
    found[f'{pathlib.Path(here).name}/{own.name}'] = evaluate(own, here)
    before = here
  report(config, workdir)
  print(text.table(found))
  print(f'page: {workdir}/report/index.html')
  print(f'took {clock(time.monotonic() - start)}')
  return found


def of_round(config: ConfigDict, workdir: str, number: int) -> ConfigDict:
  """The settings of a round.

  Args:
    config: of all rounds.
    workdir: likewise.
    number: of the round, from 1.

  Raises:
    UserError: nothing is trained, nobody proposes in the first round, or rows
      take fewer alternatives than are explored.
  """
  config = copy.deepcopy(config)
  if config.evaluate.policy != 'trained':
    raise UserError(
      f'rounds need a policy that is trained, not {config.evaluate.policy!r}:'
      ' name another recipe'
    )
  shares = config.explore.proposers
  if not any(share for name, share in shares.items() if name != 'policy'):
    raise UserError(
      'config.explore.proposers has the policy alone, and round 1 has none yet:'
      ' give another one a share'
    )
  used = {name for one in config.train.stages for name in one.rows}
  rows = config.prepare.rows.items()
  config.prepare.rows = {name: one for name, one in rows if name in used}
  for name, one in config.prepare.rows.items():
    if 0 < one.get('k', 0) < config.explore.k:  # the oldest come first
      raise UserError(
        f'config.prepare.rows.{name}.k={one.k} is below config.explore.k='
        f'{config.explore.k}: what later rounds add would not be learnt from'
      )
  # Of all rounds the same outcomes are asked: those of the first.
  config.evaluate.world_model_k = config.explore.k
  for stage in ('explore', 'summarise', 'reflect'):  # nothing is asked twice
    asked = config[stage].openai
    asked.cache = asked.cache or str(pathlib.Path(workdir) / cache.FILE)
  if number == 1:
    shares.policy = 0.0
    return config
  config.prepare.overlong = 'drop'  # a policy may stammer beyond any row
  if not (config.init.hf or config.init.checkpoint):
    # One vocabulary for all, and not of what it stammers.
    first = round_folders.folder(workdir, 1) / 'prepare'
    config.prepare.tokenizer = config.prepare.tokenizer or str(first)
  if not shares.policy:  # what others propose is there already
    shares.update(dict.fromkeys(shares, 0.0) | {'policy': 1.0})
  before = round_folders.folder('..', number - 1)
  config.explore.policy = f'{before}/train/{config.name}'
  for one in config.prepare.rows.values():
    if one.get('k', 0):  # of each round, and what the expert would do
      one.k = number * one.k + 1
  return config


if __name__ == '__main__':
  cli.run(rounds)
