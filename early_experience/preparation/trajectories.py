"""Trajectories of this run, as rows are made of them."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from ml_collections import ConfigDict

from early_experience.experience import records, render
from early_experience.preparation.interface import Group, Source
from early_experience.runtime import stage
from early_experience.runtime.errors import UserError
from early_experience.tokenizers.interface import Tokenizer


class Trajectories(Source):
  """Episodes with their branches and rationales, a group each."""

  unit, pack = 'trajectories', 512

  def __init__(self, workdir, settings: ConfigDict, summarised: bool):
    self.folder = stage.require(workdir, _stage(settings.rows, summarised))
    self._rows, self._style = settings.rows, settings.world_model
    self._held_out = 0

  def split(self, share: float, seed: int) -> list[str]:
    every = list(records.read(self.folder))
    # Of experts alone, so that they are the same in all rounds.
    experts = [i for i, t in enumerate(every) if t.by_expert]
    order = np.random.default_rng(seed).permutation(len(experts))
    count = round(share * len(experts))
    held_out = {experts[place] for place in order[:count].tolist()}
    self._training = [t for i, t in enumerate(every) if i not in held_out]
    if not self._training:
      raise UserError(
        f'config.prepare.held_out = {share} leaves none of {len(every)}'
        ' trajectories to train on'
      )
    self._check_recovery()
    self._held_out = len(held_out)
    return [every[i].task_id for i in sorted(held_out)]

  def _check_recovery(self):
    """Whether it is known behind which others the expert is still right."""
    wanted = [n for n, r in self._rows.items() if 'recovery' in r.datasets]
    steps = (step for t in self._training for step in t.steps)
    unknown = (a.rejoins is None for s in steps for a in s.alternatives)
    if wanted and all(unknown):
      raise UserError(
        f'config.prepare.rows.{wanted[0]} has recovery, and no alternative says'
        ' whether it rejoins: explore with config.explore.rejoin=True'
      )

  def thinks(self) -> bool:
    thoughts = [step.thought for t in self._training for step in t.steps]
    return 2 * sum(map(bool, thoughts)) > len(thoughts)

  def count(self) -> dict:
    counts = {'train': len(self._training), 'held_out': self._held_out}
    return {'trajectories': counts}

  def size(self, rows: ConfigDict) -> int:
    return len(self._training)

  def texts(self) -> Iterator[str]:
    for trajectory in self._training:
      yield trajectory.instruction
      yield trajectory.final_observation
      for step in trajectory.steps:
        yield step.observation
        yield step.action
        if step.advice is not None:
          yield step.advice
        if step.thought is not None:
          yield step.thought
        for other in step.alternatives:
          yield other.action
          yield other.told
        if step.summary is not None:
          yield step.summary
        for rationale in step.rationales:
          yield rationale.text

  def pick(self, which: str, rows: ConfigDict, coder: Tokenizer) -> Group:
    every = self._training
    for number, trajectory in enumerate(every, start=1):
      if which in (str(number), trajectory.task_id):
        return self._group(trajectory, rows, coder)
    raise UserError(
      f'there is no {which!r} among {len(every)} trajectories to train on: give'
      f' a number from 1, or a task such as {every[0].task_id}'
    )

  def groups(self, rows: ConfigDict, coder: Tokenizer) -> Iterator[Group]:
    for trajectory in self._training:
      yield self._group(trajectory, rows, coder)

  def _group(self, trajectory, rows, coder):
    made = scripts(
      _by(trajectory, rows.get('proposers', ())),
      rows.datasets,
      rows.get('k', 0),
      self._style,
    )
    sequences = [s for script in made for s in coder.encode_script(script)]
    return Group(f'task {trajectory.task_id}', sequences)


def scripts(
  trajectory: records.Trajectory,
  datasets: Sequence[str],
  k: int,
  style: str,
) -> list[render.Script]:
  """The scripts of all the named datasets for one trajectory."""
  result = []
  if 'imitation' in datasets:
    result += render.imitation(trajectory)
  if 'world_model' in datasets:
    result += render.world_model(trajectory, k, style)
  if 'reflection' in datasets:
    result += render.reflection(trajectory)
  if 'recovery' in datasets:
    result += render.recovery(trajectory, k)
  return result


def _by(trajectory, proposers):
  """The trajectory with the alternatives of some proposers alone."""
  if not proposers:
    return trajectory
  steps = tuple(
    dataclasses.replace(
      step,
      alternatives=tuple(
        other for other in step.alternatives if other.is_by(proposers)
      ),
    )
    for step in trajectory.steps
  )
  return dataclasses.replace(trajectory, steps=steps)


def _stage(row_sets, summarised):
  """The stage that holds all that the rows need."""
  if any('reflection' in r.datasets for r in row_sets.values()):
    return 'reflect'
  if summarised and any('world_model' in r.datasets for r in row_sets.values()):
    return 'summarise'
  if any(r.get('k', 0) for r in row_sets.values()):
    return 'explore'
  return 'collect'
