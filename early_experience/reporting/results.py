"""What the evaluations of a workdir say, and what follows from them.

Two policies are compared on the panel that both were asked, where what was set
aside is not solved, and on no other tasks.
"""

import dataclasses
import pathlib
import types
from collections.abc import Iterator, Mapping

from early_experience.evaluation import panel, statistics
from early_experience.reporting import round_folders
from early_experience.runtime import files, stage
from early_experience.runtime.errors import UserError

_ALIKE = types.MappingProxyType({})
REFERENCE = 'imitation'  # what the others are to be better than
_KINDS = (
  'random',
  'untrained',
  'served',
)  # baselines stand before trained policies
_ROLLOUT = {
  'task_id': str,
  'split': str,
  'task_type': str,
  'instruction': str,
  'success': bool,
  'steps': list,
  'final_observation': str,
}


def policies(workdir, folder: str) -> list[str]:
  """Names of the policies in `train/` or `evaluate/`, finished or not.

  Those of `round_folders.homes` come last, as `round-2/joint`.
  """
  found = []
  for home in round_folders.homes(workdir):
    root = pathlib.Path(workdir, home, folder)
    names = sorted(p.name for p in root.iterdir()) if root.is_dir() else []
    found += [str(pathlib.Path(home, name)) for name in names]
  return found


def evaluations(workdir) -> dict[str, dict]:
  """Summaries of all finished evaluations by their folder, baselines first."""
  found = {}
  for name in policies(workdir, 'evaluate'):
    folder = pathlib.Path(workdir) / round_folders.stage_of('evaluate', name)
    summary = summary_of(folder, ('policy', 'splits'))
    if summary is None:
      continue
    found[name] = panel.recounted(folder, summary)
    if home := name.rpartition('/')[0]:
      found[name]['name'] = f'{home}/{summary["name"]}'

  def order(name):  # and by name, as they are
    kind = found[name]['policy']
    return _KINDS.index(kind) if kind in _KINDS else len(_KINDS)

  return {name: found[name] for name in sorted(found, key=order)}


def rollouts(workdir, name: str) -> Iterator[dict]:
  """Reads the episodes of one evaluation.

  Raises:
    UserError: a record lacks a field or has it in another type.
  """
  folder = pathlib.Path(workdir) / round_folders.stage_of('evaluate', name)
  for where, value in files.read_jsonl(folder, panel.STEM):
    for key, kind in _ROLLOUT.items():
      if not isinstance(value, dict) or not isinstance(value.get(key), kind):
        raise UserError(f'{where}: {key} is missing or not {kind.__name__}')
    yield value


def panels(workdir, names) -> dict[str, panel.Asked]:
  """The tasks that each of these evaluations asked."""
  root = pathlib.Path(workdir)
  return {
    name: panel.read(root / round_folders.stage_of('evaluate', name))
    for name in names
  }


def comparisons(
  asked: dict[str, panel.Asked],
  rolled: dict[str, list[dict]],
  sources: Mapping[str, str] = _ALIKE,
) -> list[dict]:
  """Every pair of evaluations of a split.

  Args:
    asked: the panel of each.
    rolled: the episodes of each. A task without one is not solved.
    sources: where the tasks of each are from; those of other environments may
      have the same ids.

  Returns:
    `split`, `a`, `b`, `same`: whether their tasks were the same. Where they
    were, all that `statistics.Paired` has of a against b.
  """
  solved = {
    name: {(r['split'], r['task_id']) for r in some if r['success']}
    for name, some in rolled.items()
  }
  pairs, names = [], list(asked)
  for split in dict.fromkeys(s for name in names for s in asked[name]):
    there = [name for name in names if split in asked[name]]
    for index, b in enumerate(there):
      tasks = sorted(asked[b][split])
      for a in there[index + 1 :]:
        pair = {'split': split, 'a': a, 'b': b}
        pair['same'] = tasks == sorted(asked[a][split])
        pair['same'] &= sources.get(a) == sources.get(b)
        if pair['same']:
          result = statistics.paired(
            *([(split, t) in solved[name] for t in tasks] for name in (a, b))
          )
          pair |= dataclasses.asdict(result)
        pairs.append(pair)
  return pairs


def over_samples(results: dict[str, dict]) -> list[dict]:
  """Success by the number of samples that decide.

  Args:
    results: as `evaluations` returns them.

  Returns:
    For each policy that was sampled several times, each way to decide and each
    group of tasks: `tasks` in words and `points`, fewest samples first, one an
    evaluation: `evaluation`, `samples`, `temperature` and its rate. One sample
    is decided by in every way.
  """
  lines = {}
  for name, of in results.items():
    how = of.get('settings') or {}
    samples, ahead = how.get('samples', 1), how.get('look_ahead', False)
    model = how.get('openai', how)
    heat = model.get('temperatures') or model.get('temperature', 0.0)
    for split, counts in of['splits'].items():
      which = of.get('panel', panel.ALL)
      key = _tasks(split, which), of.get('name', name), of['policy']
      point = {'evaluation': name, 'samples': samples, 'temperature': heat}
      for way in {ahead} if samples > 1 else (False, True):
        line = lines.setdefault((*key, way), [])
        line.append(point | counts['success'])
  return [
    {'tasks': tasks, 'points': sorted(points, key=lambda p: p['samples'])}
    for (tasks, *_), points in lines.items()
    if any(point['samples'] > 1 for point in points)
  ]


def conclusions(
  results: dict[str, dict], pairs: list[dict], starts: Mapping[str, str]
) -> list[str]:
  """Sentences on who is ahead of imitation, by how much, and on what.

  Args:
    results: as `evaluations` returns them.
    pairs: as `comparisons` returns them.
    starts: of each policy of `rl`, the one that it went on from.
  """
  said = []
  groups = dict.fromkeys(
    (of.get('panel', panel.ALL), split)
    for of in results.values()
    for split in of['splits']
  )
  for which, split in groups:
    trained = {
      name: of['splits'][split]['success']
      for name, of in results.items()
      if (of.get('panel', panel.ALL), of['policy']) == (which, 'trained')
      and split in of['splits']
    }
    tasks = _tasks(split, which)
    base = panel.folder_name(REFERENCE, which)
    if base not in trained:  # rounds are to be better than the first one
      base = next((n for n in trained if n.startswith('round-')), base)
    if trained:
      said += _sentences(tasks, trained, base, _against(base, split, pairs))
    for start, rates in _learnt(results, starts, which, split):
      said += _sentences(tasks, rates, start, _against(start, split, pairs))
  return said


def _learnt(results, starts, which, split):
  """For each policy of `rl`, the one it went on from and both rates."""
  for name, of in results.items():
    if (of.get('panel', panel.ALL), of['policy']) != (which, 'rl'):
      continue
    start = panel.folder_name(starts.get(of['name'], ''), which)
    both = [each for each in (start, name) if each in results]
    rates = {e: results[e]['splits'].get(split) for e in both}
    if len(both) == 2 and all(rates.values()):
      yield start, {e: rate['success'] for e, rate in rates.items()}


def _tasks(split, which):
  of_panel = '' if which == panel.ALL else f' of the {which} panel'
  return f'{split.replace("_", " ")} tasks{of_panel}'


def _against(base, split, pairs):
  """The comparisons of the others with one policy, by the other's name."""
  found = {}
  for pair in pairs:
    if pair['split'] == split and pair['b'] == base:
      found[pair['a']] = pair
    elif pair['split'] == split and pair['a'] == base:
      turned = {**pair, 'a': pair['b'], 'b': pair['a']}
      if pair['same']:
        turned |= {
          'difference': -pair['difference'],
          'low': -pair['high'],
          'high': -pair['low'],
        }
      found[pair['b']] = turned
  return found


def _sentences(tasks, trained, base, pairs):
  others = [name for name in trained if name != base]
  if base not in trained or not others:
    for name, rate in trained.items():
      yield (
        f'{name} solves {rate["rate"]:.1%} of {rate["n"]} {tasks} (95% interval'
        f' {rate["low"]:.1%} to {rate["high"]:.1%};'
        f' {_aside({name: rate})}); there is'
        f' {"no other trained policy" if name == base else f"no {base}"} to'
        ' compare it with.'
      )
    return
  others.sort(key=lambda name: -pairs[name].get('difference', -2))
  for name in others:
    pair = pairs[name]
    if not pair['same']:
      yield (
        f'{name} and {base} are not compared: they were not asked the same'
        f' {tasks} ({trained[name]["n"]} and {trained[base]["n"]}).'
      )
      continue
    both = {one: trained[one] for one in (name, base)}
    yield (
      f'{name} is {_standing(pair["difference"], base)} on'
      f' {pair["n"]} {tasks} (95% interval {_points(pair["low"])} to'
      f' {_points(pair["high"])}{_doubt(pair)}; {_aside(both)}).'
    )


def _standing(difference, base):
  if not round(1000 * difference):
    return f'level with {base}'
  way = 'ahead of' if difference > 0 else 'behind'
  return f'{way} {base} by {abs(100 * difference):.1f} points'


def _doubt(pair):
  """An interval with 0 in it leaves open who is ahead."""
  return ', which may be chance' if pair['low'] <= 0 <= pair['high'] else ''


def _points(share):
  return f'{100 * share:+.1f}'.replace('-', '−')


def _aside(rates):
  some = [
    f'{rate["set_aside"]} of {name}'
    for name, rate in rates.items()
    if rate['set_aside']
  ]
  if not some:
    return 'none was set aside'
  return f'set aside and counted as not solved: {", ".join(some)}'


def summary_of(folder, keys) -> dict | None:
  """The summary of a finished stage.

  Raises:
    UserError: it lacks one of these keys.
  """
  summary = stage.finished(folder)
  for key in keys if summary is not None else ():
    if key not in summary:
      raise UserError(f'{folder / stage.SUMMARY}: {key} is missing')
  return summary
