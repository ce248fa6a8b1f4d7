"""The loop: sample groups, weigh them, update; saved, logged, gone on with.

An iteration's episodes are a file of the run before anything is learnt from
them, and the file is whole or absent. So a run that was killed reads what there
is, samples the rest as it would have been, and makes the same updates.
"""

import functools
import io
import json
import math
import pathlib
import sys
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from early_experience.envs.interface import Task
from early_experience.evaluation import statistics
from early_experience.experience import loader
from early_experience.model import sharding, table
from early_experience.model.config import ModelConfig
from early_experience.reinforcement import (
  advantages,
  asking,
  batches,
  counts,
  sampling,
  scoring,
)
from early_experience.reinforcement import rows as rows_lib
from early_experience.reinforcement.log import Log
from early_experience.reinforcement.questions import Question
from early_experience.runtime import distributed, files
from early_experience.runtime.errors import UserError
from early_experience.runtime.progress import Progress
from early_experience.tokenizers.interface import Tokenizer
from early_experience.training import (
  initial,
  optimizer,
  surrogate,
  train_step,
)
from early_experience.training.checkpoint import Checkpoints, Position
from early_experience.training.train_step import TrainState

ROLLOUTS = 'rollouts'


class Run:
  """A run, from where it stands to its end.

  Args:
    config: all of it.
    stage: of `config.rl`, as a stage of training.
    cfg, source: of the model, from `initial.resolve`.
    tokenizer: of the model.
    mixed: row sets of the prepared rows that are in every update.
    mesh: from `make_mesh`.

  Raises:
    UserError: a setting is out of range.
  """

  def __init__(
    self,
    config: ConfigDict,
    stage: ConfigDict,
    cfg: ModelConfig,
    source: dict,
    tokenizer: Tokenizer,
    mixed: dict[str, loader.Rows],
    mesh: Mesh,
  ):
    self._config, self._rl, self._stage = config, config.rl, stage
    self._cfg, self._source, self._tokenizer = cfg, source, tokenizer
    self._mixed, self._mesh = mixed, mesh
    dtype = config.train.optimizer_dtype
    self._tx = optimizer.make_optimizer(stage, cfg, dtype)
    self._like = train_step.abstract_state(cfg, self._tx, mesh)
    self._row_tokens = self._rl.row_tokens or cfg.max_tokens
    self._scorer = scoring.Scorer(
      cfg,
      tokenizer.vocab_size,
      mesh,
      self._rl.batch_rows,
      self._rl.importance_cap,
    )
    policy = surrogate.from_config(self._rl, tokenizer.vocab_size)
    self._step = functools.cache(
      functools.partial(
        train_step.make_train_step, cfg, self._tx, stage, policy=policy
      )
    )
    self._step(1)  # what is wrong with its schedules shows before it samples

  def to_the_end(
    self,
    folder: pathlib.Path,
    checkpoints: Checkpoints,
    sampler: sampling.Sampler | asking.Asker,
    tasks: list[Task] | list[Question],
    panel: list[Task] | list[Question],
    leaves: Callable[[int], type[BaseException] | None],
  ) -> dict:
    """Learns; returns the summary.

    Args:
      folder: of the run.
      checkpoints: in it.
      sampler: plays tasks, or asks questions.
      tasks: to learn from.
      panel: played every so often.
      leaves: of `distributed.preemption`.

    Raises:
      UserError: no episode can be played, or a reward or the loss is not a
        number.
      Preempted, Interrupted: as it was told; the state is saved.
    """
    self._folder, self._sampler = folder, sampler
    rl, name = self._rl, self._config.name
    state, position = self._begin(checkpoints)
    progress = Progress(
      f'rl {name}',
      rl.iterations,
      'iterations',
      position.total,
      stream=None if distributed.is_first() else io.StringIO(),
    )
    with Log(folder, position.total) as log:
      for iteration in range(position.total, rl.iterations):
        line = self._measured(state, panel, iteration)
        chosen = sampling.drawn(tasks, rl.tasks, iteration, self._config.seed)
        records, seconds = self._records(state, chosen, iteration)
        line |= counts.of_episodes(records, rl) | {'seconds_sampling': seconds}
        start = time.perf_counter()
        state, position, learnt = self._learn(state, position, records)
        line |= learnt | {'seconds_training': time.perf_counter() - start}
        log.write(iteration, position.step, line)
        leave = leaves(position.total)
        last = position.total == rl.iterations
        if last or leave or not position.total % rl.checkpoint_every:
          checkpoints.save(state, position)
        if leave and not last:
          raise leave(position.step)
        progress.update(note=f'{line["success/rate"]:.0%} of episodes solved')
      line = self._measured(state, panel, rl.iterations)
      if line:
        log.write(rl.iterations, position.step, line)
      lines = log.lines
    progress.close()
    return counts.summary(self._config.name, position, lines)

  def _begin(self, checkpoints) -> tuple[TrainState, Position]:
    """Where the run stands; and, apart, what it began with."""
    params = initial.params(
      self._source, self._cfg, self._mesh, self._config.seed
    )
    trained, frozen = table.split(params, self._cfg)
    # A copy: the step takes over the memory of what it is given.
    copy = lambda tree: jax.tree.map(jnp.copy, tree)
    self._start = copy(trained) if self._rl.keep_start else None
    like = self._like.replace(frozen=frozen)
    restored = checkpoints.restore(like, self._mesh)
    if restored is not None:
      return restored
    state = train_step.new_state(params, self._cfg, self._tx, self._mesh)
    return state, Position()

  def _measured(self, state, panel, iteration):
    """Success on the panel, before an iteration of its turn, and at the end."""
    rl = self._rl
    if not panel or iteration % rl.panel_every and iteration < rl.iterations:
      return {}
    start = time.perf_counter()
    found = self._sampler.panel_records(self._params(state), panel)
    solved = sum(record['success'] for record in found)
    rate = counts.interval('panel', statistics.wilson(solved, len(panel)))
    return rate | {'seconds_panel': time.perf_counter() - start}

  def _params(self, state):
    return table.merge(state.params, state.frozen)

  def _records(self, state, tasks, iteration):
    """The episodes of an iteration, sampled unless they are there already."""
    path = self._folder / ROLLOUTS / f'iteration-{iteration:06d}.jsonl'
    start = time.perf_counter()
    if distributed.all_agree(path.exists()):
      return [record for _, record in files.read_objects(path)], 0.0
    found = self._sampler.group_records(
      self._params(state), tasks, self._rl.group, iteration
    )
    failed = [record for record in found if 'reason' in record]
    if len(failed) == len(found):
      raise UserError(
        f'none of the {len(found)} episodes of iteration {iteration} worked;'
        f' the first error: {failed[0]["reason"]}: {failed[0]["error"]}'
      )
    if distributed.is_first():
      files.write_atomic(
        path, ''.join(json.dumps(r, ensure_ascii=False) + '\n' for r in found)
      )
    distributed.barrier()  # nobody learns from what is not kept
    return found, time.perf_counter() - start

  def _learn(self, state, position, records):
    """The updates of an iteration; and what they say of the policy."""
    rl, iteration = self._rl, position.total
    groups = advantages.of_groups(records, rl)
    line = {'groups_even': len(groups.even), 'groups_failed': groups.failed}
    learnt = groups.kept + (groups.even if rl.observations else [])
    parts = [learnt[i :: rl.minibatches] for i in range(rl.minibatches)]
    made = [self._rows(part) for part in parts if part]
    made = [one for one in made if one.rows]  # longer than any row are dropped
    done = Position(0, position.step, iteration + 1)
    if not made:
      if distributed.is_first():
        why = counts.no_update(groups, records)
        if learnt:
          why += '; no row holds what the others were told'
        print(
          f'rl {self._config.name}: iteration {iteration} {why}',
          file=sys.stderr,
        )
      return state, done, line
    scored = batches.Scores()
    start = self._start and table.merge(self._start, state.frozen)
    for one in made:
      self._scorer.add(one.rows, self._params(state), start, scored)
    line |= scored.line() | batches.tokens(made)
    mixed = self._mixed_rows(position.step)
    values = []
    for one in made * rl.epochs:
      rows = [*one.rows, *(next(mixed) if mixed else ())]
      state, found = self._update(state, rows)
      values.append(found)
      self._check(values[-1], iteration)
    updates = position.step + len(values)
    line |= batches.of_updates(values)
    return state, Position(0, updates, iteration + 1), line

  def _rows(self, groups):
    return rows_lib.make(
      groups,
      self._tokenizer,
      self._row_tokens,
      self._config.prepare.layout,
      self._rl.observations,
      self._rl.group if self._rl.ratio == 'sequence' else 0,
    )

  def _update(self, state, rows):
    size = self._rl.batch_rows
    parts = batches.rounded(-(-len(rows) // size))
    batch = sharding.put_batch(batches.stack(rows, parts * size), self._mesh)
    state, values = self._step(parts)(state, batch)
    return state, jax.device_get(values)

  def _mixed_rows(self, updates) -> Iterator[list[dict]] | None:
    """Prepared rows for each update from here on; None where there are none."""
    if not self._mixed:
      return None
    source = loader.batches(
      self._mixed,
      self._rl.rows.to_dict(),
      seed=self._config.seed,
      batch_rows=self._rl.mixed_rows,
      start_step=updates,
    )
    unstacked = lambda batch: [
      {key: value[i] for key, value in batch.items()}
      for i in range(self._rl.mixed_rows)
    ]
    return map(unstacked, source)

  def _check(self, values, iteration):
    for what in ('loss', 'grad_norm'):
      if not math.isfinite(values[what]):
        raise UserError(
          f'{what} is {float(values[what])} in iteration {iteration} of'
          f' {self._folder}; its episodes and the last checkpoint are kept:'
          ' lower config.rl.lr_peak or clip_norm, and learn under another'
          ' --config.name'
        )
