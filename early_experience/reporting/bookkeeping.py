"""What the stages left out, counted and paid for."""

import collections
import operator
import pathlib
from collections.abc import Iterator

from early_experience.language.cache import FILE, Cache
from early_experience.reporting import results, round_folders
from early_experience.runtime import files, stage
from early_experience.work import set_aside

STAGES = ('collect', 'explore', 'summarise', 'reflect')  # make experience


def left_out(workdir) -> Iterator[dict]:
  """Tasks that the expert failed or that were set aside; dropped rationales.

  Those that an evaluation set aside count as not solved there.

  Yields:
    `stage` (`evaluate/NAME` of an evaluation), `task_id`, `reason`; of a
    rationale `step`; `text`: the error, or the rationale.

  Raises:
    UserError: a file is damaged.
  """
  for name in _stages(workdir):
    folder, dropped = pathlib.Path(workdir) / name, {}
    for _, line in files.read_jsonl(folder, 'failures'):
      yield {
        'stage': name,
        'task_id': line['task_id'],
        'reason': line['reason'],
      }
    for _, line in files.read_jsonl(folder, set_aside.STEM):
      yield {'stage': name, 'text': line.pop('error'), **line}
    for _, line in files.read_jsonl(folder, 'dropped'):
      dropped[line['task_id']] = line['dropped']  # the newest line counts
    for task, some in dropped.items():
      yield from ({'stage': name, 'task_id': task, **one} for one in some)


def counts(workdir) -> Iterator[dict]:
  """The stages' summaries, number by number: `stage`, `what`, `value`."""
  for name in _stages(workdir):
    summary = stage.finished(pathlib.Path(workdir) / name)
    for what, value in _flat(summary or {}):
      yield {'stage': name, 'what': what, 'value': value}


def answers(workdir) -> list[tuple[str, str, int, int, int]]:
  """(model, prompt, answers, tokens in, tokens out) of all that was asked."""
  paid = collections.defaultdict(lambda: (0, 0, 0))
  for home in round_folders.homes(workdir):
    path = pathlib.Path(workdir, home, FILE)
    for model, prompt, *counts in Cache(path).paid() if path.exists() else ():
      so_far = paid[model, prompt]
      paid[model, prompt] = tuple(map(operator.add, so_far, counts))
  return [(*key, *counts) for key, counts in sorted(paid.items())]


def _stages(workdir):
  names = results.policies(workdir, 'evaluate')
  return [
    *(
      str(pathlib.Path(home, name))
      for home in round_folders.homes(workdir)
      for name in STAGES
    ),
    *(round_folders.stage_of('evaluate', name) for name in names),
  ]


def _flat(value, prefix=''):
  for key, one in value.items():
    if isinstance(one, dict):
      yield from _flat(one, f'{prefix}{key}.')
    else:
      yield f'{prefix}{key}', one
