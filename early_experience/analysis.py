"""Runs as tables and figures, for notebooks.

Needs the extra `notebooks` (pandas, matplotlib), which nothing else imports.
"""

import dataclasses
import os
import pathlib
import typing
from collections.abc import Sequence

from early_experience.experience import records
from early_experience.experience.render import OBJECTIVES
from early_experience.reporting import bookkeeping, report_data, results
from early_experience.runtime import stage
from early_experience.runtime.errors import UserError, need_extra
from early_experience.sweeps import table

if typing.TYPE_CHECKING:
  import pandas as pd
  from matplotlib.figure import Figure

ALL_TYPES = 'all'


@dataclasses.dataclass(frozen=True)
class Runs:
  """Several workdirs side by side; `run` names the workdir in every table.

  Attributes:
    results: a row for each run, policy, split and task type (`all`: every
      type together): count, n tasks that were asked, of which set_aside count
      as not solved, rate, low, high (95% interval), and the panel; rates of a
      split compare where its text is the same.
    world_models: a row for each policy that was asked: states, exact-match
      rate of n outcomes, low, high, and nll in nats a token.
    curves: a row for each log line and objective: step, nll, tokens.
    tokens: a row for each set of rows: flat and tree tokens and their ratio.
  """

  results: 'pd.DataFrame'
  world_models: 'pd.DataFrame'
  curves: 'pd.DataFrame'
  tokens: 'pd.DataFrame'


@dataclasses.dataclass(frozen=True)
class Experience:
  """The trees of one workdir.

  Attributes:
    states: a row for each expert state: task_id, step, observation, the
      expert's thought, action, its outcome and that one's summary, and how many
      admissible actions, alternatives and rationales it has.
    branches: a row for each alternative, with its outcome and summary.
    rationales: a row for each rationale.
    left_out: a row for each task that the expert failed (of `collect`) or that
      was set aside (of `evaluate/NAME` too), and each rationale that was
      dropped (with its step): stage, task_id, step, reason, text (the error, or
      the rationale).
    counts: a row for each number of the stages' summaries: stage, what, value.
    answers: of language models, by model and prompt: answers, tokens.
  """

  states: 'pd.DataFrame'
  branches: 'pd.DataFrame'
  rationales: 'pd.DataFrame'
  left_out: 'pd.DataFrame'
  counts: 'pd.DataFrame'
  answers: 'pd.DataFrame'


def load_runs(sweep: str) -> 'pd.DataFrame':
  """The runs of a sweep: a row for each, whatever it has done so far.

  Args:
    sweep: workdir of `launch/sweep.py`; `table.rows` has the columns.

  Raises:
    UserError: it holds no sweep, a file is damaged, or the extra `notebooks`
      is missing.
  """
  return _pandas().DataFrame(table.rows(sweep))


def load_workdirs(workdirs: str | Sequence[str]) -> Runs:
  """Reads what several runs have measured.

  Args:
    workdirs: folders of runs; a table stays empty where no stage filled it.

  Raises:
    UserError: a folder does not exist, a file is damaged, or the extra
      `notebooks` is missing.
  """
  pd = _pandas()
  named = list(_named(workdirs))

  def rows(read):
    return [{'run': run, **row} for run, path in named for row in read(path)]

  interval = ['rate', 'low', 'high']
  key = ['run', 'policy']
  split = ['split', 'panel', 'task_type', 'count', 'n', 'set_aside']
  tokens = ['run', 'name', 'layout', 'flat_tokens', 'tree_tokens', 'ratio']
  return Runs(
    _table(pd, rows(_results), [*key, *split, *interval]),
    _table(pd, rows(_worlds), [*key, 'states', 'nll', 'n', *interval]),
    _table(pd, rows(_curves), [*key, 'step', 'objective', 'nll', 'tokens']),
    _table(pd, rows(_tokens), tokens),
  )


def load_experience(workdir: str) -> Experience:
  """Reads all trees of the last stage that made any.

  Raises:
    UserError: nothing was collected, a record is damaged, or the extra
      `notebooks` is missing.
  """
  pd = _pandas()
  folder = report_data.experience_folder(workdir)
  if folder is None:
    stage.require(workdir, 'collect')
  states, branches, rationales = [], [], []
  for trajectory in records.read(folder):
    for number, step in enumerate(trajectory.steps):
      key = {'task_id': trajectory.task_id, 'step': number}
      states.append(
        {
          **key,
          'task_type': trajectory.task_type,
          'observation': step.observation,
          'thought': step.thought,
          'action': step.action,
          'outcome': trajectory.outcome(number),
          'summary': step.summary,
          'admissible': None
          if step.admissible is None
          else len(step.admissible),
          'alternatives': len(step.alternatives),
          'rationales': len(step.rationales),
        }
      )
      branches += [{**key, **vars(one)} for one in step.alternatives]
      rationales += [{**key, **vars(one)} for one in step.rationales]
  key = ['task_id', 'step']
  action = ['action', 'observation', 'done', 'valid', 'proposer', 'summary']
  out = ['stage', *key, 'reason', 'text']
  answers = ['model', 'prompt', 'answers', 'tokens_in', 'tokens_out']
  return Experience(
    _table(pd, states, key),
    _table(pd, branches, [*key, *action]),
    _table(pd, rationales, [*key, 'text', 'compared', 'writer']),
    _table(pd, list(bookkeeping.left_out(workdir)), out),
    _table(pd, list(bookkeeping.counts(workdir)), ['stage', 'what', 'value']),
    pd.DataFrame(bookkeeping.answers(workdir), columns=answers),
  )


def plot_results(runs: Runs) -> 'Figure':
  """Success rates with 95% intervals, a panel for each split.

  Beside a rate stands what was set aside, counted as not solved; above those
  of a split, whether they are of other tasks, and do not compare.
  """
  results = runs.results[runs.results.task_type == ALL_TYPES]
  splits = list(dict.fromkeys(results.split))
  labels = list(dict.fromkeys(zip(results.run, results.policy, strict=True)))
  figure, panels = _panels(len(splits), 1.0 + 0.35 * len(labels))
  for axes, split in zip(panels, splits, strict=True):
    for row in results[results.split == split].itertuples():
      reach = [[row.rate - row.low], [row.high - row.rate]]
      axes.errorbar(
        row.rate,
        labels.index((row.run, row.policy)),
        xerr=reach,
        fmt='o',
        capsize=3,
        color=f'C{labels.index((row.run, row.policy)) % 10}',
      )
      if row.set_aside:
        place = row.high + 0.02, labels.index((row.run, row.policy))
        aside = f'{row.set_aside} of {row.n} set aside'
        axes.annotate(aside, place, va='center', fontsize='small')
    title = f'{split} tasks'
    if results[results.split == split].panel.nunique() > 1:
      title += '\n(not the same for all: they do not compare)'
    axes.set(title=title, xlim=(-0.02, 1.02), xlabel='success rate')
    names = [' · '.join(each) for each in labels]
    axes.set_yticks(range(len(labels)), names if axes is panels[0] else [])
    axes.set_ylim(len(labels) - 0.5, -0.5)
  return figure


def plot_curves(runs: Runs) -> 'Figure':
  """Learning curves, a panel for each objective that was trained."""
  curves = runs.curves
  objectives = [o for o in OBJECTIVES if o in set(curves.objective)]
  labels = list(dict.fromkeys(zip(curves.run, curves.policy, strict=True)))
  figure, panels = _panels(len(objectives), 3.0)
  for axes, objective in zip(panels, objectives, strict=True):
    some = curves[curves.objective == objective]
    for label, line in some.groupby(['run', 'policy'], sort=False):
      color = f'C{labels.index(label) % 10}'
      axes.plot(line.step, line.nll, color=color, label=' · '.join(label))
    axes.set(title=objective.replace('_', ' '), xlabel='updates')
    axes.set_ylabel('nats per token')
    axes.legend(frameon=False, fontsize='small')
  return figure


def _results(workdir):
  for policy, summary in results.evaluations(workdir).items():
    for split, one in summary['splits'].items():
      for task_type, rate in {
        ALL_TYPES: one['success'],
        **one['by_type'],
      }.items():
        key = {'policy': policy, 'split': split, 'task_type': task_type}
        yield {**key, 'panel': one['panel'], **rate}


def _worlds(workdir):
  for policy, summary in results.evaluations(workdir).items():
    if world := summary.get('world_model'):
      match = world['exact_match']
      yield {
        'policy': policy,
        'states': world['states'],
        'nll': world['nll'],
        **{name: match[name] for name in ('n', 'rate', 'low', 'high')},
      }


def _curves(workdir):
  for policy in results.policies(workdir, 'train'):
    for line in report_data.metrics(workdir, policy):
      for objective in OBJECTIVES:
        if line.get(f'{objective}/nll') is not None:
          yield {
            'policy': policy,
            'step': line['step'],
            'objective': objective,
            'nll': line[f'{objective}/nll'],
            'tokens': line.get(f'{objective}/tokens'),
          }


def _tokens(workdir):
  prepared = stage.finished(pathlib.Path(workdir) / 'prepare')
  for name, row in prepared['rows'].items() if prepared else ():
    scored = row.get('scored', {})
    yield {
      'name': name,
      **{key: value for key, value in row.items() if key != 'scored'},
      **{f'scored_{one}': scored.get(one, 0) for one in OBJECTIVES},
    }


def _panels(count, height):
  try:
    from matplotlib import pyplot
  except ImportError:
    raise need_extra('matplotlib', 'notebooks') from None
  if not count:
    raise UserError('nothing to plot: these runs have no such stage finished')
  figure, panels = pyplot.subplots(
    1,
    count,
    figsize=(4.2 * count, height),
    squeeze=False,
    layout='constrained',
  )
  for axes in panels[0]:
    axes.spines[['top', 'right']].set_visible(False)
  return figure, panels[0]


def _named(workdirs):
  """Pairs of a short name and a workdir; whole paths where names collide."""
  if isinstance(workdirs, str | os.PathLike):
    workdirs = [workdirs]
  paths = [pathlib.Path(workdir) for workdir in dict.fromkeys(workdirs)]
  names = [path.resolve().name for path in paths]
  for path, name in zip(paths, names, strict=True):
    if not path.is_dir():
      raise UserError(f'{path} does not exist')
    yield str(path) if names.count(name) > 1 else name, path


def _table(pd, rows, columns):
  """A frame that has its columns even where it has no rows."""
  extra = [key for key in (rows[0] if rows else ()) if key not in columns]
  return pd.DataFrame(rows, columns=[*columns, *extra])


def _pandas():
  try:
    import pandas
  except ImportError:
    raise need_extra('pandas', 'notebooks') from None
  return pandas
