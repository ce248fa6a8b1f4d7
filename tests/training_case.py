"""Tiny models, rows and stages that the training tests share."""

import functools

import jax
import numpy as np

from early_experience import config as config_lib
from early_experience.experience import rows as rows_lib
from early_experience.model import config as model_config
from early_experience.model import table
from early_experience.model.sharding import make_mesh
from early_experience.runtime import stage
from early_experience.tokenizers import sentencepiece_tokenizer

ROW_TOKENS = 24
_MODEL = {
  'layers': 2,
  'embed': 32,
  'heads': 4,
  'kv_heads': 2,
  'head_dim': 8,
  'mlp': 64,
  'loss_chunk': 32,
}


def model_of(vocab_size=64, **changes):
  settings = config_lib.default().model
  settings.update(_MODEL | changes)
  return model_config.from_config(settings, vocab_size)


@functools.partial(jax.jit, static_argnums=0)
def fresh(cfg):
  """Parameters, made by one program."""
  return table.init_params(jax.random.key(0), cfg)


def mesh_of(sizes):
  settings = config_lib.default().mesh
  settings.data, settings.fsdp, settings.tensor = sizes
  return make_mesh(settings)


def rows_of(count, cfg, seed=0):
  """Rows of a two-branch tree, with unequal numbers of scored tokens."""
  return [_row(np.random.default_rng((seed, i)), cfg) for i in range(count)]


def _row(rng, cfg):
  trunk, left = rng.integers(3, 8, 2)
  right, time = int(rng.integers(2, 7)), np.arange(ROW_TOKENS)
  used = trunk + left + right
  first_right = trunk + left
  in_left = (time >= trunk) & (time < first_right)
  in_right = (time >= first_right) & (time < used)
  is_used = time < used
  span = np.where(time < trunk, used - time, 1)
  span = np.where(in_left, first_right - time, span)
  span = np.where(in_right, used - time, span)
  back = np.where(is_used & (time > 0), 1, 0)
  back[first_right] = left + 1
  weights = np.zeros((ROW_TOKENS, 3), np.float32)
  weights[1:trunk, 0] = 1
  weights[in_left, 1] = 1
  weights[in_right, 2] = rng.random(right)
  return {
    'tokens': np.where(
      is_used, rng.integers(1, cfg.vocab_size, ROW_TOKENS), 0
    ).astype(np.int32),
    'depth': np.where(in_right, time - left, time * is_used).astype(np.int32),
    'back': back.astype(np.int32),
    'span': span.astype(np.int32),
    'weights': weights,
  }


def prepared(workdir, names=('expert', 'world')):
  """A workdir as `prepare` leaves it: a tokenizer, and rows of random trees."""
  folder = workdir / 'prepare'
  folder.mkdir()
  texts = [f'take mug {i} from shelf {i % 7}' for i in range(200)]
  tokenizer = sentencepiece_tokenizer.SentencePieceTokenizer(
    sentencepiece_tokenizer.train(texts, 300)
  )
  tokenizer.save(folder)
  for seed, name in enumerate(names):
    writer = rows_lib.RowWriter(folder / 'rows' / name)
    for row in rows_of(20, model_of(tokenizer.vocab_size), seed):
      writer.write(row)
    writer.finish(
      {
        'row_tokens': ROW_TOKENS,
        'max_depth': ROW_TOKENS - 1,
        'tokenizer': tokenizer.hash,
      }
    )
  stage.finish(folder, {})
  return workdir


def config_of(**train):
  """Two stages of 4 and 3 updates on different rows, a save every 2."""
  config = config_lib.default()
  config.name = 'tiny'
  config.model.update(_MODEL)
  config.mesh.fsdp = 1
  config.train.update(
    batch_rows=8,
    microbatches=2,
    checkpoint_every_steps=2,
    log_every_steps=3,
    stages=[
      config_lib.stage(
        steps=4, lr_peak=1e-2, rows={'world': 1.0, 'expert': 0.5}
      ),
      config_lib.stage(steps=3, lr_peak=1e-2, reset_optimizer=False),
    ],
  )
  config.train.update(train)
  return config


def batch_of(rows):
  return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def to_numpy(tree):
  return jax.tree.map(np.asarray, jax.device_get(tree))
