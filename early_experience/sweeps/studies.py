"""What a sweep over seeds says: a row for each setting, with intervals.

A run is one seed: its own demonstrations, where they are shuffled, its own
parameters and batches. Every run is asked the same tasks.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Hashable, Sequence

import numpy as np

from early_experience.evaluation import panel, statistics
from early_experience.reporting import results
from early_experience.runtime.errors import UserError
from early_experience.sweeps import costs
from early_experience.sweeps.folder import ROUND, homes, runs_of

SEED = 'seed'
# Overrides that say how long and how fast is learnt, not from what.
_BUDGETS = ('train.', 'budget.')
_OWN_ROWS = 'prepare.rows.'  # of a recipe; others are not made of them
_OF_RL = 'rl.'  # overrides of what comes after training
# How many samples of a decision there are, and who judges them: one, nobody.
_WAYS = {'samples': 1, 'look_ahead': False}
# What evaluation counts of a split beside success, and its column.
_SEEN = {
  'flawless': 'flawless',
  'invalid_rate': 'invalid',
  'repeat_rate': 'repeated',
}


@dataclasses.dataclass(frozen=True)
class Run:
  """One finished run of a sweep, or a round of it.

  Attributes:
    folder: its workdir.
    policy: name of its evaluation, without the panel.
    overrides: {key: value}, the seed and the round among them.
    before: the policy that reinforcement learning went on from; '' where it is
      trained alone.
  """

  folder: pathlib.Path
  policy: str
  overrides: dict[str, object]
  before: str = ''

  @property
  def reference(self) -> str:
    """Whom it is compared with: imitation, after the same stages."""
    found = results.REFERENCE
    return panel.after_rl(found) if self.before else found

  @property
  def setting(self) -> tuple:
    """What it shares with the runs of other seeds: pairs of key and value."""
    others = self._overrides().items()
    shown = ((k, v if isinstance(v, Hashable) else str(v)) for k, v in others)
    return (('policy', self.policy), *(x for x in shown if x[0] != SEED))

  @property
  def whole(self) -> tuple:
    """What it shares with other recipes, too."""
    return _hashable(self._others())

  @property
  def beside(self) -> tuple:
    """Likewise, whatever the budget and the recipe's own rows."""
    return self._without((*_BUDGETS, _OF_RL, _OWN_ROWS))

  @property
  def trained(self) -> tuple:
    """What it shares with what `rl` made otherwise, from the same training."""
    return self._without(_OF_RL)

  @property
  def round(self) -> int | None:
    return self.overrides.get(ROUND)

  @property
  def home(self) -> pathlib.Path:
    """The workdir of all its rounds."""
    return self.folder.parent if self.round else self.folder

  @property
  def in_rounds(self) -> tuple:
    """What it shares with other rounds."""
    return self.policy, self._without((ROUND,))

  def _without(self, prefixes):
    others = self._others().items()
    return _hashable({k: v for k, v in others if not k.startswith(prefixes)})

  def _others(self):
    known, others = (SEED, 'recipe'), self._overrides().items()
    return {k: v for k, v in others if k not in known}

  def _overrides(self):
    """Those that it depends on."""
    every = self.overrides.items()
    return {k: v for k, v in every if self.before or not k.startswith(_OF_RL)}


def _hashable(settings):
  return tuple(sorted((key, str(value)) for key, value in settings.items()))


def rows(runs: Sequence[Run]) -> list[dict]:
  """A row for each setting and split.

  Keys: `policy`, the overrides but the seed, `split` (`seen:test` of the test
  panel), `seeds`, `tasks`; `success`, `low`, `high`; `by_seed`: percent
  that each solved; `flawless`: tasks solved without a rejected action;
  `invalid`: share of the actions that were rejected; `repeated`: of these, that
  the policy said again at once; `outcomes`: held-out ones foretold word for
  word; `updates`, `tokens` (of rows, with context), `flops`, `minutes` of
  training and `nll`, nats a token of the expert's actions at its end, or of
  `rl` `updates`, `env_steps` and `minutes`, means over seeds;
  where `results.REFERENCE` was trained beside: `ahead`, `ahead_low`,
  `ahead_high` of what it came to after the same stages with the budget that was
  best for it in this split, which `against` names and `against_success` has;
  and likewise `gained`, on the policy that `rl` went on from, `added`, by
  overrides of `rl` to what it came to without them, and `since`, on the first
  round.

  Raises:
    UserError: runs of one setting were asked different tasks.
  """
  groups = collections.defaultdict(list)
  for run in runs:
    groups[run.setting].append(run)
  solved = {setting: _solved(some) for setting, some in groups.items()}
  found = []
  for setting, some in groups.items():
    first, spent = some[0], costs.of(some)
    for split, by_seed in solved[setting].items():
      won_ST = _table(by_seed)
      rate = statistics.rate_of(won_ST)
      row = {
        **dict(setting),
        'split': split,
        'seeds': len(by_seed),
        'tasks': len(next(iter(by_seed.values()))),
        'success': rate.rate,
        'low': rate.low,
        'high': rate.high,
        # Seeds of two kinds have the interval of seeds that are spread out.
        'by_seed': ' '.join(f'{100 * r:.0f}' for r in won_ST.mean(1)),
        **_seen(some, split),
        **spent,
      }
      others = [
        (some[0], solved[setting][split])
        for setting, some in groups.items()
        if split in solved[setting]
      ]
      found.append(row | _against(first, by_seed, others))
  return found


def _against(run, by_seed, others):
  """How far it is ahead of imitation, and what it gained by `rl` or rounds.

  Args:
    run: one of the setting.
    by_seed: {seed: {task: whether it was solved}} of a split.
    others: a run of every setting, with the same of it.
  """
  found = {}
  for other, theirs in others:
    if other.policy == run.before and other.whole == run.trained:
      found |= _gap('gained', by_seed, theirs)
    if other.policy == run.policy and other.whole == run.trained != run.whole:
      found |= _gap('added', by_seed, theirs)
    if other.in_rounds == run.in_rounds and other.round == 1 != run.round:
      found |= _gap('since', by_seed, theirs)
  rivals = []
  for other, theirs in others:
    shared = {seed: theirs[seed] for seed in by_seed if seed in theirs}
    like = other.policy == run.reference and other.beside == run.beside
    if like and shared:
      success = float(np.mean(_table(shared)))
      rivals.append(((len(shared), success), other, shared))
  if rivals and run.policy != run.reference:
    # Of what has run on the most of its seeds, the best on them.
    (_, success), other, shared = max(rivals, key=lambda rival: rival[0])
    if gap := _gap('ahead', by_seed, shared):
      budget = [f'{k} {v}' for k, v in other.whole if k.startswith(_BUDGETS)]
      name = other.policy + (f' ({", ".join(budget)})' if budget else '')
      found |= gap | {'against': name, 'against_success': success}
  return found


def read(workdir) -> list[Run]:
  """The evaluated runs of a sweep.

  Raises:
    UserError: there is no sweep, or none was evaluated.
  """
  found = []
  for run in runs_of(workdir):
    for home, overrides in homes(workdir, run):
      found += _of(home, run['policy'], overrides)
  if not found:
    raise UserError(f'{workdir}: no run of this sweep was evaluated yet')
  return found


def _of(folder, policy, overrides):
  """What was evaluated of a workdir: what training made, and then `rl`."""
  each = results.evaluations(folder).items()
  names = {summary.get('name', name) for name, summary in each}
  for name, before in ((policy, ''), (panel.after_rl(policy), policy)):
    if name in names:
      yield Run(folder, name, overrides, before)


def _evaluated(run):
  """(split with its panel, split, folder's name, summary) of a run.

  Where an evaluation let more samples decide than the run's own overrides say,
  that is said, too.
  """
  own = [
    run.overrides.get(f'evaluate.{key}', one) for key, one in _WAYS.items()
  ]
  for name, summary in results.evaluations(run.folder).items():
    if summary.get('name', name) == run.policy:
      how = summary.get('settings', {})
      which = summary.get('panel', panel.ALL)
      if [how.get(key, one) for key, one in _WAYS.items()] != own:
        which = name.removeprefix(f'{run.policy}-')
      for split in summary['splits']:
        label = split if which == panel.ALL else f'{split}:{which}'
        yield label, split, name, summary


def _solved(runs):
  """{split: {seed: {task: whether it was solved}}}."""
  found = collections.defaultdict(dict)
  for run in runs:
    seed = run.overrides.get(SEED, 0)
    for label, split, name, _ in _evaluated(run):
      asked = results.panels(run.folder, [name])[name][split]
      won = {
        record['task_id']
        for record in results.rollouts(run.folder, name)
        if record['split'] == split and record['success']
      }
      found[label][seed] = {task: task in won for task in sorted(asked)}
  for label, by_seed in found.items():
    if len({tuple(tasks) for tasks in by_seed.values()}) > 1:
      raise UserError(
        f'{runs[0].folder.parent}: seeds of {dict(runs[0].setting)} were asked'
        f' different {label} tasks'
      )
  return found


def _table(by_seed):
  tables = by_seed.values()
  return np.array([list(tasks.values()) for tasks in tables], float)


def _gap(key, mine, others):
  """The difference, paired on seeds and tasks; where seeds differ, on none."""
  seeds = [seed for seed in mine if seed in others]
  if not seeds or mine[seeds[0]].keys() != others[seeds[0]].keys():
    return {}
  tasks = list(mine[seeds[0]])
  mine_ST, others_ST = (
    [[table[seed][task] for task in tasks] for seed in seeds]
    for table in (mine, others)
  )
  gap = statistics.difference_of(mine_ST, others_ST)
  return {key: gap.rate, f'{key}_low': gap.low, f'{key}_high': gap.high}


def _seen(runs, label):
  """Means over seeds of what evaluation saw beside success."""
  splits, exact = [], []
  for run in runs:
    for one, split, _, summary in _evaluated(run):
      if one == label:
        splits.append(summary['splits'][split])
        if world := summary.get('world_model'):
          exact.append(world['exact_match']['rate'])
  means = {
    column: costs.mean([one[key] for one in splits])
    for key, column in _SEEN.items()
  }
  return means | {'outcomes': costs.mean(exact)}
