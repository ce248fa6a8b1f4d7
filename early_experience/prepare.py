"""Prepares a tokenizer, and rows of training tokens."""

import dataclasses
import itertools
import pathlib
import shutil

import numpy as np
from ml_collections import ConfigDict

from early_experience.config import absent, checked, reads
from early_experience.experience import render, rows, tree
from early_experience.preparation import sources
from early_experience.runtime import cli, files, stage
from early_experience.runtime.errors import UserError
from early_experience.runtime.progress import Progress
from early_experience.tokenizers import saved, sentencepiece_tokenizer

TOKENIZER_TEXTS = 200_000  # enough for a vocabulary; bounds its training time


@checked
def prepare(config: ConfigDict, workdir: str) -> dict:
  """Writes `prepare/`: the tokenizer, split.json and rows/NAME.

  Raises:
    UserError: the source is missing, a record is damaged, or a path is longer
      than a row.
  """
  settings = config.prepare
  if not settings.rows:
    raise UserError('config.prepare.rows is empty: no rows to prepare')
  source = sources.find(workdir, settings, config.summarise.enabled)
  folder = pathlib.Path(workdir) / 'prepare'
  is_new = not folder.exists()
  folder = stage.begin(
    workdir,
    'prepare',
    {
      **reads('prepare', config),
      'tokenizer': _given_tokenizer(config, folder),
      'source': files.read_json(source.folder / stage.SETTINGS),
    },
    absent=absent('prepare', config),
  )
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
    lacking = ', '.join(name for name in counts['datasets'] if not scored[name])
    print(
      f'prepare {name}: {counts["flat_tokens"]} tokens flat,'
      f' {counts["tree_tokens"]} as trees, ratio {counts["ratio"]:.2f};'
      f' {counts["rows"]} {counts["layout"]} rows of'
      f' {counts["row_tokens"]}, {counts["fill"]:.0%} full,'
      f' {counts["dropped"]} overlong dropped'
      f'{lacking and f"; it has nothing of: {lacking}"}'
    )
  return summary


def _prepare(source, config, folder):
  settings = config.prepare
  held_out = source.split(settings.held_out, config.seed)
  files.write_json(folder / 'split.json', {'held_out': held_out})
  coder = _tokenizer(source, config, folder)
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
  settings = config.prepare
  if not saved.exists(folder):
    if given := _given_tokenizer(config, folder):
      coder = saved.load(
        given,
        answer_format=settings.answer_format,
        template_kwargs=settings.template_kwargs.to_dict(),
      )
    else:
      texts = itertools.islice(source.texts(), TOKENIZER_TEXTS)
      model = sentencepiece_tokenizer.train(texts, settings.vocab_size)
      coder = sentencepiece_tokenizer.SentencePieceTokenizer(model)
    coder.save(folder)
  return saved.load(folder)


def _given_tokenizer(config, folder):
  """The tokenizer of the settings, or of where the parameters come from."""
  if given := config.prepare.tokenizer or config.init.hf:
    return given
  checkpoint = config.init.checkpoint
  if checkpoint and not pathlib.Path(checkpoint).is_dir():
    raise UserError(f'config.init.checkpoint={checkpoint}: there is no folder')
  beside = checkpoint and saved.beside(checkpoint)
  # Of this very folder, where a training of its goes on.
  is_own = beside and beside.resolve() == folder.resolve()
  return '' if is_own else str(beside or '')


@dataclasses.dataclass
class _Counts:
  flat_tokens: int = 0
  tree_tokens: int = 0
  row_tokens: int = 0  # in rows: the tree's, with what windows repeat
  windows: int = 0
  dropped: int = 0
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
    'dropped': counts.dropped,
    'scored': dict(zip(render.OBJECTIVES, counts.scored.tolist(), strict=True)),
  }


def _parts(group, settings, counts):
  """Trees of at most a row from the sequences of a group; counts them."""
  sequences = []
  for sequence in group.sequences:
    if len(sequence.ids_T) <= settings.row_tokens:
      sequences.append(sequence)
    elif settings.overlong == 'drop':
      counts.dropped += 1
    else:
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
    ' windows dropped max_depth scored'
  )
  return {
    **{key: manifest[key] for key in kept.split()},
    'ratio': manifest['flat_tokens'] / max(1, manifest['tree_tokens']),
    'fill': manifest['packed_tokens'] / max(1, room),
  }


if __name__ == '__main__':
  cli.run(prepare)
