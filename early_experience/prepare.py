"""Stage `prepare`: trajectories to a tokenizer and rows of training tokens."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from ml_collections import ConfigDict

from early_experience import cli, files, stage
from early_experience.config import check_choice
from early_experience.errors import UserError
from early_experience.experience import (
  records,
  render,
  rows,
  sentencepiece_tokenizer,
  tokenizer,
  tree,
)
from early_experience.progress import Progress

DATASETS = render.OBJECTIVES  # a dataset is named after the objective it feeds
BLOCK = 512  # trajectories packed together; bounds the memory
TOKENIZER_TEXTS = 200_000  # enough for a vocabulary; bounds its training time


def prepare(config: ConfigDict, workdir: str) -> dict:
  """Writes `prepare/`: the tokenizer, split.json and rows/NAME.

  Raises:
    UserError: an earlier stage is missing, a record is damaged, or a path is
      longer than a row.
  """
  settings = config.prepare
  check_choice('prepare.layout', settings.layout, ('tree', 'flat'))
  check_choice('prepare.overlong', settings.overlong, ('error', 'drop'))
  check_choice(
    'prepare.world_model', settings.world_model, ('inline', 'instructed')
  )
  if not settings.rows:
    raise UserError('config.prepare.rows is empty: no rows to prepare')
  source = stage.require(workdir, _source(settings.rows))
  folder = stage.begin(
    workdir,
    'prepare',
    {
      **settings.to_dict(),
      'tokenizer': _given_tokenizer(config),
      'seed': config.seed,
      'source': files.read_json(source / stage.SETTINGS),
    },
  )
  summary = stage.finished(folder)
  if summary is None:
    trajectories = list(records.read(source))
    training = _split(trajectories, settings.held_out, config.seed, folder)
    coder = _tokenizer(training, config, folder)
    summary = stage.finish(
      folder,
      {
        'tokenizer': {'vocab_size': coder.vocab_size, 'hash': coder.hash},
        'trajectories': {
          'train': len(training),
          'held_out': len(trajectories) - len(training),
        },
        'rows': {
          name: _write_rows(name, training, coder, settings, folder)
          for name in sorted(settings.rows)
        },
      },
    )
  for name, counts in summary['rows'].items():
    print(
      f'prepare {name}: {counts["flat_tokens"]} tokens flat,'
      f' {counts["tree_tokens"]} as trees, ratio {counts["ratio"]:.2f};'
      f' {counts["rows"]} {counts["layout"]} rows of'
      f' {counts["row_tokens"]}, {counts["fill"]:.0%} full,'
      f' {counts["dropped"]} overlong dropped'
    )
  return summary


def _source(row_sets):
  """The stage that holds all that the rows need."""
  for name, rows_spec in row_sets.items():
    for dataset in rows_spec.datasets:
      check_choice(f'prepare.rows.{name}.datasets', dataset, DATASETS)
  if any('reflection' in r.datasets for r in row_sets.values()):
    return 'reflect'
  if any(r.get('k', 0) for r in row_sets.values()):
    return 'explore'
  return 'collect'


def _split(trajectories, share, seed, folder):
  """Keeps a share of the trajectories from training; returns the others."""
  rng = np.random.default_rng(seed)
  order = rng.permutation(len(trajectories))
  held_out = set(order[: round(share * len(trajectories))].tolist())
  files.write_json(
    folder / 'split.json',
    {'held_out': [trajectories[i].task_id for i in sorted(held_out)]},
  )
  return [t for i, t in enumerate(trajectories) if i not in held_out]


def _tokenizer(trajectories, config, folder):
  settings = config.prepare
  if not tokenizer.saved(folder):
    if given := _given_tokenizer(config):
      coder = tokenizer.load(
        given,
        answer_format=settings.answer_format,
        template_kwargs=settings.template_kwargs.to_dict(),
      )
    else:
      texts = list(_texts(trajectories))[:TOKENIZER_TEXTS]
      model = sentencepiece_tokenizer.train(texts, settings.vocab_size)
      coder = sentencepiece_tokenizer.SentencePieceTokenizer(model)
    coder.save(folder)
  return tokenizer.load(folder)


def _given_tokenizer(config):
  """The tokenizer of the settings, or of where the parameters come from."""
  beside = config.init.checkpoint and tokenizer.beside(config.init.checkpoint)
  return config.prepare.tokenizer or config.init.hf or str(beside or '')


def _texts(trajectories) -> Iterator[str]:
  for trajectory in trajectories:
    yield trajectory.instruction
    yield trajectory.final_observation
    for step in trajectory.steps:
      yield step.observation
      yield step.action
      if step.thought is not None:
        yield step.thought
      for other in step.alternatives:
        yield other.action
        yield other.observation
      for rationale in step.rationales:
        yield rationale.text


def scripts(
  trajectory: records.Trajectory,
  datasets: Sequence[str],
  k: int,
  style: str,
) -> list[render.Script]:
  """The scripts of all the named datasets for one trajectory."""
  result = []
  if 'imitation' in datasets:
    result += render.imitation(trajectory)
  if 'world_model' in datasets:
    result += render.world_model(trajectory, k, style)
  if 'reflection' in datasets:
    result += render.reflection(trajectory)
  return result


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


def _write_rows(name, trajectories, coder, settings, folder):
  target = folder / 'rows' / name
  if target.exists():
    return _summary(rows.read_manifest(target))
  counts = _Counts()
  progress = Progress(f'prepare {name}', len(trajectories), 'trajectories')
  writer = rows.RowWriter(target)
  try:
    for start in range(0, len(trajectories), BLOCK):
      parts = []
      for trajectory in trajectories[start : start + BLOCK]:
        parts += _parts(trajectory, settings, name, coder, counts)
        progress.update()
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


def _parts(trajectory, settings, name, coder, counts):
  """Trees of at most a row from one trajectory; counts as it goes."""
  spec = settings.rows[name]
  sequences = []
  for script in scripts(
    trajectory, spec.datasets, spec.get('k', 0), settings.world_model
  ):
    for sequence in coder.encode_script(script):
      if len(sequence.ids_T) <= settings.row_tokens:
        sequences.append(sequence)
      elif settings.overlong == 'drop':
        counts.dropped += 1
      else:
        raise UserError(
          f'task {trajectory.task_id} has a path of {len(sequence.ids_T)}'
          f' tokens, config.prepare.row_tokens={settings.row_tokens}; use'
          ' longer rows, or config.prepare.overlong=drop'
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
