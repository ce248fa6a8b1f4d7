r"""How fast rows are read, and how long training waits for them.

python -m early_experience.benchmark loader --config=configs/quickstart.py \
    --workdir=WORKDIR

WORKDIR must be prepared. Its rows are read by one process as fast as they
come; then the config's first stage is trained on them for a while.
"""

import copy
import itertools
import json
import pathlib
import tempfile
import time

from absl import flags
from ml_collections import ConfigDict

from early_experience.config import checked
from early_experience.experience import loader
from early_experience.runtime import cli, stage
from early_experience.train import train
from early_experience.training import metrics

BATCHES = flags.DEFINE_integer('batches', 300, 'to read')
UPDATES = flags.DEFINE_integer('updates', 100, 'to train')


def main() -> None:
  cli.run(
    lambda config, workdir: run(config, workdir, BATCHES.value, UPDATES.value)
  )


@checked
def run(
  config: ConfigDict, workdir: str, batches: int, updates: int
) -> dict[str, float]:
  """Prints and returns rows a second, tokens a second, and the share of waits.

  Args:
    config: the rows of its first training stage are read.
    workdir: where they were prepared.
    batches: to read.
    updates: to train.

  Raises:
    UserError: the rows are not prepared.
  """
  prepared = stage.require(workdir, 'prepare').absolute()
  rate, row_tokens = _read(config, workdir, batches)
  share, seconds = _train(config, prepared, updates)
  found = {
    'rows_per_s': rate,
    'tokens_per_s': rate * row_tokens,
    'data_wait_share': share,
  }
  print(
    f'loader: {found["rows_per_s"]:,.0f} rows/s = {found["tokens_per_s"]:,.0f}'
    f' tokens/s a process, over {batches} batches of {config.train.batch_rows}'
    f' rows of {row_tokens}'
  )
  print(
    f'training waits for data {share:.2%} of its time: {updates} updates of'
    f' {1000 * seconds / updates:.0f} ms'
  )
  return found


def _read(config, workdir, batches):
  """Rows a second, and the tokens of a row."""
  shares = config.train.stages[0].rows.to_dict()
  rows = {
    name: loader.open_rows(workdir, name)
    for name, share in shares.items()
    if share > 0
  }
  source = loader.batches(
    rows, shares, seed=config.seed, batch_rows=config.train.batch_rows
  )
  next(source)  # its threads have started
  start = time.perf_counter()
  for last in itertools.islice(source, batches):
    row_tokens = last['tokens'].shape[1]
  seconds = time.perf_counter() - start
  return batches * config.train.batch_rows / seconds, row_tokens


def _train(config, prepared, updates):
  """The share of the time that training waited, and the time."""
  config = copy.deepcopy(config)
  with config.unlocked():
    config.name = 'loader'
    config.train.stages = config.train.stages[:1]
    config.train.stages[0].steps = updates
    config.train.stages[0].warmup_steps = 0  # there may be fewer updates
    config.train.log_every_steps = updates
  with tempfile.TemporaryDirectory() as folder:
    workdir = pathlib.Path(folder)
    (workdir / 'prepare').symlink_to(prepared)
    train(config, folder)
    text = (workdir / 'train' / 'loader' / metrics.METRICS).read_text(
      encoding='utf-8'
    )
  lines = [json.loads(line) for line in text.splitlines()]
  seconds, waited = 0.0, 0.0
  for line in lines:
    waited += line['data_wait_share'] * (line['seconds'] - seconds)
    seconds = line['seconds']
  return waited / seconds, seconds
