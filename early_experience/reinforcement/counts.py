"""What iterations came to, for the log and the summary."""

from ml_collections import ConfigDict

from early_experience.evaluation import statistics
from early_experience.reinforcement import advantages
from early_experience.training.checkpoint import Position


def interval(name: str, found: statistics.Interval) -> dict:
  """A rate as entries of a line."""
  return {
    f'{name}/rate': found.rate,
    f'{name}/low': found.low,
    f'{name}/high': found.high,
  }


def of_episodes(records: list[dict], rl: ConfigDict) -> dict:
  """What an iteration's episodes came to; one that failed is unsolved."""
  ended = [record for record in records if 'reason' not in record]
  tasks = {record['task_id']: [] for record in records}
  for record in records:
    tasks[record['task_id']].append(record.get('success', False))
  # The episodes of a task are no independent measurements of the rate.
  rates = [sum(some) / len(some) for some in tasks.values()]
  steps = [len(record['steps']) for record in ended]
  played = [len(record['steps']) for record in ended if 'script' not in record]
  return {
    **interval('success', statistics.rate_of([rates])),
    'reward': sum(advantages.reward(r, rl) for r in ended) / len(ended),
    'episodes': len(records),
    'episodes_failed': len(records) - len(ended),
    'out_of_context': sum(r['end'] == 'out_of_context' for r in ended),
    'environment_steps': sum(played),
    'invalid_rate': sum(not s['valid'] for r in ended for s in r['steps'])
    / max(1, sum(steps)),
  }


def no_update(groups: advantages.Groups, records: list[dict]) -> str:
  """Says why nothing is learnt from an iteration, of whose episodes all are."""
  solved = sum(r.get('success', False) for r in records)
  return (
    f'makes no update: of {len(groups.even) + groups.failed} groups'
    f' {len(groups.even)} have no variance and {groups.failed} a failed episode'
    f' ({solved} of {len(records)} episodes are solved)'
  )


def summary(name: str, position: Position, lines: list[dict]) -> dict:
  """What a run came to.

  Args:
    name: of the policy.
    position: at its end.
    lines: of its log.
  """
  sampled = [line for line in lines if 'success/rate' in line]
  measured = [line for line in lines if 'panel/rate' in line]
  keep = lambda line: {
    'step': line.get('step_before', line['step']),
    **{key: value for key, value in line.items() if '/' in key},
  }
  return {
    'name': name,
    'iterations': position.total,
    'steps': position.step,
    'episodes': sum(line['episodes'] for line in sampled),
    'episodes_failed': sum(line['episodes_failed'] for line in sampled),
    'groups_even': sum(line['groups_even'] for line in sampled),
    'groups_failed': sum(line['groups_failed'] for line in sampled),
    'environment_steps': lines[-1]['environment_steps'] if lines else 0,
    'seconds': sum(
      line.get(f'seconds_{what}', 0.0)
      for line in lines
      for what in ('sampling', 'training', 'panel')
    ),
    'first': keep(sampled[0]) if sampled else {},
    'last': keep(sampled[-1]) if sampled else {},
    'panel': [keep(measured[0]), keep(measured[-1])] if measured else [],
  }
