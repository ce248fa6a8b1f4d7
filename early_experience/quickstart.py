"""Runs every stage in turn, several recipes side by side."""

import time

from ml_collections import ConfigDict

from early_experience import recipes
from early_experience.collect import collect
from early_experience.config import checked, settled
from early_experience.evaluation import panel
from early_experience.explore import explore
from early_experience.reflect import reflect
from early_experience.report import report
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
    if recipe != 'random':
      train(own, workdir)
    results[recipe] = evaluate(own, workdir)
  report(config, workdir)
  print(table(results))
  print(f'page: {workdir}/report/index.html')
  print(f'took {clock(time.monotonic() - start)}')
  return results


def table(results: dict[str, dict]) -> str:
  """Success rates with 95% intervals as aligned text, a policy a line.

  What was set aside stands beside the rates; below them, whether any was, and
  where policies were asked other tasks.
  """
  splits = list(next(iter(results.values()))['splits'])
  lines, asked, aside = [['policy', *splits]], {s: set() for s in splits}, 0
  for name, summary in results.items():
    of = summary['splits']
    lines.append([name, *(panel.told(of[s]['success']) for s in splits)])
    for split in splits:
      asked[split].add(of[split]['panel'])
      aside += of[split]['success']['set_aside']
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  text = [
    '  '.join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip()
    for line in lines
  ]
  text.append(f'set aside, and counted as not solved: {aside or "none"}')
  text += [
    f'{split}: not all were asked the same tasks, so their rates do not compare'
    for split in splits
    if len(asked[split]) > 1
  ]
  return '\n'.join(text)


if __name__ == '__main__':
  cli.run(quickstart)
