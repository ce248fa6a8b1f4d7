"""Prepares a tokenizer, and rows of training tokens."""

import dataclasses
import itertools
import pathlib
import shutil
import sys

import numpy as np
from absl import flags
from ml_collections import ConfigDict

from early_experience.config import absent, checked, reads
from early_experience.experience import render, rows, tree
from early_experience.preparation import show, sources, vocabulary
from early_experience.runtime import cli, files, stage
from early_experience.runtime.errors import UserError
from early_experience.runtime.progress import Progress
from early_experience.tokenizers import saved


@checked
def prepare(config: ConfigDict, workdir: str) -> dict:
  """Writes `prepare/`: the tokenizer, split.json and rows/NAME.

  Raises:
    UserError: the source is missing, a record is damaged, or a path is longer
      than a row.
  """
  source = _source(config, workdir)
  is_new = not (pathlib.Path(workdir) / 'prepare').exists()
  folder = _begin(source, config, workdir)
  summary = stage.finished(folder)
  if summary is None:
    try:
      summary = stage.finish(folder, _prepare(source, config, folder))
    except UserError:
      if is_new:  # it would refuse the settings that mend what is wrong
        shutil.rmtree(folder)
      raise
  for name, counts in summary['rows'].items():
    scored = counts['scored']
    lacking = ', '.join(n for n in counts['datasets'] if not scored.get(n, 1))
    print(
      f'prepare {name}: {counts["flat_tokens"]} tokens flat,'
      f' {counts["tree_tokens"]} as trees, ratio {counts["ratio"]:.2f};'
      f' {counts["rows"]} {counts["layout"]} rows of'
      f' {counts["row_tokens"]}, {counts["fill"]:.0%} full,'
      f' {counts["dropped"]}{_of(counts)} overlong, dropped'
      f'{lacking and f"; it has nothing of: {lacking}"}'
    )
  return summary


@checked
def show_one(config: ConfigDict, workdir: str, which: str) -> None:
  """Prints what is trained of one trajectory or chat; writes nothing.

  Args:
    config: as `prepare` takes it.
    workdir: where the source is done; `prepare` need not be.
    which: `N[:ROWS]`, of the Nth one and of a row set; else of that with the
      most datasets. Of a trajectory its task, too.

  Raises:
    UserError: there is none, or `prepare` was begun with other settings.
  """
  source, folder = _source(config, workdir), pathlib.Path(workdir) / 'prepare'
  if (folder / stage.SETTINGS).exists():
    _begin(source, config, workdir, claim=False)  # refuses other settings
  row_sets = config.prepare.rows
  one, _, name = which.rpartition(':')
  if name not in row_sets:
    one = which
    name = max(sorted(row_sets), key=lambda n: len(row_sets[n].datasets))
  source.split(config.prepare.held_out, config.seed)
  made = saved.exists(folder)
  coder = saved.load(folder) if made else vocabulary.tokenizer(source, config)
  group = source.pick(one, row_sets[name], coder)
  others = ', '.join(sorted(set(row_sets) - {name}))
  print(f'rows {name} (others: {others or "none"})')
  colour = show.in_colour(sys.stdout)
  show.put(show.lines(group, coder, config.prepare.row_tokens, colour))


def _source(config, workdir):
  if not config.prepare.rows:
    raise UserError('config.prepare.rows is empty: no rows to prepare')
  for name, own in config.prepare.rows.items():
    if not own.get('datasets'):
      raise UserError(f'config.prepare.rows.{name}.datasets is empty')
  return sources.find(workdir, config.prepare, config.summarise.enabled)


def _begin(source, config, workdir, claim=True):
  """Enters the folder, held to all that its rows depend on."""
  settings = {
    **reads('prepare', config),
    'tokenizer': vocabulary.place(source, config),
    'source': files.read_json(source.folder / stage.SETTINGS),
  }
  return stage.begin(
    workdir,
    'prepare',
    settings,
    absent=absent('prepare', config),
    claim=claim,
  )


def _prepare(source, config, folder):
  settings = config.prepare
  held_out = source.split(settings.held_out, config.seed)
  files.write_json(folder / 'split.json', {'held_out': held_out})
  coder = _tokenizer(source, config, folder)
  vocabulary.check(coder, config.init)
  return {
    'tokenizer': {'vocab_size': coder.vocab_size, 'hash': coder.hash},
    'thinks': source.thinks(),
    **source.count(),
    'rows': {
      name: _write_rows(name, source, coder, settings, folder)
      for name in sorted(settings.rows)
    },
  }


def _tokenizer(source, config, folder):
  if not saved.exists(folder):
    vocabulary.tokenizer(source, config).save(folder)
  return saved.load(folder)


@dataclasses.dataclass
class _Counts:
  flat_tokens: int = 0
  tree_tokens: int = 0
  row_tokens: int = 0  # in rows: the tree's, with what windows repeat
  windows: int = 0
  decisions: int = 0  # turns to learn, outcomes too
  dropped: int = 0  # of them
  max_depth: int = 0
  scored: np.ndarray = dataclasses.field(
    default_factory=lambda: np.zeros(len(render.OBJECTIVES))
  )


def _write_rows(name, source, coder, settings, folder):
  target = folder / 'rows' / name
  if target.exists():
    return _summary(rows.read_manifest(target))
  counts = _Counts()
  spec = settings.rows[name]
  groups = source.groups(spec, coder)
  progress = Progress(f'prepare {name}', source.size(spec), source.unit)
  writer = rows.RowWriter(target)
  try:
    for first in groups:
      parts = []
      for group in itertools.chain(
        [first], itertools.islice(groups, source.pack - 1)
      ):
        parts += _parts(group, settings, counts)
        progress.update(group.units)
      for row in rows.pack(parts, settings.row_tokens):
        writer.write(row)
    if counts.decisions and counts.dropped == counts.decisions:
      raise UserError(
        f'rows {name}: none of {counts.decisions} decisions and outcomes fits,'
        f' config.prepare.row_tokens={settings.row_tokens}; use longer rows'
      )
    manifest = writer.finish(_manifest(name, settings, coder, counts))
  except BaseException:
    writer.abandon()
    raise
  progress.close()
  return _summary(manifest)


def _manifest(name, settings, coder, counts):
  spec = settings.rows[name]
  return {
    'row_tokens': settings.row_tokens,
    'layout': settings.layout,
    'tokenizer': coder.hash,
    'vocab_size': coder.vocab_size,
    'datasets': list(spec.datasets),
    'k': spec.get('k', 0),
    'max_depth': counts.max_depth,
    'flat_tokens': counts.flat_tokens,
    'tree_tokens': counts.tree_tokens,
    'packed_tokens': counts.row_tokens,
    'windows': counts.windows,
    'decisions': counts.decisions,
    'dropped': counts.dropped,
    'scored': dict(zip(render.OBJECTIVES, counts.scored.tolist(), strict=True)),
  }


def _parts(group, settings, counts):
  """Trees of at most a row from the sequences of a group; counts them."""
  sequences = []
  for sequence in group.sequences:
    kept = tree.cut(sequence, settings.row_tokens)
    decisions, left = (len(tree.targets(s)) for s in (sequence, kept))
    counts.decisions += decisions
    counts.dropped += decisions - left
    sequences.append(kept)
    if left < decisions and settings.overlong == 'error':
      raise UserError(
        f'{group.name} has a path of {len(sequence.ids_T)} tokens,'
        f' config.prepare.row_tokens={settings.row_tokens}; use longer rows,'
        ' or config.prepare.overlong=drop'
      )
  sequences = tree.absorb(sequences)
  counts.flat_tokens += sum(len(s.ids_T) for s in sequences)
  merged = tree.merge(sequences)
  counts.tree_tokens += sum(map(len, merged))
  if settings.layout == 'flat':
    parts = [tree.flat(sequence) for sequence in sequences]
  else:
    parts = [w for t in merged for w in tree.windows(t, settings.row_tokens)]
    counts.windows += len(parts) - len(merged)
  for part in parts:
    counts.row_tokens += len(part)
    counts.max_depth = max(counts.max_depth, int(part.depth_T.max()))
    counts.scored += part.weights_TO.sum(0)
  return parts


def _summary(manifest):
  room = manifest['rows'] * manifest['row_tokens']
  kept = (
    'rows row_tokens layout datasets k flat_tokens tree_tokens packed_tokens'
    ' windows decisions dropped max_depth scored'
  )
  return {
    **{key: manifest[key] for key in kept.split() if key in manifest},
    'ratio': manifest['flat_tokens'] / max(1, manifest['tree_tokens']),
    'fill': manifest['packed_tokens'] / max(1, room),
  }


def _of(counts):
  """Of how many decisions, where that was counted: old rows do not say."""
  known = 'decisions' in counts
  return f' of {counts["decisions"]} decisions and outcomes' if known else ''


def _run(config, workdir):
  if show.SHOW.value:
    show_one(config, workdir, show.SHOW.value)
  else:
    prepare(config, workdir)


if __name__ == '__main__':
  flags.declare_key_flag('show')  # by --help
  cli.run(_run)
