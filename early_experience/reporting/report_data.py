"""What a workdir holds, gathered for a report as plain JSON-able values.

The page and the notebooks both read through here, so a number stands in one
place. A stage that has not run is absent, never an error.
"""

import hashlib
import heapq
import itertools
import json
import math
import pathlib

from early_experience.evaluation import panel
from early_experience.experience import records
from early_experience.experience.render import OBJECTIVES
from early_experience.reporting import chain, results, round_folders
from early_experience.runtime import files, stage
from early_experience.runtime.errors import UserError
from early_experience.training import log_lines

# Enough to look at and still small enough to open; the page says that these
# are samples.
TRAJECTORIES = 30
ROLLOUTS = 20  # of each policy and split
POINTS = 300  # of each learning curve

STAGES = ('collect', 'explore', 'summarise', 'reflect', 'prepare')


def gather(workdir, seed: int) -> dict:
  """All that the page shows.

  Args:
    workdir: folder of a run, whatever stages it has done.
    seed: of the samples of trajectories and rollouts.

  Raises:
    UserError: the folder does not exist, or a file in it is damaged; the
      message names the file and what it lacks.
  """
  workdir = pathlib.Path(workdir)
  if not workdir.is_dir():
    raise UserError(f'--workdir: {workdir} does not exist')
  summaries = results.evaluations(workdir)
  trained = results.policies(workdir, 'train')
  trained_on = results.policies(workdir, 'rl')
  learnt = {panel.after_rl(name): name for name in trained_on}
  names = list(dict.fromkeys([*summaries, *trained, *learnt]))
  asked = results.panels(workdir, summaries)
  rolled = {name: list(results.rollouts(workdir, name)) for name in summaries}
  places = {name: of.get('source', '') for name, of in summaries.items()}
  pairs = results.comparisons(asked, rolled, places)
  logs = {name: metrics(workdir, name) for name in trained}
  trees = experience(workdir, seed)
  row = chain.in_a_row(workdir, summaries, trained, learnt)
  starts = {one['policy']: one['start'] for one in row}
  sources = {trees['source']} if trees else set()
  sources |= {summary.get('source', '') for summary in summaries.values()}
  return {
    'workdir': workdir.resolve().name,
    'environment': trees['environment'] if trees else '',
    'sources': sorted(sources - {''}),
    'seed': seed,
    'objectives': OBJECTIVES,
    'policies': names,
    'stages': _stages(workdir, summaries, trained, learnt),
    'conclusions': results.conclusions(summaries, pairs, starts),
    'results': summaries,
    'paired': pairs,
    'samples': results.over_samples(summaries),
    'chain': row,
    'rounds': round_folders.over_rounds(workdir, summaries),
    'curves': {name: thin(log, POINTS) for name, log in logs.items()},
    'ends': {name: log_lines.end(log) for name, log in logs.items()},
    'reinforcement': {
      called: _sparse(metrics(workdir, name, 'rl'), POINTS)
      for called, name in learnt.items()
    },
    'tokens': results.summary_of(
      _newest(workdir) / 'prepare', ('tokenizer', 'rows')
    ),
    'trees': trees,
    'rollouts': {
      name: _sample_rollouts(asked[name], some, seed)
      for name, some in rolled.items()
    },
  }


def metrics(workdir, name: str, folder: str = 'train') -> list[dict]:
  """The log of one policy in `train/` or `rl/`; empty where it has none yet."""
  place = round_folders.stage_of(folder, name)
  path = pathlib.Path(workdir) / place / 'metrics.jsonl'
  lines = []
  for number, text in enumerate(_lines(path), start=1):
    try:
      line = json.loads(text)
      line['step'] + 0
    except (ValueError, TypeError, KeyError) as error:
      raise UserError(f'{path} line {number}: no metrics: {error}') from None
    lines.append(line)
  return lines


def experience(workdir, seed: int) -> dict | None:
  """A sample of the experience trees of the last stage that made any.

  Returns:
    `stage`, `total` trajectories there are, `environment`, `source`, and
    `sample`, records as JSON; None where nothing was collected.
  """
  folder = experience_folder(workdir)
  if folder is None:
    return None
  # Ranked as they are read: a run has more trajectories than memory.
  total, ranked = itertools.count(), records.read(folder)
  chosen = heapq.nsmallest(
    TRAJECTORIES, ((_rank(seed, t.task_id), next(total), t) for t in ranked)
  )
  sample = [trajectory for *_, trajectory in chosen]
  sample.sort(key=lambda trajectory: trajectory.task_id)
  return {
    'stage': folder.name,
    'total': next(total),
    'environment': sample[0].environment,
    'source': sample[0].source,
    'sample': [_without_admissible(trajectory) for trajectory in sample],
  }


def experience_folder(workdir) -> pathlib.Path | None:
  """Of the last finished stage that wrote trajectories, if any."""
  for name in ('reflect', 'summarise', 'explore', 'collect'):
    folder = _newest(workdir) / name
    if stage.finished(folder) is not None:
      return folder
  return None


def _newest(workdir):
  """The workdir; of rounds, that of the last one that made experience."""
  homes = [pathlib.Path(workdir, h) for h in round_folders.names(workdir)]
  done = [h for h in homes if stage.finished(h / 'explore') is not None]
  return done[-1] if done else pathlib.Path(workdir)


def thin(lines: list[dict], points: int) -> list[dict]:
  """At most `points` log lines, each the mean of a run of neighbours.

  A nats-per-token value is weighted by its tokens. Runs do not cross from one
  training stage into the next.
  """
  size = math.ceil(len(lines) / points) if lines else 1
  runs: list[list[dict]] = []
  for line in lines:
    same = runs and runs[-1][-1].get('stage') == line.get('stage')
    if same and len(runs[-1]) < size:
      runs[-1].append(line)
    else:
      runs.append([line])
  ends = [0, *(run[-1]['step'] for run in runs)]
  return [
    log_lines.mean(run, before) for run, before in zip(runs, ends, strict=False)
  ]


def _sparse(lines, points):
  """Some of many lines, the last ones, and all that measured the panel."""
  every = math.ceil(len(lines) / points) if lines else 1
  played = [i for i, line in enumerate(lines) if 'success/rate' in line]
  ends = {len(lines) - 1, *played[-1:]}
  return [
    line
    for i, line in enumerate(lines)
    if not i % every or i in ends or 'panel/rate' in line
  ]


def _sample_rollouts(asked, some, seed):
  """The same tasks for every policy, so that they can be compared."""
  sample = {}
  for split, tasks in asked.items():
    chosen = heapq.nsmallest(ROLLOUTS, tasks, key=lambda t: _rank(seed, t))
    there = {r['task_id']: r for r in some if r['split'] == split}
    sample[split] = {
      'total': len(there),
      'sample': [there[task] for task in sorted(chosen) if task in there],
    }
  return sample


def _stages(workdir, summaries, trained, learnt):
  """State, settings and summary of each stage, in the order of the loop."""
  named = [of.get('name', name) for name, of in summaries.items()]
  _, *homes = round_folders.homes(workdir)
  made = [name for name in STAGES if not homes or (workdir / name).exists()]
  made += [f'{home}/{name}' for home in homes for name in STAGES]
  at = round_folders.stage_of
  listed = [
    *(
      name
      for name in made
      if not name.endswith('summarise') or (workdir / name).exists()
    ),
    *(
      at('rl', learnt[name]) if name in learnt else at('train', name)
      for name in dict.fromkeys([*named, *trained, *learnt])
    ),
    *(at('evaluate', name) for name in summaries),
    *(at('evaluate', n) for n in [*trained, *learnt] if n not in named),
  ]
  out = {}
  for name in listed:
    folder = workdir / name
    summary = stage.finished(folder)
    path = folder / stage.SETTINGS
    state = 'unfinished' if folder.is_dir() else 'absent'
    out[name] = {
      'state': state if summary is None else 'done',
      'settings': files.read_json(path) if path.exists() else None,
      'summary': summary,
    }
  return out


def _without_admissible(trajectory):
  """The admissible lists are most of a record's bytes, and nobody's read."""
  value = records.to_json(trajectory)
  for step in value['steps']:
    admissible = step.pop('admissible')
    step['admissible'] = None if admissible is None else len(admissible)
  return value


def _lines(path):
  """Whole lines of a log that may still be growing."""
  if not path.exists():
    return []
  data = path.read_bytes()
  return data[: data.rfind(b'\n') + 1].splitlines()


def _rank(seed, task_id):
  return hashlib.sha256(f'{seed} {task_id}'.encode()).digest()
