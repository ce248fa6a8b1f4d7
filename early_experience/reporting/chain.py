"""Which training went on from which: all that made a policy, in a row."""

import os
import pathlib

from early_experience.reporting import round_folders
from early_experience.runtime import files, stage

INIT = 'init'  # of `config.rl.start`: from where `config.init` says


def in_a_row(
  workdir, summaries: dict[str, dict], trained: list[str], learnt: dict
) -> list[dict]:
  """Each training behind the one that it went on from.

  Args:
    workdir: of the run.
    summaries: as `results.evaluations` returns them.
    trained: names of the policies in `train/`.
    learnt: of those in `rl/`, by what they are called.

  Returns:
    `policy`, `kind`: `train` or `rl`, `start`: a policy, or where its
    parameters came from in words, `after`: how many trainings it is behind,
    `summary`: of its stage, None where it is not finished; and `splits`: what
    its evaluation says.
  """
  found = {
    name: _one(workdir, kind, name, own)
    for kind, names in (('train', {n: n for n in trained}), ('rl', learnt))
    for name, own in names.items()
  }
  for name, one in found.items():
    same = (of for of in summaries.values() if of.get('name') == name)
    of = summaries.get(name) or next(same, {})
    one |= {'policy': name, 'splits': of.get('splits', {})}

  def behind(start, after):
    for one in found.values():
      if start == (one['start'] if one['start'] in found else None):
        yield one | {'after': after}
        yield from behind(one['policy'], after + 1)

  return list(behind(None, 0))


def _one(workdir, kind, name, own):
  folder = pathlib.Path(workdir) / round_folders.stage_of(kind, own)
  path = folder / stage.SETTINGS
  settings = files.read_json(path) if path.exists() else {}
  begins = settings.get('rl', {}).get('start', INIT)
  if begins != INIT:  # another training of its own workdir
    start = str(pathlib.PurePath(own).parent / (begins or own.split('/')[-1]))
  else:
    init = settings.get('init') or {}
    places = [stage.path_of(init.get(key)) for key in ('checkpoint', 'hf')]
    start = next(filter(None, places), '')
    start = start and (_policy(workdir, start) or start)
  return {
    'kind': kind,
    'start': start or f'seed {settings.get("seed", "")}'.strip(),
    'summary': stage.finished(folder),
  }


def _policy(workdir, path):
  """The policy of this workdir that a path names; None where it is another's.

  A workdir that was moved is told by the end of the path.
  """
  root, path = pathlib.Path(workdir).absolute(), pathlib.Path(path)
  if os.path.exists(path):
    way = pathlib.Path(os.path.relpath(path.absolute(), root))
  else:
    ends = [
      pathlib.Path(*path.parts[-n:]) for n in range(len(path.parts), 1, -1)
    ]
    way = next((end for end in ends if (root / end).is_dir()), path)
  if way.is_absolute() or '..' in way.parts or way.parent.name != 'train':
    return None
  return str(way.parent.parent / way.name)
