"""What a workdir holds, gathered for a report as plain JSON-able values.

The page and the notebooks both read through here, so a number stands in one
place. A stage that has not run is absent, never an error.
"""

import dataclasses
import hashlib
import heapq
import itertools
import json
import math
import pathlib
from collections.abc import Iterator

from early_experience.evaluation import statistics
from early_experience.experience import records
from early_experience.experience.render import OBJECTIVES
from early_experience.runtime import files, stage
from early_experience.runtime.errors import UserError

# Enough to look at and still small enough to open; the page says that these
# are samples.
TRAJECTORIES = 30
ROLLOUTS = 20  # of each policy and split
POINTS = 300  # of each learning curve

STAGES = ('collect', 'explore', 'summarise', 'reflect', 'prepare')
_KINDS = ('random', 'untrained')  # baselines stand before trained policies
_ROLLOUT = {
  'task_id': str,
  'split': str,
  'task_type': str,
  'instruction': str,
  'success': bool,
  'steps': list,
  'final_observation': str,
}


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
  summaries = evaluations(workdir)
  trained = policies(workdir, 'train')
  learnt = {f'{name}_rl': name for name in policies(workdir, 'rl')}
  names = list(dict.fromkeys([*summaries, *trained, *learnt]))
  rolled = {name: list(rollouts(workdir, name)) for name in summaries}
  trees = experience(workdir, seed)
  sources = {trees['source']} if trees else set()
  sources |= {summary.get('source', '') for summary in summaries.values()}
  return {
    'workdir': workdir.resolve().name,
    'environment': trees['environment'] if trees else '',
    'sources': sorted(sources - {''}),
    'seed': seed,
    'objectives': OBJECTIVES,
    'policies': names,
    'stages': _stages(workdir, names, learnt),
    'results': summaries,
    'paired': comparisons(rolled),
    'curves': {name: thin(metrics(workdir, name), POINTS) for name in trained},
    'reinforcement': {
      called: _sparse(metrics(workdir, name, 'rl'), POINTS)
      for called, name in learnt.items()
    },
    'tokens': _summary(workdir / 'prepare', ('tokenizer', 'rows')),
    'trees': trees,
    'rollouts': {
      name: _sample_rollouts(some, seed) for name, some in rolled.items()
    },
  }


def policies(workdir, folder: str) -> list[str]:
  """Names of what is in `train/`, `rl/` or `evaluate/`, finished or not."""
  root = pathlib.Path(workdir) / folder
  return sorted(p.name for p in root.iterdir()) if root.is_dir() else []


def evaluations(workdir) -> dict[str, dict]:
  """Summaries of all finished evaluations, baselines first."""
  found = {}
  for name in policies(workdir, 'evaluate'):
    folder = pathlib.Path(workdir) / 'evaluate' / name
    summary = _summary(folder, ('policy', 'splits'))
    if summary is not None:
      found[name] = summary

  def order(name):
    kind = found[name]['policy']
    return _KINDS.index(kind) if kind in _KINDS else len(_KINDS), name

  return {name: found[name] for name in sorted(found, key=order)}


def rollouts(workdir, name: str) -> Iterator[dict]:
  """Reads the episodes of one evaluation.

  Raises:
    UserError: a record lacks a field or has it in another type.
  """
  folder = pathlib.Path(workdir) / 'evaluate' / name
  for where, value in files.read_jsonl(folder, 'rollouts'):
    for key, kind in _ROLLOUT.items():
      if not isinstance(value, dict) or not isinstance(value.get(key), kind):
        raise UserError(f'{where}: {key} is missing or not {kind.__name__}')
    yield value


def metrics(workdir, name: str, folder: str = 'train') -> list[dict]:
  """The log of one policy in `train/` or `rl/`; empty where it has none yet."""
  path = pathlib.Path(workdir) / folder / name / 'metrics.jsonl'
  lines = []
  for number, text in enumerate(_lines(path), start=1):
    try:
      line = json.loads(text)
      line['step'] + 0
    except (ValueError, TypeError, KeyError) as error:
      raise UserError(f'{path} line {number}: no metrics: {error}') from None
    lines.append(line)
  return lines


def comparisons(rolled: dict[str, list[dict]]) -> list[dict]:
  """Every pair of policies, on the tasks of a split that both tried."""
  pairs = []
  names = list(rolled)
  solved = {
    name: {(r['split'], r['task_id']): r['success'] for r in some}
    for name, some in rolled.items()
  }
  splits = dict.fromkeys(s for name in names for s, _ in solved[name])
  for split in splits:
    for index, b in enumerate(names):
      for a in names[index + 1 :]:
        both = [k for k in solved[a] if k[0] == split and k in solved[b]]
        if both:
          result = statistics.paired(
            [solved[a][k] for k in both], [solved[b][k] for k in both]
          )
          result = dataclasses.asdict(result)
          pairs.append({'split': split, 'a': a, 'b': b, **result})
  return pairs


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
    folder = pathlib.Path(workdir) / name
    if stage.finished(folder) is not None:
      return folder
  return None


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
  return [_mean(run) for run in runs]


def _mean(run):
  last = run[-1]
  if len(run) == 1:
    return last
  out = dict(last)
  for key, value in last.items():
    if key.endswith('/tokens'):
      out[key] = sum(line.get(key) or 0 for line in run)
    elif key not in ('step', 'stage') and not isinstance(value, str):
      weight = key.removesuffix('/nll') + '/tokens'
      known = [
        (line[key], line.get(weight, 1))
        for line in run
        if line.get(key) is not None
      ]
      total = sum(weight for _, weight in known)
      out[key] = sum(v * w for v, w in known) / total if total else None
  return out


def _sparse(lines, points):
  """Some of many lines, and all that measured the panel."""
  every = math.ceil(len(lines) / points) if lines else 1
  return [
    line
    for i, line in enumerate(lines)
    if not i % every or 'panel/rate' in line
  ]


def _sample_rollouts(some, seed):
  """The same tasks for every policy, so that they can be compared."""
  splits = dict.fromkeys(rollout['split'] for rollout in some)
  sample = {}
  for split in splits:
    there = [rollout for rollout in some if rollout['split'] == split]
    chosen = heapq.nsmallest(
      ROLLOUTS, there, key=lambda r: _rank(seed, r['task_id'])
    )
    sample[split] = {
      'total': len(there),
      'sample': sorted(chosen, key=lambda r: r['task_id']),
    }
  return sample


def _stages(workdir, names, learnt):
  """State, settings and summary of each stage, in the order of the loop."""
  listed = [
    *(
      name
      for name in STAGES
      if name != 'summarise' or (workdir / name).exists()
    ),
    *(f'rl/{learnt[n]}' if n in learnt else f'train/{n}' for n in names),
    *(f'evaluate/{name}' for name in names),
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


def _summary(folder, keys):
  summary = stage.finished(folder)
  for key in keys if summary is not None else ():
    if key not in summary:
      raise UserError(f'{folder / stage.SUMMARY}: {key} is missing')
  return summary


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
