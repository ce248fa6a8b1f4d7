"""Runs every stage in turn, several recipes side by side."""

import time

from ml_collections import ConfigDict

from early_experience import recipes
from early_experience.collect import collect
from early_experience.config import checked, settled
from early_experience.evaluation import policies
from early_experience.explore import explore
from early_experience.reflect import reflect
from early_experience.report import report
from early_experience.reporting import text
from early_experience.runtime import cli
from early_experience.runtime.progress import clock
from early_experience.summarise import summarise


@checked
def quickstart(config: ConfigDict, workdir: str) -> dict:
  """Runs the loop; continues where it was stopped. Ends with the table."""
  # Here, for the workers of collect and explore import this module again, and
  # do without jax.
  from early_experience.evaluate import evaluate
  from early_experience.prepare import prepare
  from early_experience.train import train

  start = time.monotonic()
  chosen = {
    name: recipes.select(config, name) for name in config.quickstart.recipes
  }
  for each in chosen.values():  # before any stage begins
    settled(each)
  summaries = (summarise,) if config.summarise.enabled else ()
  for stage in (collect, explore, *summaries, reflect, prepare):
    stage(config, workdir)
  results = {}
  for recipe, own in chosen.items():
    if own.evaluate.policy not in policies.NOT_OURS:
      train(own, workdir)
    results[recipe] = evaluate(own, workdir)
  report(config, workdir)
  print(text.table(results))
  print(f'page: {workdir}/report/index.html')
  print(f'took {clock(time.monotonic() - start)}')
  return results


if __name__ == '__main__':
  cli.run(quickstart)
